import { queue } from "../state/dashboard";
import { now as clock } from "../state/clock";
import { durationOf } from "../models/format";
import { AT_WORK, waitsFor, type QueueNow } from "../models/job";
import { Card, Empty } from "./Card";
import { countOf, foremost, grouped, waitOf } from "./QueueLine";

const REASONS_SHOWN = 5;

/** Depth, rates, waiting times, and what is waited for. */
export function QueueFigures() {
  const now = queue.value;
  if (now === null) {
    return (
      <Card title="Queue now" id="queue-now">
        <Empty>Nothing is known yet.</Empty>
      </Card>
    );
  }
  return (
    <Card title="Queue now" id="queue-now" aside={workers(now)}>
      <dl class="figures">
        <Figure name="running" value={grouped(countOf(now, AT_WORK))} />
        <Figure name="waiting" value={grouped(countOf(now, ["QUEUED"]))} more={<Oldest since={now.oldest_ms} />} />
        <Figure name="held" value={grouped(countOf(now, ["HELD"]))} />
        <Figure
          name="ended a minute"
          value={`${rate(now.rates.ended_per_min)}`}
          more={<>{rate(now.rates.submitted_per_min)} submitted</>}
        />
        <Figure name="usual wait" value={waitOf(now.wait_p50_sec)} more={<>95 %: {waitOf(now.wait_p95_sec)}</>} />
      </dl>
      <Reasons now={now} />
    </Card>
  );
}

function Figure({ name, value, more }: { name: string; value: string; more?: preact.ComponentChildren }) {
  return (
    <div class="figure">
      <dt>{name}</dt>
      <dd>
        <span class="figure-value">{value}</span>
        {more !== undefined && <span class="figure-more">{more}</span>}
      </dd>
    </div>
  );
}

function Oldest({ since }: { since: number | null }) {
  if (since === null) return null;
  return <>the oldest {durationOf(clock.value - since)}</>;
}

function Reasons({ now }: { now: QueueNow }) {
  const found = foremost(now).slice(0, REASONS_SHOWN);
  if (found.length === 0) return null;
  return (
    <p class="waits-for">
      Of those that wait,{" "}
      {found.map(([code, count], index) => (
        <span key={code}>
          {index > 0 && ", "}
          <strong>{grouped(count)}</strong> {waitsFor(code)}
        </span>
      ))}
      .
    </p>
  );
}

function workers(now: QueueNow): string | undefined {
  if (!countOf(now, ["QUEUED"]) || now.workers) return undefined;
  return "no worker has asked lately; commands run without one";
}

function rate(perMin: number): string {
  return perMin >= 10 ? grouped(Math.round(perMin)) : `${Number(perMin.toFixed(1))}`;
}
