// What the server tells: the shapes of src/leasehold/wire/dashboard.py. Times are Unix milliseconds.
import type { QueueNow } from "./job";

export type Verdict = "yes" | "urgent" | "no";
export type QuietState = "QUIET" | "NORMAL" | "BUSY" | "PANIC" | "UNKNOWN";

export interface Head {
  verdict: Verdict;
  headline: string;
  state: QuietState;
  score: number | null;
  since_ms: number | null;
  cooldown_until_ms: number | null;
  reasons: string[];
  notices: string[];
  node_id: string;
  preset: string;
  version: string;
  read_only: boolean;
  /** What says that no figure is of a real machine; not there, or "", where they are measured. */
  made_up?: string;
}

/** Where the pressure of an input is 0 and where it is 100. */
export interface Scale {
  label: string;
  group: string;
  unit: string;
  zero: number;
  one: number;
}

/** Value, and pressure from 0 to 100. */
export type Input = [value: number | null, pressure: number];

export interface Dimension {
  total: number;
  usable: number;
  used: number;
  free: number;
}

export interface Lease {
  id: string;
  holder: string;
  job_type: string;
  state: string;
  units: number;
  granted_ms: number;
  priority: string;
  label?: string;
  job?: string;
  cpu_millicores?: number;
  memory_bytes?: number;
  devices?: string[];
  locks?: string[];
  flags?: string[];
  expected_ms?: number;
}

/** CPU milliseconds in all, bytes of memory now, progress from 0 to 1. */
export type Usage = [cpu_ms: number, memory_bytes: number, progress: number | null];

export interface Waiter {
  ticket: string;
  holder: string;
  job_type: string;
  units: number;
  since_ms: number;
  priority: string;
  why: number;
  label?: string;
}

export interface Waiting {
  total: number;
  rows: Waiter[];
  whys: string[];
}

export interface Decision {
  seq: number;
  kind: string;
  at_ms: number;
  subject: string;
  holder?: string;
  job_type?: string;
  units?: number;
  ran_ms?: number | null;
  reason?: string;
  by?: string;
  until_ms?: number;
  label?: string;
}

export interface Denial {
  holder: string;
  code: string;
  at_ms: number;
  count: number;
  reason?: string;
}

export interface Word {
  effect: "block" | "allow";
  until: string;
  by: string;
  since: string;
  device?: string;
  note?: string;
}

export interface Pretend {
  state: "busy" | "quiet";
  until: string;
  by: string;
  since: string;
  note?: string;
}

export interface Owner {
  node_id: string;
  admission: "allow" | "block";
  reasons: string[];
  words: Word[];
  blocked_devices?: string[];
  pretend?: Pretend | null;
  changes_at?: string | null;
}

export interface Health {
  status: "ok" | "warn" | "error";
  reasons: string[];
}

/** An alert that stands. */
export interface AlertRow {
  rule: string;
  title: string;
  severity: "warning" | "critical";
  state: "active" | "acknowledged";
  sentence: string;
  since_ms: number;
  acknowledged_by?: string;
  muted?: boolean;
}

export interface DashboardState {
  seq: number;
  at: number;
  head: Head;
  scales: Record<string, Scale>;
  inputs: Record<string, Input>;
  capacity: Record<string, Dimension>;
  leases_total: number;
  leases: Lease[];
  usage: Record<string, Usage>;
  waiting: Waiting;
  decisions: Decision[];
  denials: Denial[];
  owner: Owner;
  queue: QueueNow;
  health: Health;
  alerts: AlertRow[];
}

export type Patch = { seq: number; at: number; leases?: { set?: Lease[]; gone?: string[] } } & Partial<
  Omit<DashboardState, "seq" | "at" | "leases">
>;

export interface SessionInfo {
  name: string;
  role: string;
  verbs: string[];
  expires_at: string;
  key?: string;
}

export interface History {
  group: string;
  metric: string;
  start: string;
  end: string;
  step_sec: number;
  values: (number | null)[];
}
