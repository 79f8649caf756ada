import { durationOf, timeOf } from "../models/format";
import { now } from "../state/clock";
import { may } from "../state/connection";
import { useLive } from "../state/live";
import { acted, acting } from "../state/acts";
import { tell } from "../state/toast";
import { act, list, type Run, type Schedule } from "../services/schedules";
import { STATE_WORDS, visible, type JobState } from "../models/job";
import { Card } from "./Card";

const SELDOM_MS = 60_000;
const SHOWN = 20;

/** What is submitted again and again: when next, and what came of it last. Where there is none, nothing. */
export function Schedules() {
  const { data } = useLive("schedules", list, SELDOM_MS);
  if (!data?.length) return null;
  return (
    <Card title="Schedules" id="schedules" aside={data.length > SHOWN ? `${data.length} in all` : undefined}>
      <ul class="rows schedules">
        {data.slice(0, SHOWN).map((schedule) => (
          <Row key={schedule.schedule_id} schedule={schedule} />
        ))}
      </ul>
    </Card>
  );
}

function Row({ schedule }: { schedule: Schedule }) {
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
      {may("schedule:set") && <Buttons schedule={schedule} />}
    </li>
  );
}

function Last({ run }: { run: Run | undefined }) {
  if (run === undefined) return <span class="row-why">It has not run yet</span>;
  const state = run.state ? STATE_WORDS[run.state as JobState] ?? run.state : run.outcome.toLowerCase().replaceAll("_", " ");
  const why = run.error || run.why;
  return (
    <span class="row-why">
      Last {timeOf(Date.parse(run.at))}:{" "}
      {run.job_id ? (
        <a class="link" href={`/jobs/${run.job_id}`}>
          {state.toLowerCase()}
        </a>
      ) : (
        state
      )}
      {why ? `, ${visible(why)}` : ""}
    </span>
  );
}

function Buttons({ schedule }: { schedule: Schedule }) {
  const does = (what: "pause" | "resume" | "run", done: string) => async () => {
    acting.value = true;
    try {
      await act(schedule.schedule_id, what);
      tell({ text: `${schedule.name} ${done}`, tone: "done" });
    } catch (error) {
      tell({ text: (error as Error).message, tone: "failed" });
    } finally {
      acting.value = false;
      acted.value += 1;
    }
  };
  const button = (label: string, onClick: () => Promise<void>) => (
    <button class="button small" type="button" disabled={acting.value} onClick={() => void onClick()}>
      {label}
      <span class="only-read"> {schedule.name}</span>
    </button>
  );
  return (
    <span class="row-acts">
      {schedule.enabled ? button("Pause", does("pause", "is paused")) : button("Resume", does("resume", "goes on"))}
      {button("Run now", does("run", "was submitted"))}
    </span>
  );
}
