// Asking before something is ended or removed: what will follow, and yes or no.
import { signal } from "@preact/signals";
import { Refused } from "../services/api";
import { acted } from "./acts";
import { tell, type Toast } from "./toast";

export interface Question {
  title: string;
  /** What will follow. */
  follows: string;
  /** What the button says. */
  yes: string;
  /** Whether a note can be given, for whoever asks why. */
  note?: boolean;
  choices?: { legend: string; options: [label: string, value: string][]; first: string };
  run: (said: { note: string; choice: string }) => Promise<Toast>;
}

export const confirming = signal<Question | null>(null);

/** Do it, say what came of it, have what is shown asked for anew. "" where it was done, else why not. */
export async function attempt(run: () => Promise<Toast>): Promise<string> {
  try {
    tell(await run());
    return "";
  } catch (error) {
    return error instanceof Refused ? error.message : "That did not work. Try again.";
  } finally {
    acted.value += 1;
  }
}

/** The same where no dialog stands: what went wrong is told below. */
export async function just(run: () => Promise<Toast>): Promise<void> {
  const why = await attempt(run);
  if (why) tell({ text: why, tone: "failed" });
}
