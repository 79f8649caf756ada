// The output of a command: followed to its end, and taken home.
import type { LogPage } from "../models/job";
import { Refused } from "./api";
import { bytes, log } from "./jobs";

const BACK = 131_072; // What is shown of what was written before somebody looked.
const PIECE = 131_072;
const BIG_PIECE = 4 << 20;
const PAUSE_MS = 500;
const RETRY_MS = 3_000;
export const DOWNLOAD_MAX = 256 << 20;

export interface Listener {
  /** Whether the job has not ended: a run that has just begun may have no output yet. */
  lives: () => boolean;
  take: (page: LogPage) => void;
  /** Nothing follows. */
  over: () => void;
  failed: (why: string) => void;
}

/** Read from near the end on, and follow until the end or until `stop`. Lost connections are tried again. */
export async function follow(id: string, attempt: number, stop: AbortSignal, to: Listener): Promise<void> {
  let offset = -BACK;
  while (!stop.aborted) {
    try {
      const page = await log(id, offset, attempt, PIECE, offset >= 0);
      if (stop.aborted) return;
      to.take(page);
      const moved = page.next !== offset;
      offset = page.next;
      if (page.over && page.chunks.length === 0) return to.over();
      await pause(moved || offset < 0 ? 0 : PAUSE_MS, stop);
    } catch (error) {
      if (stop.aborted) return;
      const refused = error instanceof Refused ? error : new Refused(0, "", String(error));
      to.failed(refused.message);
      const isFinal = refused.status >= 400 && refused.status < 500 && refused.status !== 429;
      if (isFinal && !(refused.status === 404 && to.lives())) return;
      await pause(RETRY_MS, stop);
    }
    while (document.hidden && !stop.aborted) await pause(PAUSE_MS, stop);
  }
}

/** All that is kept of it, as one file; of two streams the lines as they came. */
export async function whole(id: string, attempt: number): Promise<Blob> {
  const found: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for (let offset = 0; ; ) {
    const page = await log(id, offset, attempt, BIG_PIECE, false);
    for (const chunk of page.chunks) {
      if (chunk.stream === "note") continue;
      const data = bytes(chunk.data);
      size += data.length;
      found.push(data);
    }
    if (size > DOWNLOAD_MAX) throw new Refused(0, "", "It is too long for a browser: `leasehold logs` has all of it.");
    if (page.chunks.length === 0 || page.next <= offset) return new Blob(found, { type: "text/plain" });
    offset = page.next;
  }
}

function pause(ms: number, stop: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const timer = setTimeout(done, ms);
    stop.addEventListener("abort", () => (clearTimeout(timer), done()), { once: true });
  });
}
