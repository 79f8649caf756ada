import { useState } from "preact/hooks";
import { durationOf, timeOf } from "../models/format";
import { commandOf, STATE_WORDS, visible, type Job, type JobState } from "../models/job";
import { list, one, type Run, type Schedule } from "../services/schedules";
import { now } from "../state/clock";
import { may } from "../state/connection";
import { ofEvents, useLive } from "../state/live";
import { pause, remove, resume, runNow } from "../state/schedules";
import { Card } from "./Card";
import { Fact } from "./Fact";

const SELDOM_MS = 60_000;
const SHOWN = 5;

export function useSchedules() {
  return useLive("schedules", list, { everyMs: SELDOM_MS, on: ofEvents });
}

/** What is submitted again and again: when next, and what came of it last. Where there is none, nothing. */
export function Schedules() {
  const { data } = useSchedules();
  if (!data?.length) return null;
  const open = (
    <a class="link" href="/schedules">
      {data.length > SHOWN ? `All ${data.length}` : "Open"}
      <span class="only-read"> schedules</span>
    </a>
  );
  return (
    <Card title="Schedules" id="schedules" aside={open}>
      <ul class="rows schedules">
        {data.slice(0, SHOWN).map((schedule) => (
          <ScheduleRow key={schedule.schedule_id} schedule={schedule} />
        ))}
      </ul>
    </Card>
  );
}

/** One schedule; with `whole` also everything else that is known of it, on demand. */
export function ScheduleRow({ schedule, whole = false }: { schedule: Schedule; whole?: boolean }) {
  const next = schedule.next_runs[0];
  return (
    <li class="row">
      <span class="row-main">
        <span class="row-what">{schedule.name}</span>
        <span class="row-who">{schedule.explained}</span>
        <Last run={schedule.last_runs?.[0]} />
      </span>
      <span class="row-figures">
        <span class="row-units">{schedule.enabled ? (next ? timeOf(Date.parse(next)) : "no more runs") : "paused"}</span>
        {next && schedule.enabled && <span class="row-time">in {durationOf(Date.parse(next) - now.value)}</span>}
      </span>
      {schedule.stopped && <span class="row-why row-wide">{visible(schedule.stopped)}</span>}
      <div class="row-foot">
        {whole && <Whole schedule={schedule} />}
        {may("schedule:set") && <Buttons schedule={schedule} whole={whole} />}
      </div>
    </li>
  );
}

function Last({ run }: { run: Run | undefined }) {
  if (run === undefined) return <span class="row-why">It has not run yet</span>;
  return (
    <span class="row-why">
      Last <Outcome run={run} />
    </span>
  );
}

/** When a run was, what became of its job, and why it was left out where it was. */
function Outcome({ run }: { run: Run }) {
  const state = run.state ? STATE_WORDS[run.state as JobState] ?? run.state : run.outcome.toLowerCase().replaceAll("_", " ");
  const why = run.error || run.why;
  return (
    <>
      {timeOf(Date.parse(run.at))}:{" "}
      {run.job_id ? (
        <a class="link" href={`/jobs/${run.job_id}`}>
          {state.toLowerCase()}
        </a>
      ) : (
        state
      )}
      {run.by_hand ? ", run by hand" : ""}
      {why ? `, ${visible(why)}` : ""}
    </>
  );
}

function Whole({ schedule }: { schedule: Schedule }) {
  const [open, setOpen] = useState(false);
  return (
    <details class="more-facts" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        Details<span class="only-read"> of {schedule.name}</span>
      </summary>
      {open && <Facts schedule={schedule} />}
    </details>
  );
}

const MISSED: Record<string, string> = {
  skip: "left out",
  last: "made up for by one",
  all: "all made up for",
};
const OVERLAP: Record<string, string> = {
  skip: "the new one is left out",
  queue: "the new one waits",
  replace: "the old one is canceled",
  allow: "both run",
};

function Facts({ schedule }: { schedule: Schedule }) {
  const { data } = useLive(schedule.schedule_id, () => one(schedule.schedule_id), { everyMs: SELDOM_MS, on: ofEvents });
  const found = data ?? schedule;
  const command = commandOf({ command: found.job.exec?.argv ?? [] } as unknown as Job);
  return (
    <dl class="facts">
      <Fact name="Command">{command && <code>{visible(command)}</code>}</Fact>
      <Fact name="Type">{!command && found.job.job_type}</Fact>
      <Fact name="When">{found.cron && <code>{found.cron}</code>} {found.zone}</Fact>
      <Fact name="Next">{found.next_runs.map((at) => timeOf(Date.parse(at), now.value)).join(", ")}</Fact>
      <Fact name="Missed runs">{MISSED[found.missed] ?? found.missed}</Fact>
      <Fact name="Two at once">{OVERLAP[found.overlap] ?? found.overlap}</Fact>
      <Fact name="Runs">
        {found.submitted ?? 0} submitted, {found.left_out ?? 0} left out
      </Fact>
      <Fact name="Holder">{found.holder}</Fact>
      <Fact name="Note">{found.note && visible(found.note)}</Fact>
      <Fact name="Last runs">
        {(found.last_runs ?? []).length > 0 && (
          <ul>
            {(found.last_runs ?? []).map((run) => (
              <li key={run.at}>
                <Outcome run={run} />
              </li>
            ))}
          </ul>
        )}
      </Fact>
      <Fact name="Id">
        <code>{found.schedule_id}</code>{" "}
        <a class="link" href={`/events?text=${found.schedule_id}`}>
          its events
        </a>
      </Fact>
    </dl>
  );
}

function Buttons({ schedule, whole }: { schedule: Schedule; whole: boolean }) {
  const button = (label: string, act: (schedule: Schedule) => void) => (
    <button class="button small" type="button" onClick={() => act(schedule)}>
      {label}
      <span class="only-read"> {schedule.name}</span>
    </button>
  );
  return (
    <span class="row-acts">
      {schedule.enabled ? button("Pause", pause) : button("Resume", resume)}
      {button("Run now", runNow)}
      {whole && button("Remove…", remove)}
    </span>
  );
}
