// What people do to jobs: asked first where it ends something or is for many, done, told, and taken back.
import { signal } from "@preact/signals";
import { isOver, jobs, STATE_WORDS, titleOf, type Job } from "../models/job";
import { Refused } from "../services/api";
import * as api from "../services/jobs";
import type { Action, Bulk, BulkOut, Filter, Told } from "../services/jobs";
import { tell } from "./toast";

/** Which jobs: one, or some by id and whole groups, or all that match. */
export interface Target {
  one?: Job;
  ids: string[];
  groups: string[];
  filter?: Filter;
}

export interface Asked {
  action: Action;
  target: Target;
}

/** What is being asked, while its dialog is open. */
export const asked = signal<Asked | null>(null);
export const acting = signal(false);
/** Why the last thing was not done, for the dialog that asked: what is behind it can't be read. */
export const refused = signal("");
/** Grows with each thing done, so that what is shown is asked for anew. */
export const acted = signal(0);

const DONE: Record<Action, string> = {
  cancel: "canceled",
  hold: "held",
  resume: "resumed",
  retry: "queued again",
  priority: "moved",
  pause: "paused",
};

const BACK: Partial<Record<Action, Action>> = { hold: "resume", pause: "resume" };

export function forOne(job: Job): Target {
  return { one: job, ids: [job.job_id], groups: [] };
}

/** Do it. True where it was done, at least to one. */
export async function perform(action: Action, target: Target, told: Told = {}): Promise<boolean> {
  acting.value = true;
  refused.value = "";
  try {
    if (target.one !== undefined) await toOne(action, target.one, told);
    else summarise(action, await toMany(action, target, told, false));
    return true;
  } catch (error) {
    const text = error instanceof Refused ? error.message : "That did not work. Try again.";
    if (asked.value === null) tell({ text, tone: "failed" });
    else refused.value = text;
    return false;
  } finally {
    acting.value = false;
    acted.value += 1;
  }
}

/** How many it would be. */
export async function countOf(action: Action, target: Target): Promise<number> {
  const out = await toMany(action, target, {}, true);
  return out.matched;
}

async function toOne(action: Action, job: Job, told: Told): Promise<void> {
  const after = await api.act(job.job_id, action, told);
  const back = wayBack(action, job, after);
  const undo = back === undefined ? {} : { undo: () => void back() };
  tell({ text: sentence(action, after), tone: "done", ...undo });
}

/** What takes it back, where that can be. */
function wayBack(action: Action, before: Job, after: Job): (() => Promise<boolean>) | undefined {
  if (action === "priority") {
    if (before.priority === after.priority) return undefined;
    return () => perform("priority", forOne(after), { priority: before.priority });
  }
  const back = BACK[action];
  return back === undefined ? undefined : () => perform(back, forOne(after));
}

function sentence(action: Action, after: Job): string {
  const what = titleOf(after);
  if (action === "cancel" && !isOver(after)) return `${what} is being stopped`;
  if (action === "priority") return `${what} has priority ${after.priority.toLowerCase()} now`;
  if (action === "retry") return `${what} is ${STATE_WORDS[after.state].toLowerCase()} again`;
  return `${what} is ${DONE[action]}`;
}

async function toMany(action: Action, target: Target, told: Told, dry: boolean): Promise<BulkOut> {
  const common = { action, dry_run: dry, ...picked(told) };
  const bodies: Bulk[] = target.groups.map((group) => ({ ...common, group }));
  if (target.ids.length) bodies.push({ ...common, ids: target.ids });
  if (target.filter) bodies.push({ ...common, ...matched(target.filter) });
  const sum: Required<BulkOut> = { matched: 0, changed: 0, refused: 0, details: [] };
  for (const body of bodies) {
    const out = await api.bulk(body);
    sum.matched += out.matched;
    sum.changed += out.changed;
    sum.refused += out.refused ?? 0;
    sum.details.push(...(out.details ?? []));
  }
  return sum;
}

function picked({ note, priority }: Told): Told {
  return { ...(note ? { note } : {}), ...(priority ? { priority } : {}) };
}

function matched({ state, holder, label, group, job_type }: Filter): Partial<Bulk> {
  return {
    ...(state ? { state: state.split(",") } : {}),
    ...(holder ? { holder } : {}),
    ...(label ? { label } : {}),
    ...(group ? { group } : {}),
    ...(job_type ? { job_type } : {}),
  };
}

function summarise(action: Action, out: BulkOut): void {
  const refused = out.refused ? `; ${out.refused} not: ${out.details?.[0] ?? "refused"}` : "";
  tell({ text: `${jobs(out.changed)} ${DONE[action]}${refused}`, tone: out.changed ? "done" : "failed" });
}
