// Calls about what the machine is doing: the shapes of src/leasehold/wire/stats.py.
import type { History } from "../models/dashboard";
import { call } from "./api";

const STATS = "/api/system-stats";

export interface Asked {
  group: string;
  metric: string;
  range: string;
  step?: string;
  agg?: "mean" | "min" | "max";
}

export interface Streak {
  start_time: string;
  end_time: string;
  duration_sec: number;
  avg_score: number;
  min_score: number;
  open?: boolean;
}

export interface Streaks {
  range_sec: number;
  quiet_sec: number;
  streaks: Streak[];
}

export interface Mount {
  path: string;
  disk: string;
  total_bytes: number;
  free_bytes: number;
  free_pct: number;
}

export interface Link {
  name: string;
  rx_bytes_per_sec: number | null;
  tx_bytes_per_sec: number | null;
}

export interface Gpu {
  name: string;
  model: string;
  utilisation_pct: number | null;
  memory_used_bytes: number | null;
  memory_total_bytes: number | null;
}

export interface Host {
  cpu_pct: number | null;
  load_1m: number | null;
  load_5m: number | null;
  load_15m: number | null;
  cores_logical: number;
  cores_physical: number | null;
  memory_total_bytes: number;
  memory_available_bytes: number;
  memory_pct: number;
  swap_total_bytes: number;
  swap_used_bytes: number;
  disks: Mount[];
  network: Link[];
  uptime_sec: number;
  temperatures_c: Record<string, number> | null;
  battery: { on_battery: boolean; percent: number | null } | null;
  gpus: Gpu[] | null;
}

export interface Snapshot {
  collected_at: string | null;
  host: Host | null;
  process: { rss_bytes: number; cpu_pct: number | null; threads: number } | null;
  errors: Record<string, string>;
}

export interface Collector {
  name: string;
  interval_ms: number;
  runs: number;
  last_start: string | null;
  last_duration_ms: number | null;
  last_error: string | null;
  consecutive_failures: number;
  late_ms: number;
}

export function history(asked: Asked): Promise<History> {
  return call("GET", `${STATS}/history?${new URLSearchParams({ ...asked })}`);
}

export function current(): Promise<Snapshot> {
  return call("GET", `${STATS}/current`);
}

export function streaks(range: string): Promise<Streaks> {
  return call("GET", `${STATS}/streaks?range=${range}`);
}

export async function collectors(): Promise<Collector[]> {
  return (await call<{ collectors: Collector[] }>("GET", `${STATS}/debug/collectors`)).collectors;
}
