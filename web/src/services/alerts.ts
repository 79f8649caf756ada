// Calls about alerts: the shapes of src/leasehold/wire/alert.py.
import { call } from "./api";

export interface Alert {
  rule: string;
  title: string;
  state: "inactive" | "active" | "acknowledged" | "cleared";
  severity: "warning" | "critical" | null;
  sentence: string;
  now: string;
  value: number | null;
  unit: string;
  way: string;
  warning: number | null;
  critical: number | null;
  enabled: boolean;
  muted_until?: string;
  since?: string;
  cleared_at?: string;
  acknowledged_at?: string;
  acknowledged_by?: string;
  note?: string;
  fired?: number;
  waits?: string;
  cure?: string;
}

export interface Alerts {
  alerts: Alert[];
  active: number;
  acknowledged: number;
  checked_at: string | null;
  check_sec: number;
}

export interface Threshold {
  warning: number | null;
  critical: number | null;
  for_sec: number;
  cooldown_sec: number;
  unit: string;
  way: string;
  measured: string;
  built_in: { warning: number | null; critical: number | null; for_sec: number; cooldown_sec: number };
  least?: number;
  most?: number;
  changed_at?: string;
  changed_by?: string;
}

/** What is changed of one rule; null is what is built in. */
export type Change = Partial<Record<"warning" | "critical" | "for_sec" | "cooldown_sec", number | null>>;

const ALERTS = "/api/alerts";
const THRESHOLDS = "/api/config/alert-thresholds";

export function list(): Promise<Alerts> {
  return call("GET", ALERTS);
}

export function acknowledge(rule: string, note: string): Promise<Alert> {
  return call("POST", `${ALERTS}/${rule}/acknowledge`, note ? { note } : {});
}

export function set(rule: string, change: { enabled?: boolean; mute_for_sec?: number; mute_until?: string | null }): Promise<Alert> {
  return call("PUT", `${ALERTS}/${rule}`, change);
}

export async function thresholds(): Promise<Record<string, Threshold>> {
  return (await call<{ thresholds: Record<string, Threshold> }>("GET", THRESHOLDS)).thresholds;
}

export function setThresholds(rule: string, change: Change): Promise<unknown> {
  return call("PUT", THRESHOLDS, { thresholds: { [rule]: change } });
}
