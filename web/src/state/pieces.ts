// A long list, piece by piece: as much of it as somebody has scrolled through, kept up where it is looked at.
import { effect } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { cameBack } from "../router";
import type { Job, JobPage } from "../models/job";
import { Refused } from "../services/api";
import { acted } from "./acts";
import { connection } from "./connection";
import { queue } from "./dashboard";
import { keptUp } from "./live";

/** Rows from a place on. `height` in pixels is 0 until it has been out of sight. */
export interface Piece {
  from: string;
  jobs: Job[];
  next: string | undefined;
  height: number;
}

export interface Pieces {
  /** Until those for what is asked now are there: those before. */
  pieces: Piece[];
  /** What the pieces are for. */
  of: string;
  /** Whether they are for what is asked now. */
  fresh: boolean;
  failed: Refused | null;
  /** Load what follows. */
  more: () => void;
  /** Whether a piece is in sight, or nearly; what is gets kept up. */
  near: (index: number, isNear: boolean) => void;
}

interface Kept {
  key: string;
  pieces: Piece[];
}

const EVERY_MS = 15_000;

/** The list that was left last, for whoever comes back to it. */
let left: Kept = { key: "", pieces: [] };
effect(() => {
  if (connection.value === "signed-out") left = { key: "", pieces: [] };
});

type Load = (from: string) => Promise<JobPage>;

export function usePieces(key: string, load: Load): Pieces {
  const [shown, setShown] = useState<{ key: string; pieces: Piece[]; failed: Refused | null }>(() => begun(key));
  const loading = useRef(load);
  loading.current = load;
  const now = useRef<Piece[]>([]);
  const inSight = useRef(new Set<number>());
  const wantsMore = useRef(false);
  const ask = useRef({ now: () => undefined as void, soon: () => undefined as void });
  useEffect(() => {
    now.current = shown.key === key ? shown.pieces : [];
    const loop = keptUp(
      async () => {
        const more = wantsMore.current;
        wantsMore.current = false;
        return await kept(now.current, inSight.current, more, loading.current);
      },
      () => EVERY_MS,
      (pieces, failed) => {
        if (pieces) now.current = pieces;
        setShown({ key, pieces: now.current, failed });
        if (wantsMore.current && !failed) queueMicrotask(() => ask.current.now()); // Wanted while this was on its way.
      },
    );
    ask.current = loop;
    const told = effect(() => {
      queue.value?.changes;
      connection.value;
      loop.soon();
    });
    const done = effect(() => {
      if (acted.value) loop.now();
    });
    return () => {
      told();
      done();
      loop.stop();
      left = { key, pieces: now.current };
    };
  }, [key]);
  useEffect(() => {
    const top = cameBack.peek();
    if (top !== null && left.key === key) scrollTo(0, top);
  }, []);
  return {
    pieces: shown.pieces,
    of: shown.key,
    fresh: shown.key === key && shown.pieces.length > 0,
    failed: shown.failed,
    more: () => {
      wantsMore.current = true;
      ask.current.now();
    },
    near: (index, isNear) => {
      if (isNear === inSight.current.has(index)) return;
      if (isNear) inSight.current.add(index);
      else inSight.current.delete(index);
      if (isNear && index < now.current.length - 1) ask.current.soon();
    },
  };
}

function begun(key: string): { key: string; pieces: Piece[]; failed: null } {
  const isBack = cameBack.peek() !== null && left.key === key && left.pieces.length > 0;
  return { key: isBack ? key : "", pieces: isBack ? left.pieces : [], failed: null };
}

/** With `more` the piece after the last, else those in sight anew. Those out of sight stay as they were. */
async function kept(before: Piece[], inSight: Set<number>, more: boolean, load: Load): Promise<Piece[]> {
  const end = before.at(-1);
  if (more && end?.next) return [...before, await loaded(end.next, load)];
  let pieces = before.length ? [...before] : [await loaded("", load)];
  const known = [...inSight].filter((index) => index < before.length);
  const last = Math.max(-1, ...known);
  for (let index = Math.min(...known, pieces.length); index <= last && index < pieces.length; index += 1) {
    const was = pieces[index];
    if (was === undefined) break;
    const piece = unchanged(was, await loaded(was.from, load));
    pieces[index] = piece;
    if (piece.next === was.next) continue;
    // What follows begins elsewhere now: as far as it is in sight it is loaded again, the rest when it is wanted.
    pieces = pieces.slice(0, index + 1);
    if (piece.next && index < last) pieces.push({ from: piece.next, jobs: [], next: undefined, height: 0 });
  }
  return pieces;
}

/** The new piece with those jobs of the old that are the same: what is the same is not drawn again. */
function unchanged(was: Piece, now: Piece): Piece {
  const before = new Map(was.jobs.map((job) => [job.job_id, job]));
  const jobs = now.jobs.map((job) => {
    const known = before.get(job.job_id);
    return known && JSON.stringify(known) === JSON.stringify(job) ? known : job;
  });
  const same = jobs.length === was.jobs.length && jobs.every((job, index) => job === was.jobs[index]);
  return same && now.next === was.next ? was : { ...now, jobs, height: was.height };
}

async function loaded(from: string, load: Load): Promise<Piece> {
  const page = await load(from);
  return { from, jobs: page.jobs, next: page.cursor, height: 0 };
}
