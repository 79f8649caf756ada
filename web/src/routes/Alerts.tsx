import { AlertRow } from "../components/AlertRow";
import { Card } from "../components/Card";
import { Collectors } from "../components/Collectors";
import { Tabs } from "../components/Tabs";
import { TuneDialog } from "../components/TuneDialog";
import { capitalised, secondOf } from "../models/format";
import { visible } from "../models/job";
import { search } from "../router";
import { list, thresholds } from "../services/alerts";
import { stands } from "../state/alerts";
import { alerts, head, health } from "../state/dashboard";
import { useLive } from "../state/live";

const EVERY_MS = 10_000;

const changes = () => alerts.value;

/** What needs attention, every rule and what it fires at, and whether the figures can be trusted. */
export function Alerts() {
  return (
    <>
      <h1 class="page-title">Alerts</h1>
      <Rules />
      <Notices />
      <Collectors />
      <TuneDialog />
    </>
  );
}

function Rules() {
  const { data, failed } = useLive("alerts", list, { everyMs: EVERY_MS, on: changes });
  const { data: fires } = useLive("thresholds", thresholds, { everyMs: 60_000, on: changes });
  const all = new URLSearchParams(search.value).get("show") === "all";
  const rows = (data?.alerts ?? []).filter((one) => all || stands(one) || one.state === "cleared");
  const checked = data?.checked_at ? `looked at ${secondOf(Date.parse(data.checked_at))}` : undefined;
  return (
    <Card title="Alerts" id="alerts" aside={checked}>
      <Tabs
        name="show"
        label="Which"
        options={[
          ["Standing", "", data ? data.active + data.acknowledged : 0],
          ["All rules", "all", data?.alerts.length ?? 0],
        ]}
      />
      {data === null && (
        <p class="empty" role={failed ? "alert" : undefined}>
          {failed?.message ?? "…"}
        </p>
      )}
      {data !== null && rows.length === 0 && <p class="empty">Nothing needs attention.</p>}
      <ul class="rows alerts">
        {rows.map((alert) => (
          <AlertRow key={alert.rule} alert={alert} threshold={fires?.[alert.rule]} />
        ))}
      </ul>
    </Card>
  );
}

/** What should be known beside the alerts. */
function Notices() {
  const now = health.value;
  const reasons = now === null || now.status === "ok" ? [] : now.reasons;
  const all = [...reasons, ...(head.value?.notices ?? [])];
  if (all.length === 0) return null;
  return (
    <Card title="To know" id="notices">
      <ul class="whys">
        {all.map((one) => (
          <li key={one}>{capitalised(visible(one))}.</li>
        ))}
      </ul>
    </Card>
  );
}
