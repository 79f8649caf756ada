import { bytesOf, durationOf, secondOf, timeOf } from "../models/format";
import { endOf, isAtWork, isOver, spanOf, STATE_WORDS, type Attempt, type Job, type JobState, type JobUsage } from "../models/job";
import { now } from "../state/clock";
import { Card } from "./Card";
import { Icon, type IconName } from "./Icon";

interface Entry {
  key: string;
  at: number;
  icon: IconName;
  tone: string;
  what: string;
  details: string[];
}

/** All that has happened to a job: its submission, each run of it and how that ended. */
export function JobHistory({ job }: { job: Job }) {
  return (
    <Card title="History" id="history">
      <ol class="rows timeline">
        {entriesOf(job).map((entry) => (
          <li class="row" key={entry.key}>
            <span class={`tone tone-${entry.tone}`}>
              <Icon name={entry.icon} size={16} />
            </span>
            <span class="row-main">
              <span class="row-what">{entry.what}</span>
              {entry.details.filter(Boolean).map((detail) => (
                <span class="row-why" key={detail}>
                  {detail}
                </span>
              ))}
            </span>
            <time class="row-time" dateTime={new Date(entry.at).toISOString()}>
              {timeOf(entry.at) === timeOf(entry.at, now.value) ? secondOf(entry.at) : timeOf(entry.at)}
            </time>
          </li>
        ))}
        {isAtWork(job) && <Running job={job} />}
      </ol>
    </Card>
  );
}

function Running({ job }: { job: Job }) {
  return (
    <li class="row">
      <span class="tone tone-start">
        <Icon name={job.state === "PAUSED" ? "pause" : "play"} size={16} />
      </span>
      <span class="row-main">
        <span class="row-what">{STATE_WORDS[job.state]}</span>
        {job.cancel_requested && <span class="row-why">It has been asked to stop by {job.cancel_requested}</span>}
        {job.held_back && <span class="row-why">Gives way: {job.held_back}</span>}
      </span>
      <span class="row-time">{job.started_at ? durationOf(now.value - Date.parse(job.started_at)) : ""}</span>
    </li>
  );
}

function entriesOf(job: Job): Entry[] {
  const entries: Entry[] = [
    { key: "submitted", at: Date.parse(job.submitted_at), icon: "word", tone: "word", what: "Submitted", details: [by(job)] },
  ];
  const past = job.history ?? [];
  for (const attempt of past) entries.push(started(attempt.generation, attempt.started_at, attempt.worker), ended(attempt));
  const lastIsPast = past.at(-1)?.generation === job.generation;
  if (job.started_at && !lastIsPast) entries.push(started(job.generation ?? 1, job.started_at, job.worker_id ?? ""));
  if (isOver(job) && job.ended_at && !(lastIsPast && past.at(-1)?.ended_at === job.ended_at)) {
    entries.push(ending(`end ${job.generation}`, job.ended_at, job.state, job));
  }
  return entries;
}

function by(job: Job): string {
  return job.submitter && job.submitter !== job.holder ? `by ${job.submitter}, for ${job.holder}` : `by ${job.holder}`;
}

function started(generation: number, at: string, worker: string): Entry {
  const what = `Run ${generation} began`;
  return { key: `start ${generation}`, at: Date.parse(at), icon: "play", tone: "start", what, details: [worker && `by ${worker}`] };
}

function ended(attempt: Attempt): Entry {
  const ran = spanOf(Date.parse(attempt.ended_at) - Date.parse(attempt.started_at));
  return ending(`end ${attempt.generation}`, attempt.ended_at, attempt.outcome, attempt, `after ${ran}`);
}

function ending(
  key: string,
  at: string,
  outcome: string,
  one: { exit_code?: number; signal?: string; error?: string; usage?: JobUsage },
  more = "",
): Entry {
  const isGood = outcome === "DONE";
  const word = STATE_WORDS[outcome as JobState] ?? `${outcome.charAt(0)}${outcome.slice(1).toLowerCase()}`;
  const details = [endOf(one), usageOf(one.usage)];
  return {
    key,
    at: Date.parse(at),
    icon: isGood ? "yes" : "lost",
    tone: isGood ? "start" : outcome === "CANCELED" || outcome === "REQUEUED" ? "held" : "lost",
    what: [word, more].filter(Boolean).join(" "),
    details,
  };
}

/** `1.2 s of CPU, 48 MiB at most` */
export function usageOf(usage: JobUsage | undefined): string {
  if (usage === undefined) return "";
  const parts: string[] = [];
  if (usage.cpu_seconds !== undefined) parts.push(`${Number(usage.cpu_seconds.toFixed(usage.cpu_seconds < 10 ? 2 : 0))} s of CPU`);
  if (usage.memory_peak_bytes) parts.push(`${bytesOf(usage.memory_peak_bytes)} of memory at most`);
  if (usage.memory_kills) parts.push("it was out of memory");
  return parts.join(", ");
}
