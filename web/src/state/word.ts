// Saying the owner's word: what is asked first, what is done, how it is taken back.
import { signal } from "@preact/signals";
import type { Owner, Word } from "../models/dashboard";
import { timeOf } from "../models/format";
import { Refused } from "../services/api";
import * as api from "../services/owner";
import { owner } from "./dashboard";
import { tell } from "./toast";

export type Question = "block" | "busy" | "quiet";

/** What is being asked, while its dialog is open. */
export const question = signal<Question | null>(null);
export const saying = signal(false);

/** Say it for so many seconds. True where it was done. */
export function say(what: Question, forSec: number, note: string): Promise<boolean> {
  const until = timeOf(Date.now() + forSec * 1000);
  const before = blockOf(owner.value);
  return attempt(async () => {
    if (what === "block") {
      owner.value = await api.block({ for_sec: forSec }, note);
      tell({ text: `Blocked until ${until}`, tone: "done", undo: () => void takeBack(before) });
    } else {
      owner.value = await api.pretend(what, forSec, note);
      tell({ text: `Taken for ${what} until ${until}`, tone: "done", undo: () => void measureAgain() });
    }
  });
}

export function unblock(): Promise<boolean> {
  return attempt(async () => {
    owner.value = await api.allow();
    tell({ text: "New work may start again", tone: "done" });
  });
}

export function measureAgain(): Promise<boolean> {
  return attempt(async () => {
    await api.stopPretending();
    tell({ text: "What is measured counts again", tone: "done" });
  });
}

/** The block of the whole node, where there is one. */
export function blockOf(said: Owner | null): Word | undefined {
  return said?.words.find((word) => word.effect === "block" && !word.device);
}

/** Back to what was said before: nothing, or a block until another time. */
function takeBack(before: Word | undefined): Promise<boolean> {
  if (before === undefined || Date.parse(before.until) <= Date.now()) return unblock();
  return attempt(async () => {
    owner.value = await api.block({ until: before.until }, before.note ?? "");
    tell({ text: `Blocked until ${timeOf(Date.parse(before.until))}, as before`, tone: "done" });
  });
}

async function attempt(work: () => Promise<void>): Promise<boolean> {
  saying.value = true;
  try {
    await work();
    return true;
  } catch (error) {
    const text = error instanceof Refused ? error.message : "That did not work. Try again.";
    tell({ text, tone: "failed" });
    return false;
  } finally {
    saying.value = false;
  }
}
