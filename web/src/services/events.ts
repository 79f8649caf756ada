// Calls about the one stream of events: the shapes of src/leasehold/wire/lease.py.
import { call } from "./api";

export interface EventOut {
  seq: number;
  kind: string;
  subject: string;
  at: string;
  actor?: string;
  code?: string;
  details?: Record<string, unknown>;
  label?: string;
}

export interface EventPage {
  events: EventOut[];
  next?: string;
}

export const NEWEST = Number.MAX_SAFE_INTEGER;
export const ROWS = 100;

/** A page of events, the newest first. Where nothing was found among those looked at it goes on, some times. */
export async function page(before: number, topic: string, text: string): Promise<EventPage> {
  let from = before;
  for (let looks = 0; ; looks += 1) {
    const query = new URLSearchParams({ before: `${from}`, limit: `${ROWS}` });
    if (topic) query.set("topic", topic);
    if (text) query.set("text", text);
    const found = await call<EventPage>("GET", `/api/events?${query}`);
    found.events.reverse();
    if (found.events.length || !found.next || looks >= LOOKS) return found;
    from = Number(found.next);
  }
}

const LOOKS = 20;
