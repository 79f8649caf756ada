// The quiet score of the last quarter of an hour: kept samples first, then what the stream brings.
import { effect, signal, untracked } from "@preact/signals";
import { history } from "../services/stats";
import { connection } from "./connection";
import { head, newestAt } from "./dashboard";

export const SPAN_S = 900;
const GAP_S = 30; // Where nothing came for so long, nothing is drawn.

/** Times in Unix seconds, and the score at each; null where it was not known. */
export type Points = [number[], (number | null)[]];

export const scores = signal<Points>([[], []]);

export function keepScores(): void {
  effect(() => {
    if (connection.value === "live") void load();
  });
  effect(() => {
    const at = newestAt.value / 1000;
    const score = head.value?.score ?? null;
    untracked(() => add(at, score));
  });
}

async function load(): Promise<void> {
  try {
    const found = await history({ group: "quiet", metric: "quiet_score", range: "15m", step: "10s" });
    const start = Date.parse(found.start) / 1000;
    scores.value = [found.values.map((_, index) => start + index * found.step_sec), [...found.values]];
  } catch {
    // The line begins with what the stream brings.
  }
}

function add(at: number, score: number | null): void {
  const [times, values] = scores.value;
  const last = times.at(-1) ?? 0;
  if (at === 0 || at <= last) return;
  const from = times.findIndex((time) => time >= at - SPAN_S);
  const first = from < 0 ? times.length : from;
  const hole = last && at - last > GAP_S;
  scores.value = [
    [...times.slice(first), ...(hole ? [last + 1] : []), at],
    [...values.slice(first), ...(hole ? [null] : []), score],
  ];
}

/** Between 40 and 97, now 92. */
export function inWords([, values]: Points): string {
  const known = values.filter((score) => score !== null);
  if (known.length === 0) return "Nothing has been measured yet.";
  const low = Math.round(Math.min(...known));
  const high = Math.round(Math.max(...known));
  return `Between ${low} and ${high}, now ${Math.round(known.at(-1) ?? 0)}.`;
}
