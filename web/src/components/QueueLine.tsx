import { queue } from "../state/dashboard";
import { AT_WORK, spanOf, waitsFor, type JobState, type QueueNow } from "../models/job";
import { Card, Empty } from "./Card";

/** The queue in one line, on the first page. */
export function QueueLine() {
  const now = queue.value;
  const open = (
    <a class="link" href="/queue">
      Open the queue
    </a>
  );
  return (
    <Card title="Queue" id="queue" aside={open}>
      {now === null || counts(now) === "" ? (
        <Empty>
          No job is queued. <code>leasehold submit -- make test</code> is done when nobody is disturbed.
        </Empty>
      ) : (
        <p class="queue-line">
          {counts(now)}.{slow(now)}
        </p>
      )}
    </Card>
  );
}

export function countOf(now: QueueNow, states: JobState[]): number {
  return states.reduce((sum, state) => sum + (now.states[state] ?? 0), 0);
}

function counts(now: QueueNow): string {
  const parts: [number, string][] = [
    [countOf(now, AT_WORK), "running"],
    [countOf(now, ["QUEUED"]), "waiting"],
    [countOf(now, ["HELD"]), "held"],
  ];
  return parts
    .filter(([count]) => count)
    .map(([count, word]) => `${grouped(count)} ${word}`)
    .join(", ");
}

/** 12,345: as people write it here. */
export function grouped(count: number): string {
  return count.toLocaleString();
}

function slow(now: QueueNow): string {
  const [code, count] = foremost(now)[0] ?? ["", 0];
  return code && count && code !== "IN_LINE" ? ` Most wait ${waitsFor(code)}.` : "";
}

/** What is waited for, that of the most jobs first. */
export function foremost(now: QueueNow): [string, number][] {
  return Object.entries(now.reasons).sort((one, other) => other[1] - one[1]);
}

export function waitOf(sec: number | null): string {
  return sec === null ? "–" : spanOf(sec * 1000);
}
