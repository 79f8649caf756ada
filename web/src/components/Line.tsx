import { waiting } from "../state/dashboard";
import { now } from "../state/clock";
import { counted, durationOf, personOf, readable } from "../models/format";
import { visible } from "../models/job";
import type { Waiter } from "../models/dashboard";
import { Card, Empty } from "./Card";

/** Who waits, in the order of their turns, and for what. */
export function Line() {
  const { total, rows, whys } = waiting.value;
  return (
    <Card title="Waiting line" id="line" aside={total > 0 && `${total} waiting`}>
      {total === 0 && <Empty>Nobody waits for a lease. Whoever asks while there is no room stands here, in a fair order.</Empty>}
      <ol class="rows line">
        {rows.map((row, index) => (
          <Row key={row.ticket} row={row} place={index + 1} why={whys[row.why] ?? ""} />
        ))}
      </ol>
      {total > rows.length && (
        <p class="fine">
          and{" "}
          <a class="link" href="/leases?show=waiting">
            {counted(total - rows.length, "more", "more")} behind them
          </a>
        </p>
      )}
    </Card>
  );
}

function Row({ row, place, why }: { row: Waiter; place: number; why: string }) {
  return (
    <li class="row">
      <span class="place" aria-hidden="true">
        {place}
      </span>
      <span class="row-main">
        <span class="row-what">{visible(row.label || row.job_type)}</span>
        <span class="row-who">
          {visible(personOf(row.holder))}
          {row.priority !== "NORMAL" && <span class="tag">{row.priority.toLowerCase()}</span>}
        </span>
        <span class="row-why">{readable(why)}</span>
      </span>
      <span class="row-figures">
        <span class="row-units">{counted(row.units, "unit")}</span>
        <span class="row-time">{durationOf(now.value - row.since_ms)}</span>
      </span>
    </li>
  );
}
