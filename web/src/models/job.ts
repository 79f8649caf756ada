// Jobs as the server tells them (src/leasehold/wire/job.py), and what of them people read.
import { counted, durationOf, readable, timeOf } from "./format";

export type JobState =
  | "QUEUED"
  | "HELD"
  | "DISPATCHING"
  | "RUNNING"
  | "PAUSED"
  | "DONE"
  | "FAILED"
  | "CANCELED"
  | "EXPIRED";

export interface JobUsage {
  cpu_seconds?: number;
  memory_peak_bytes?: number;
  memory_kills?: number;
}

export interface Attempt {
  generation: number;
  outcome: string;
  worker: string;
  started_at: string;
  ended_at: string;
  error?: string;
  exit_code?: number;
  signal?: string;
  usage?: JobUsage;
}

export interface JobReason {
  code: string;
  sentence: string;
  cure?: string;
  retry_after_sec?: number;
}

export interface Job {
  job_id: string;
  state: JobState;
  job_type: string;
  holder: string;
  tenant: string;
  priority: string;
  start: string;
  submitted_at: string;
  title?: string;
  submitter?: string;
  payload?: unknown;
  is_command?: boolean;
  command?: string[];
  cwd?: string;
  charge?: Record<string, unknown>;
  needs?: string[];
  labels?: Record<string, string>;
  group?: string;
  gang?: number;
  index?: number;
  unique_key?: string;
  earliest_start_at?: string;
  deadline_at?: string;
  start_anyway_by?: string;
  next_earliest_start_at?: string;
  expected_duration_sec?: number;
  max_runtime_sec?: number;
  max_attempts?: number;
  after?: string[];
  waits_for?: string[];
  generation?: number;
  attempts?: number;
  lease_id?: string;
  worker_id?: string;
  started_at?: string;
  ended_at?: string;
  running_sec?: number;
  progress?: number;
  message?: string;
  held_back?: string;
  cancel_requested?: string;
  result?: unknown;
  error?: string;
  error_class?: string;
  exit_code?: number;
  signal?: string;
  usage?: JobUsage;
  history?: Attempt[];
  position?: number;
  reason?: string;
  reasons?: JobReason[];
  members?: Record<string, number>;
}

export interface JobPage {
  jobs: Job[];
  cursor?: string;
}

export interface LogPage {
  chunks: { offset: number; at: string; stream: "out" | "err" | "note"; data: string }[];
  next: number;
  over: boolean;
  dropped_bytes?: number;
}

/** The queue in figures, as the stream tells them. */
export interface QueueNow {
  changes: number;
  states: Partial<Record<JobState, number>>;
  rates: { submitted_per_min: number; started_per_min: number; ended_per_min: number };
  wait_p50_sec: number | null;
  wait_p95_sec: number | null;
  oldest_ms: number | null;
  reasons: Record<string, number>;
  workers: number;
}

export const WAITING: JobState[] = ["QUEUED", "HELD"];
export const AT_WORK: JobState[] = ["DISPATCHING", "RUNNING", "PAUSED"];
export const ENDED: JobState[] = ["DONE", "FAILED", "CANCELED", "EXPIRED"];

export const STATE_WORDS: Record<JobState, string> = {
  QUEUED: "Waiting",
  HELD: "Held",
  DISPATCHING: "Starting",
  RUNNING: "Running",
  PAUSED: "Paused",
  DONE: "Done",
  FAILED: "Failed",
  CANCELED: "Canceled",
  EXPIRED: "Expired",
};

const REASON_WORDS: Record<string, string> = {
  AFTER: "for other jobs",
  NOT_YET: "for their time",
  HELD: "held by a person",
  NO_WORKER: "for a worker",
  IN_LINE: "for their turn",
  CAPACITY: "for room",
  NOT_QUIET: "for quiet",
  BLOCKED: "blocked by the owner",
  NO_WINDOW: "for a window",
};

