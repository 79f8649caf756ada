import { durationOf, timeOf } from "../models/format";
import { streaks, type Streak, type Streaks as Found } from "../services/stats";
import { now } from "../state/clock";
import { EVERY_MS, RANGE_WORDS, type Range } from "../state/charts";
import { ofNothing, useLive } from "../state/live";
import { Card } from "./Card";

const SHOWN = 12;

/** When it was quiet without a break: as a strip, and the newest of them in figures. */
export function Streaks({ range }: { range: Range }) {
  const { data, failed } = useLive(`streaks ${range}`, () => streaks(range), { everyMs: EVERY_MS[range], on: ofNothing });
  return (
    <Card title="Quiet streaks" id="streaks" aside={data ? asideOf(data, range) : undefined}>
      {data === null && <p class="empty">{failed?.message ?? "…"}</p>}
      {data !== null && data.streaks.length === 0 && (
        <p class="empty">It was never quiet without a break in the last {RANGE_WORDS[range]}.</p>
      )}
      {data !== null && data.streaks.length > 0 && (
        <>
          <Strip found={data} />
          <ol class="rows streaks">
            {data.streaks
              .slice(-SHOWN)
              .reverse()
              .map((one) => (
                <Row key={one.start_time} one={one} />
              ))}
          </ol>
          {data.streaks.length > SHOWN && <p class="fine">and {data.streaks.length - SHOWN} earlier ones</p>}
        </>
      )}
    </Card>
  );
}

function asideOf({ quiet_sec, range_sec }: Found, range: Range): string {
  const share = Math.round((100 * quiet_sec) / range_sec);
  return `quiet for ${durationOf(quiet_sec * 1000)} of ${RANGE_WORDS[range]} (${share} %)`;
}

function Strip({ found }: { found: Found }) {
  const end = now.value;
  const start = end - found.range_sec * 1000;
  const part = (ms: number) => `${Math.max(0, Math.min(100, (100 * (ms - start)) / (end - start)))}%`;
  const width = (one: Streak) => {
    const from = Math.max(start, Date.parse(one.start_time));
    return `${Math.max(0.2, (100 * (Date.parse(one.end_time) - from)) / (end - start))}%`;
  };
  return (
    <div class="strip" aria-hidden="true">
      {found.streaks.map((one) => (
        <span key={one.start_time} style={{ left: part(Date.parse(one.start_time)), width: width(one) }} />
      ))}
    </div>
  );
}

function Row({ one }: { one: Streak }) {
  const end = one.open ? "now" : timeOf(Date.parse(one.end_time), now.value);
  return (
    <li class="row">
      <span class="row-main">
        <span class="row-what">
          {timeOf(Date.parse(one.start_time), now.value)} – {end}
        </span>
      </span>
      <span class="row-figures">
        <span class="row-units">{durationOf(one.duration_sec * 1000)}</span>
        <span class="row-time">
          score {Math.round(one.avg_score)} on average, {one.min_score} at least
        </span>
      </span>
    </li>
  );
}
