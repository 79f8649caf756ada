import { Card } from "../components/Card";
import { Fact } from "../components/Fact";
import { Find } from "../components/Find";
import { Icon, type IconName } from "../components/Icon";
import { bytesOf, durationOf, figureOf, personOf, timeOf } from "../models/format";
import { visible } from "../models/job";
import { search } from "../router";
import * as api from "../services/addons";
import { list, type Addon, type AddonStats, type Seen } from "../services/addons";
import { now } from "../state/clock";
import { confirming, just } from "../state/confirm";
import { may } from "../state/connection";
import { ofEvents, useLive } from "../state/live";

const EVERY_MS = 10_000;

/** Which add-ons are registered, whether they answer, what they tell, and what may be done about them. */
export function Addons() {
  const { data, failed } = useLive("addons", list, { everyMs: EVERY_MS, on: ofEvents });
  const text = (new URLSearchParams(search.value).get("text") ?? "").toLowerCase();
  const rows = (data ?? []).filter(({ addon }) => `${addon.id} ${addon.name}`.toLowerCase().includes(text));
  return (
    <>
      <h1 class="page-title">Add-ons</h1>
      <Card title="Registered" id="addons" aside={data?.length ? `${data.length} of at most 64` : undefined}>
        {(data?.length ?? 0) > 5 && <Find label="Text in a name or an id" />}
        {data === null && (
          <p class="empty" role={failed ? "alert" : undefined}>
            {failed?.message ?? "…"}
          </p>
        )}
        {data?.length === 0 && (
          <p class="empty">
            None is registered. A program that registers is seen here, and asks before heavy work under its own name:{" "}
            <code>leasehold addon add --help</code>
          </p>
        )}
        <ul class="rows addons">
          {rows.map((seen) => (
            <Row key={seen.addon.id} seen={seen} />
          ))}
        </ul>
      </Card>
    </>
  );
}

const STATES: Record<Addon["lifecycle"], [IconName, string, string]> = {
  installed: ["block", "Disabled", "plain"],
  enabled: ["clock", "Not seen yet", "info"],
  loaded: ["yes", "Answers", "good"],
  error: ["lost", "Does not answer", "bad"],
};

function Row({ seen: { addon, stats } }: { seen: Seen }) {
  const [icon, word, tone] = addon.enabled ? STATES[addon.lifecycle] : STATES.installed;
  const name = addon.name || addon.id;
  const why = addon.error || stats?.health.error;
  return (
    <li class="row lease">
      <span class="row-main">
        <span class="row-what">
          <bdi>{visible(name)}</bdi>
        </span>
        <span class="row-who">
          {addon.id}
          {addon.version && <span class="tag">{visible(addon.version)}</span>}
        </span>
        {why && <span class="row-why">{visible(why)}</span>}
        <Requests stats={stats} />
      </span>
      <span class="row-figures">
        <span class={`badge badge-${tone}`}>
          <Icon name={icon} size={16} />
          {word}
        </span>
        {stats?.health.latency_ms != null && <span class="row-time">in {stats.health.latency_ms} ms</span>}
      </span>
      <div class="row-foot">
        <details class="more-facts">
          <summary>
            Details<span class="only-read"> of {name}</span>
          </summary>
          <Facts addon={addon} stats={stats} />
        </details>
        {may("addon:manage") && <Actions addon={addon} name={name} />}
      </div>
    </li>
  );
}

/** What it says of its own requests, where that is fresh. */
function Requests({ stats }: { stats: AddonStats | undefined }) {
  const told = stats?.requests;
  if (!told || !stats.requests_count) return null;
  const parts = [
    told.rps === null ? "" : `${figureOf(told.rps, "")} requests a second`,
    told.in_flight === null ? "" : `${figureOf(told.in_flight, "")} in flight`,
    told.p95_ms === null ? "" : `95 % within ${figureOf(told.p95_ms, " ms")}`,
    told.error_pct === null ? "" : `${figureOf(told.error_pct, "%")} fail`,
  ];
  return <span class="row-why">{parts.filter(Boolean).join(", ")}</span>;
}

function Facts({ addon, stats }: { addon: Addon; stats: AddonStats | undefined }) {
  const folder = stats?.folder;
  return (
    <dl class="facts">
      <Fact name="Registered">
        {timeOf(Date.parse(addon.registered_at), now.value)} by {personOf(addon.by)}
      </Fact>
      <Fact name="Answers at">{addon.base_url && <code>{addon.base_url}</code>}</Fact>
      <Fact name="Last answer">{stats?.health.last_ok && `${durationOf(now.value - Date.parse(stats.health.last_ok))} ago`}</Fact>
      <Fact name="Folder">{addon.runtime_dir && <code>{addon.runtime_dir}</code>}</Fact>
      <Fact name="Folder size">
        {folder && `${bytesOf(folder.bytes)} in ${folder.entries} entries${folder.note ? `, ${folder.note}` : ""}`}
      </Fact>
      <Fact name="Told">{stats?.told_at && `${durationOf(now.value - Date.parse(stats.told_at))} ago`}</Fact>
      <Fact name="Wrong">{Object.values(stats?.errors ?? {}).map(visible).join("; ")}</Fact>
      <Fact name="Figures">
        {stats?.custom && Object.keys(stats.custom).length > 0 && (
          <pre class="block" tabIndex={0}>
            {visible(JSON.stringify(stats.custom, null, 2))}
          </pre>
        )}
      </Fact>
    </dl>
  );
}

function Actions({ addon, name }: { addon: Addon; name: string }) {
  const turn = addon.enabled ? disable : enable;
  return (
    <span class="row-acts">
      <button class="button small" type="button" onClick={() => turn(addon.id, name)}>
        {addon.enabled ? "Disable" : "Enable"}
        <span class="only-read"> {name}</span>
      </button>
      <button class="button small" type="button" onClick={() => remove(addon.id, name)}>
        Remove…<span class="only-read"> {name}</span>
      </button>
    </span>
  );
}

function disable(id: string, name: string): void {
  void just(async () => {
    await api.act(id, "disable");
    return { text: `${name} gets no new lease; what it holds it keeps`, tone: "done", undo: () => enable(id, name) };
  });
}

function enable(id: string, name: string): void {
  void just(async () => {
    await api.act(id, "enable");
    return { text: `${name} may ask again`, tone: "done", undo: () => disable(id, name) };
  });
}

function remove(id: string, name: string): void {
  confirming.value = {
    title: `Forget the add-on “${name}”?`,
    follows: "It is seen here no longer. What it holds it keeps; it may register again.",
    yes: "Forget it",
    run: async () => {
      await api.remove(id);
      return { text: `${name} is forgotten`, tone: "done" };
    },
  };
}
