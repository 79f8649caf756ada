import { Card } from "../components/Card";
import { Find } from "../components/Find";
import { ScheduleRow, useSchedules } from "../components/Schedules";
import { Tabs } from "../components/Tabs";
import { search } from "../router";
import type { Schedule } from "../services/schedules";

/** All schedules: when each runs next, what came of its runs, and what can be done about it. */
export function Schedules() {
  const { data, failed } = useSchedules();
  const query = new URLSearchParams(search.value);
  const text = (query.get("text") ?? "").toLowerCase();
  const only = query.get("only") ?? "";
  const rows = (data ?? []).filter((one) => fits(one, only) && matches(one, text));
  const paused = (data ?? []).filter((one) => !one.enabled).length;
  return (
    <>
      <h1 class="page-title">Schedules</h1>
      <Card title="Submitted again and again" id="schedules">
        <Tabs
          name="only"
          label="Which"
          options={[
            ["All", "", data?.length ?? 0],
            ["Enabled", "enabled", (data?.length ?? 0) - paused],
            ["Paused", "paused", paused],
          ]}
        />
        <Find label="Text in a name, a holder or a note" />
        {data === null && (
          <p class="empty" role={failed ? "alert" : undefined}>
            {failed?.message ?? "…"}
          </p>
        )}
        {data !== null && rows.length === 0 && <p class="empty">{data.length ? "None matches." : "There is none yet."}</p>}
        <ul class="rows schedules">
          {rows.map((schedule) => (
            <ScheduleRow key={schedule.schedule_id} schedule={schedule} whole />
          ))}
        </ul>
        <p class="fine">
          Make one in a terminal: <code>leasehold schedule add backup --nightly --by 06:00 -- restic backup ~</code>
        </p>
      </Card>
    </>
  );
}

function fits(one: Schedule, only: string): boolean {
  return !only || one.enabled === (only === "enabled");
}

function matches(one: Schedule, text: string): boolean {
  return !text || [one.name, one.holder, one.note, one.explained].some((part) => part?.toLowerCase().includes(text));
}
