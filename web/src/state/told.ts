// Who is told: the list as it is, and what is done about it.
import { signal } from "@preact/signals";
import { Refused } from "../services/api";
import * as api from "../services/notifications";
import * as push from "../services/push";
import { tell } from "./toast";

export const targets = signal<api.Target[] | null>(null);
export const failed = signal("");
/** Whether this very browser is told. */
export const isToldHere = signal(false);
/** What is being done just now: the id of a target, "here", or nothing. */
export const doing = signal("");
/** The id of the target that is about to be removed, while its row asks. */
export const asking = signal("");

export async function load(): Promise<void> {
  try {
    targets.value = await api.targets();
    isToldHere.value = await push.isTold(targets.value);
    failed.value = "";
  } catch (error) {
    failed.value = sentence(error);
  }
}

export function tellHere(): Promise<void> {
  return attempt("here", async () => {
    const target = await push.subscribe();
    return `${target.name} is told from now on`;
  });
}

export function tellHereNoMore(): Promise<void> {
  return attempt("here", async () => {
    await push.unsubscribe();
    return "This browser is told nothing any more";
  });
}

export function test(target: api.Target): Promise<void> {
  return attempt(target.target_id, async () => {
    const found = await api.testTarget(target.target_id);
    if (found.state !== "sent") throw new Error(`${target.name} has not taken it: ${found.error || "nothing came back yet"}`);
    return `${target.name} has taken the test`;
  });
}

export function remove(target: api.Target): Promise<void> {
  return attempt(target.target_id, async () => {
    if (target.target_id === push.ownTarget()) await push.unsubscribe();
    else await api.removeTarget(target.target_id);
    return `${target.name} is told nothing any more`;
  });
}

async function attempt(what: string, work: () => Promise<string>): Promise<void> {
  doing.value = what;
  asking.value = "";
  try {
    tell({ text: await work(), tone: "done" });
  } catch (error) {
    tell({ text: sentence(error), tone: "failed" });
  } finally {
    doing.value = "";
    await load();
  }
}

function sentence(error: unknown): string {
  if (error instanceof Refused || error instanceof Error) return error.message;
  return "That did not work. Try again.";
}
