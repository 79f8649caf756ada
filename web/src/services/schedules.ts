// Calls about schedules: the shapes of src/leasehold/wire/schedule.py.
import { call } from "./api";

export interface Run {
  nominal_at: string;
  at: string;
  outcome: string;
  job_id?: string;
  state?: string;
  error?: string;
  exit_code?: number;
  why?: string;
}

export interface Schedule {
  schedule_id: string;
  name: string;
  holder: string;
  by: string;
  explained: string;
  enabled: boolean;
  next_runs: string[];
  stopped?: string;
  live?: string[];
  last_runs?: Run[];
}

export async function list(): Promise<Schedule[]> {
  return (await call<{ schedules: Schedule[] }>("GET", "/api/schedules")).schedules;
}

export function act(id: string, what: "pause" | "resume" | "run"): Promise<unknown> {
  return call("POST", `/api/schedules/${encodeURIComponent(id)}/${what}`);
}
