// What is asked of the server again whenever the stream says that jobs have changed.
import { effect } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { Refused } from "../services/api";
import { acted } from "./acts";
import { connection } from "./connection";
import { decisions, queue } from "./dashboard";

const PACE_MS = 1_500; // No oftener, however much happens.
const SELDOM_MS = 15_000; // And as often even where nothing does: reasons change without an event.

export interface Live<T> {
  data: T | null;
  /** Whether `data` is for what is asked now, and not for what was asked before. */
  fresh: boolean;
  failed: Refused | null;
  again: () => void;
}

interface Found<T> {
  key: string;
  data: T | null;
  failed: Refused | null;
}

export interface Pace {
  /** How often even where nothing is told. */
  everyMs?: number;
  /** Reads the signals whose change asks again; those of the queue where it is left out. */
  on?: () => unknown;
}

const ofTheQueue = (): unknown => queue.value?.changes;
/** For what changes with any event: leases, schedules, the stream of events itself. */
export const ofEvents = (): unknown => [queue.value?.changes, decisions.value];
/** For what no event tells. */
export const ofNothing = (): unknown => undefined;

/** Load by `key`, and again as things change; never twice at once, and not while nobody looks. */
export function useLive<T>(key: string, load: () => Promise<T>, { everyMs = SELDOM_MS, on = ofTheQueue }: Pace = {}): Live<T> {
  const [found, setFound] = useState<Found<T>>({ key: "", data: null, failed: null });
  const loading = useRef(load);
  loading.current = load;
  const again = useRef<() => void>(() => undefined);
  const often = useRef(everyMs);
  often.current = everyMs;
  useEffect(() => {
    const loop = keptUp(() => loading.current(), () => often.current, (data, failed) =>
      setFound((was) => ({ key, data: data ?? (was.key === key ? was.data : null), failed })),
    );
    again.current = loop.now;
    const end = effect(() => {
      on();
      connection.value;
      loop.soon();
    });
    const told = effect(() => {
      if (acted.value) loop.now();
    });
    return () => {
      end();
      told();
      loop.stop();
    };
  }, [key]);
  return { data: found.data, fresh: found.key === key, failed: found.failed, again: again.current };
}

export function keptUp<T>(
  load: () => Promise<T>,
  everyMs: () => number,
  take: (data: T | null, failed: Refused | null) => void,
) {
  let over = false;
  let running = false;
  let wanted = true;
  let askedAt = 0;
  let timer = 0;
  const run = async (): Promise<void> => {
    clearTimeout(timer);
    if (over || running) {
      wanted = true;
      return;
    }
    if (document.hidden) return; // Whoever comes back brings the connection back, and that asks again.
    running = true;
    wanted = false;
    askedAt = Date.now();
    try {
      const data = await load();
      if (!over) take(data, null);
    } catch (error) {
      if (!over) take(null, error instanceof Refused ? error : new Refused(0, "", "That could not be shown."));
    }
    running = false;
    if (!over) timer = setTimeout(() => void run(), wanted ? PACE_MS : everyMs());
  };
  return {
    now: () => void run(),
    soon: () => {
      wanted = true;
      if (running) return;
      clearTimeout(timer);
      timer = setTimeout(() => void run(), Math.max(0, askedAt + PACE_MS - Date.now()));
    },
    stop: () => {
      over = true;
      clearTimeout(timer);
    },
  };
}
