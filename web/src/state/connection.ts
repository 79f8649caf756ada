// The one stream of the page: opened, watched, opened again; closed while nobody looks.
import { signal } from "@preact/signals";
import type { DashboardState, Patch, SessionInfo } from "../models/dashboard";
import { call, Refused } from "../services/api";
import { sessionKey } from "../services/session";
import { read, type StreamEvent } from "../services/stream";
import { change, forget, replace } from "./dashboard";

export type Connection = "connecting" | "live" | "lost" | "paused" | "signed-out" | "forbidden";

export const connection = signal<Connection>("connecting");
/** Why nothing comes, while it is lost. */
export const lostWhy = signal("");
export const me = signal<SessionInfo | null>(null);

const STREAM = "/api/dashboard/stream";
const SILENCE_MS = 6_000; // A measurement comes each 2 s; after this long the server is asked whether it is there.
const SILENCE_MAX_MS = 25_000; // The server gives a sign of life each 15 s.
const PROBE_MS = 3_000;
const FIRST_MS = 8_000; // Until the first word of a stream.
const RETRY_MS = [300, 1_000, 2_000, 4_000];

let stop: AbortController | null = null;
let lastId = "";
let heardAt = 0;
let askedAt = 0;
let tries = 0;
let timer = 0;

export function may(verb: string): boolean {
  return me.value?.verbs.includes(verb) ?? false;
}

/** Keep the stream open as long as the page is looked at. */
export function keepConnected(): void {
  document.addEventListener("visibilitychange", () => (document.hidden ? pause() : resume()));
  addEventListener("online", again);
  addEventListener("offline", () => lose("This computer is offline"));
  setInterval(() => void listenToSilence(), 1_000);
  if (document.hidden) pause();
  else void open();
}

/** Try now, not later. */
export function again(): void {
  if (connection.value !== "lost") return;
  clearTimeout(timer);
  void open();
}

export async function signOut(): Promise<void> {
  stop?.abort();
  try {
    await call("DELETE", "/api/session");
  } catch (error) {
    if (!(error instanceof Refused) || error.status === 0) throw error;
  }
  signedOut();
}

function signedOut(): void {
  stop?.abort();
  sessionKey.clear();
  me.value = null;
  forget();
  connection.value = "signed-out";
}

function pause(): void {
  clearTimeout(timer);
  stop?.abort();
  if (!["signed-out", "forbidden"].includes(connection.value)) connection.value = "paused";
}

function resume(): void {
  if (connection.value === "paused") void open();
}

async function open(): Promise<void> {
  if (!sessionKey.get()) return signedOut();
  stop?.abort();
  const mine = new AbortController();
  stop = mine;
  heardAt = Date.now();
  if (connection.value !== "lost") connection.value = "connecting";
  const patience = setTimeout(() => unheard(mine), FIRST_MS);
  try {
    me.value ??= await call<SessionInfo>("GET", "/api/session");
    const alive = (): void => {
      heardAt = Date.now();
      clearTimeout(patience);
    };
    await read(STREAM, lastId, mine.signal, alive, take);
    if (!mine.signal.aborted) lose("The server has closed the stream", 0);
  } catch (error) {
    if (!mine.signal.aborted) failed(error);
  } finally {
    clearTimeout(patience);
  }
}

/** A connection that was made, and then says nothing: give it up, make another. */
function unheard(mine: AbortController): void {
  if (stop === mine && !mine.signal.aborted) lose("The server does not answer");
}

function take(event: StreamEvent): void {
  if (event.id) lastId = event.id;
  if (event.kind === "state") {
    replace(JSON.parse(event.data) as DashboardState);
    tries = 0;
    connection.value = "live";
  } else if (event.kind === "patch") {
    change(JSON.parse(event.data) as Patch);
  } else if (event.kind === "bye") {
    const { reason } = JSON.parse(event.data) as { reason: string };
    lose(reason, 0);
  }
}

function failed(error: unknown): void {
  if (error instanceof Refused && error.status === 401) return signedOut();
  if (error instanceof Refused && error.status === 403) {
    connection.value = "forbidden";
    lostWhy.value = error.message;
    return;
  }
  const known = error instanceof Refused && error.status > 0;
  lose(known ? error.message : "The server can't be reached");
}

/** Say so, and try again. Where it ended by intent the first try comes at once. */
function lose(why: string, delay = RETRY_MS[Math.min(tries, RETRY_MS.length - 1)] ?? 4_000): void {
  if (["paused", "signed-out", "forbidden"].includes(connection.value)) return;
  stop?.abort();
  connection.value = "lost";
  lostWhy.value = why;
  tries += 1;
  clearTimeout(timer);
  timer = setTimeout(() => void open(), delay + Math.random() * 300);
}

/** A cut cable says nothing: whoever hears nothing has to ask. */
async function listenToSilence(): Promise<void> {
  const now = Date.now();
  if (connection.value !== "live" || now - Math.max(heardAt, askedAt) < SILENCE_MS) return;
  if (now - heardAt > SILENCE_MAX_MS) return lose("The stream has fallen silent", 0);
  askedAt = now;
  try {
    await fetch("/health", { cache: "no-store", signal: AbortSignal.timeout(PROBE_MS) });
  } catch {
    if (heardAt <= now && connection.value === "live") lose("The server does not answer");
  }
}
