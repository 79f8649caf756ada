// Calls about jobs.
import type { Job, JobPage, LogPage } from "../models/job";
import { call } from "./api";

const QUEUE = "/api/scheduler/queue";
export const ROWS = 50;
const LOG_WAIT_S = 10;
const LOOKS = 50;

export type Action = "cancel" | "hold" | "resume" | "retry" | "priority" | "pause";

/** What a list is asked for; as the address has it. */
export interface Filter {
  state?: string;
  holder?: string;
  label?: string;
  group?: string;
  job_type?: string;
  text?: string;
  fold?: string;
}

export interface Told {
  note?: string;
  priority?: string;
  grace_sec?: number;
}

export interface Bulk {
  action: Action;
  ids?: string[];
  state?: string[];
  holder?: string;
  label?: string;
  group?: string;
  job_type?: string;
  note?: string;
  priority?: string;
  dry_run?: boolean;
}

export interface BulkOut {
  matched: number;
  changed: number;
  refused?: number;
  details?: string[];
}

/** A page of jobs. A search looks at some thousands of them at a time: it goes on until it finds one, or enough. */
export async function list(filter: Filter, from = ""): Promise<JobPage> {
  const query = new URLSearchParams({ limit: `${ROWS}` });
  if (from) query.set("cursor", from);
  for (const [name, value] of Object.entries(filter)) if (value) query.set(name, value);
  for (let looks = 1; ; looks += 1) {
    const page = await call<JobPage>("GET", `${QUEUE}/jobs?${query}`);
    if (page.jobs.length || !page.cursor || looks >= LOOKS) return page;
    query.set("cursor", page.cursor);
  }
}

export function one(id: string): Promise<Job> {
  return call("GET", `${QUEUE}/jobs/${encodeURIComponent(id)}`);
}

export function act(id: string, action: Action, told: Told = {}): Promise<Job> {
  return call("POST", `${QUEUE}/jobs/${encodeURIComponent(id)}/${action}`, told);
}

export function bulk(body: Bulk): Promise<BulkOut> {
  return call("POST", `${QUEUE}/jobs/bulk`, body);
}

/** A piece of what a command has written; with `wait` it comes when there is more. */
export function log(id: string, offset: number, attempt: number, limit: number, wait: boolean): Promise<LogPage> {
  const query = `offset=${offset}&limit=${limit}&attempt=${attempt}&wait_sec=${wait ? LOG_WAIT_S : 0}`;
  return call("GET", `${QUEUE}/jobs/${encodeURIComponent(id)}/log?${query}`);
}

export function bytes(data: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
}
