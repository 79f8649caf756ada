// The owner's word, said by the page.
import type { Owner } from "../models/dashboard";
import { call } from "./api";

const NODE = "/api/nodes/self";

export type End = { for_sec: number } | { until: string };

export function block(end: End, note: string): Promise<Owner> {
  return call("PUT", `${NODE}/admission`, { effect: "block", ...end, ...noted(note) });
}

export function allow(): Promise<Owner> {
  return call("PUT", `${NODE}/admission`, { effect: "allow" });
}

export function pretend(state: "busy" | "quiet", forSec: number, note: string): Promise<Owner> {
  return call("PUT", `${NODE}/pretend`, { state, for_sec: forSec, ...noted(note) });
}

export function stopPretending(): Promise<void> {
  return call("DELETE", `${NODE}/pretend`);
}

function noted(note: string): { note?: string } {
  return note ? { note } : {};
}
