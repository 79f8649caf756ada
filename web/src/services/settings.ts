// Calls behind the settings: windows, what is configured, tokens.
import { call } from "./api";

export type Day = "mon" | "tue" | "wed" | "thu" | "fri" | "sat" | "sun";
export const DAYS: Day[] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/** A window as one sets it: src/leasehold/wire/owner.py. */
export interface WindowIn {
  effect: "block" | "allow";
  from: string;
  to: string;
  days: Day[];
  zone?: string;
  only?: boolean;
  device?: string;
  until?: string;
  note?: string;
}

export interface Window extends WindowIn {
  wid: string;
  zone: string;
  open: boolean;
  by: string;
  changes_at?: string | null;
}

export interface Setting {
  key: string;
  value: unknown;
  origin: string;
  restart: boolean;
}

export interface Configured {
  file: string;
  settings: Setting[];
}

export interface Token {
  token_id: string;
  name: string;
  role: string;
  holder: string;
  created_at: string;
  created_by: string;
  expires_at: string;
  expired?: boolean;
  last_used_at?: string | null;
}

const WINDOWS = "/api/nodes/self/windows";

export async function windows(): Promise<Window[]> {
  return (await call<{ windows: Window[] }>("GET", WINDOWS)).windows;
}

export function addWindow(window: WindowIn): Promise<Window> {
  return call("POST", WINDOWS, window);
}

export function setWindow(wid: string, window: WindowIn): Promise<Window> {
  return call("PUT", `${WINDOWS}/${encodeURIComponent(wid)}`, window);
}

export function removeWindow(wid: string): Promise<void> {
  return call("DELETE", `${WINDOWS}/${encodeURIComponent(wid)}`);
}

export function configured(): Promise<Configured> {
  return call("GET", "/api/config");
}

export async function tokens(): Promise<Token[]> {
  return (await call<{ tokens: Token[] }>("GET", "/api/tokens")).tokens;
}

export function revokeToken(id: string): Promise<void> {
  return call("DELETE", `/api/tokens/${encodeURIComponent(id)}`);
}
