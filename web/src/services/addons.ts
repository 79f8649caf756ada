// Calls about add-ons: the shapes of src/leasehold/wire/addon.py.
import { call } from "./api";

export interface Addon {
  id: string;
  name: string;
  version: string;
  enabled: boolean;
  lifecycle: "installed" | "enabled" | "loaded" | "error";
  registered_at: string;
  by: string;
  base_url?: string | null;
  runtime_dir?: string | null;
  error?: string | null;
}

export interface AddonStats {
  id: string;
  lifecycle: Addon["lifecycle"];
  health: {
    status: "unknown" | "ok" | "error";
    last_checked?: string | null;
    last_ok?: string | null;
    error_code?: string | null;
    error?: string | null;
    latency_ms?: number | null;
  };
  runtime_dir_bytes?: number | null;
  folder?: { bytes: number; entries: number; complete: boolean; measured_at: string; note: string } | null;
  requests?: { rps: number | null; in_flight: number | null; error_pct: number | null; p95_ms: number | null } | null;
  requests_count?: boolean;
  told_at?: string | null;
  custom?: Record<string, unknown> | null;
  errors?: Record<string, string>;
}

export interface Seen {
  addon: Addon;
  stats: AddonStats | undefined;
}

const ONE = (id: string): string => `/api/addons/${encodeURIComponent(id)}`;

/** All that are registered, each with what is seen of it. */
export async function list(): Promise<Seen[]> {
  const [{ addons }, { addons: stats }] = await Promise.all([
    call<{ addons: Addon[] }>("GET", "/api/addons"),
    call<{ addons: Record<string, AddonStats> }>("GET", "/api/system-stats/addons"),
  ]);
  return addons.map((addon) => ({ addon, stats: stats[addon.id] }));
}

export function act(id: string, what: "enable" | "disable"): Promise<Addon> {
  return call("POST", `${ONE(id)}/${what}`);
}

export function remove(id: string): Promise<void> {
  return call("DELETE", ONE(id));
}
