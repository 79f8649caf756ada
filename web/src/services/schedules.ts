// Calls about schedules: the shapes of src/leasehold/wire/schedule.py.
import { call } from "./api";

export interface Run {
  nominal_at: string;
  at: string;
  outcome: string;
  job_id?: string;
  state?: string;
  ended_at?: string;
  error?: string;
  exit_code?: number;
  why?: string;
  by_hand?: boolean;
}

export interface Schedule {
  schedule_id: string;
  name: string;
  holder: string;
  by: string;
  zone: string;
  explained: string;
  enabled: boolean;
  missed: string;
  overlap: string;
  next_runs: string[];
  job: { exec?: { argv?: string[]; cwd?: string }; title?: string; job_type?: string } & Record<string, unknown>;
  cron?: string;
  note?: string;
  stopped?: string;
  live?: string[];
  last_runs?: Run[];
  submitted?: number;
  left_out?: number;
}

const ONE = (id: string): string => `/api/schedules/${encodeURIComponent(id)}`;

export async function list(): Promise<Schedule[]> {
  return (await call<{ schedules: Schedule[] }>("GET", "/api/schedules")).schedules;
}

export function one(id: string): Promise<Schedule> {
  return call("GET", ONE(id));
}

export function act(id: string, what: "pause" | "resume" | "run"): Promise<unknown> {
  return call("POST", `${ONE(id)}/${what}`);
}

export function remove(id: string): Promise<void> {
  return call("DELETE", ONE(id));
}