/** `12 for quiet`: what so many wait for. */
export function waitsFor(code: string): string {
  return REASON_WORDS[code] ?? code.toLowerCase().replaceAll("_", " ");
}

const TITLE_MAX = 160;

/** What a job is called: its title, its command, its type. */
export function titleOf(job: Job): string {
  const text = job.title || commandOf(job) || job.job_type;
  const seen = visible(text);
  return seen.length <= TITLE_MAX ? seen : `${seen.slice(0, TITLE_MAX - 1)}…`;
}

/** A command as one would type it. */
export function commandOf(job: Job): string {
  return (job.command ?? []).map(quoted).join(" ");
}

function quoted(word: string): string {
  if (/^[A-Za-z0-9_@%+=:,./-]+$/.test(word)) return word;
  return `'${word.replaceAll("'", "'\\''")}'`;
}

/** A text without what would steer a terminal, or turn the direction of writing. */
export function visible(text: string): string {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "␦");
}

export function isOver(job: Job): boolean {
  return ENDED.includes(job.state);
}

export function isAtWork(job: Job): boolean {
  return AT_WORK.includes(job.state);
}

/** How it ended, in words: `exit code 2`, `killed by SIGKILL`, what its worker said. */
export function endOf(one: { exit_code?: number; signal?: string; error?: string }): string {
  const parts: string[] = [];
  if (one.signal) parts.push(`ended by ${one.signal}`);
  else if (one.exit_code !== undefined) parts.push(`exit code ${one.exit_code}`);
  if (one.error) parts.push(visible(one.error));
  return parts[1]?.includes(parts[0] ?? "") ? parts[1] : parts.join(": ");
}

/** One sentence on where a job stands, for a row of the list. */
export function storyOf(job: Job): string {
  if (job.state === "DONE") return "";
  if (isOver(job)) return endOf(job) || endOf(job.history?.at(-1) ?? {});
  if (job.cancel_requested) return "Is being canceled";
  if (job.state === "DISPATCHING") return `Offered to ${job.worker_id || "a worker"}`;
  if (isAtWork(job)) return job.held_back ? `Gives way: ${job.held_back}` : visible(job.message ?? "");
  return readable(job.reason ?? "");
}

/** When what it does now began. */
export function sinceOf(job: Job): number {
  return Date.parse((isOver(job) ? job.ended_at : isAtWork(job) ? job.started_at : null) ?? job.submitted_at);
}

/** How long it ran, where that is known. */
export function ranOf(job: Job): string {
  if (!job.started_at || !job.ended_at) return "";
  return spanOf(Date.parse(job.ended_at) - Date.parse(job.started_at));
}

/** 12 s, or `less than 1 s`. */
export function spanOf(ms: number): string {
  return ms < 1000 ? "less than 1 s" : durationOf(ms);
}

/** `3 running, 12 waiting`: the members of a folded group. */
export function membersOf(members: Record<string, number>): string {
  const order: JobState[] = [...AT_WORK, ...WAITING];
  return order
    .filter((state) => members[state])
    .map((state) => `${members[state]} ${STATE_WORDS[state].toLowerCase()}`)
    .join(", ");
}

export function sizeOf(members: Record<string, number> | undefined): number {
  return Object.values(members ?? {}).reduce((sum, count) => sum + count, 0);
}

/** When a job that waits starts whatever else is, and what that lifts. */
export function anywayOf(job: Job, now: number): string {
  if (job.start === "now") return "";
  if (!job.start_anyway_by) return "It waits for quiet however long that takes.";
  const at = Date.parse(job.start_anyway_by);
  if (at <= now) return "It waits for quiet no longer: only room, a block by the owner and panic keep it back.";
  return `If it is not quiet before, it starts anyway from ${timeOf(at)} on, in ${durationOf(at - now)}.`;
}

export function jobs(count: number): string {
  return counted(count, "job");
}
