// What the page shows, as signals: each part changes alone.
import { batch, signal } from "@preact/signals";
import type {
  AlertRow,
  DashboardState,
  Decision,
  Denial,
  Dimension,
  Head,
  Health,
  Input,
  Lease,
  Owner,
  Patch,
  Scale,
  Usage,
  Waiting,
} from "../models/dashboard";
import type { QueueNow } from "../models/job";

const DECISIONS_SHOWN = 40;

export const head = signal<Head | null>(null);
export const scales = signal<Record<string, Scale>>({});
export const inputs = signal<Record<string, Input>>({});
export const capacity = signal<Record<string, Dimension>>({});
export const leases = signal<Lease[]>([]);
export const leasesTotal = signal(0);
export const usage = signal<Record<string, Usage>>({});
export const waiting = signal<Waiting>({ total: 0, rows: [], whys: [] });
export const decisions = signal<Decision[]>([]);
export const denials = signal<Denial[]>([]);
export const owner = signal<Owner | null>(null);
export const queue = signal<QueueNow | null>(null);
export const health = signal<Health | null>(null);
/** Those that stand, the worst first. */
export const alerts = signal<AlertRow[]>([]);
/** The server's clock at the newest frame, and by how much ours differs from it. */
export const newestAt = signal(0);
export const clockOffset = signal(0);

let seq = 0;
/** Forget what belongs to somebody who has signed out. */
export function forget(): void {
  seq = 0;
  batch(() => {
    head.value = null;
    owner.value = null;
    queue.value = null;
    health.value = null;
    alerts.value = [];
    leases.value = [];
    decisions.value = [];
    denials.value = [];
    waiting.value = { total: 0, rows: [], whys: [] };
  });
}

/** Everything anew. */
export function replace(state: DashboardState): void {
  seq = state.seq;
  batch(() => {
    apply(state);
    leases.value = state.leases;
    decisions.value = state.decisions;
    at(state.at);
  });
}

/** What has changed. One that is older than what is shown is left aside. */
export function change(patch: Patch): void {
  if (patch.seq <= seq) return;
  seq = patch.seq;
  const { leases: changes, decisions: added, ...parts } = patch;
  batch(() => {
    apply(parts);
    if (changes) changeLeases(changes.set ?? [], changes.gone ?? []);
    if (added) decisions.value = [...decisions.value, ...added].slice(-DECISIONS_SHOWN);
    at(patch.at);
  });
}

function apply(parts: Partial<DashboardState>): void {
  if (parts.head) head.value = parts.head;
  if (parts.scales) scales.value = parts.scales;
  if (parts.inputs) inputs.value = parts.inputs;
  if (parts.capacity) capacity.value = parts.capacity;
  if (parts.leases_total !== undefined) leasesTotal.value = parts.leases_total;
  if (parts.usage) usage.value = parts.usage;
  if (parts.waiting) waiting.value = parts.waiting;
  if (parts.denials) denials.value = parts.denials;
  if (parts.owner) owner.value = parts.owner;
  if (parts.queue) queue.value = parts.queue;
  if (parts.health) health.value = parts.health;
  if (parts.alerts) alerts.value = parts.alerts;
}

function changeLeases(set: Lease[], gone: string[]): void {
  const byId = new Map(leases.value.map((lease) => [lease.id, lease]));
  for (const id of gone) byId.delete(id);
  for (const lease of set) byId.set(lease.id, lease);
  leases.value = [...byId.values()].sort((one, other) => one.granted_ms - other.granted_ms);
}

function at(ms: number): void {
  newestAt.value = ms;
  clockOffset.value = ms - Date.now();
}
