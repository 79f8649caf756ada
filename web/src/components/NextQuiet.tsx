import { capitalised, durationOf, timeOf } from "../models/format";
import { forecast, type Forecast, type ForecastScore } from "../services/forecast";
import { now } from "../state/clock";
import { ofNothing, useLive } from "../state/live";
import { Card } from "./Card";

const EVERY_MS = 300_000;
const SHOWN = 4;

function useForecast() {
  return useLive("forecast", () => forecast(), { everyMs: EVERY_MS, on: ofNothing }).data;
}

/** In a line, on the first page: when it is likely to be quiet next. */
export function NextQuiet() {
  const found = useForecast();
  const next = found?.quiet[0];
  if (!found) return null;
  const open = (
    <a class="link" href="/machine">
      The week
    </a>
  );
  return (
    <Card title="Next quiet window" id="next-quiet" aside={open}>
      <p>{next ? `${spanOf(next.start, next.end)}, ${likely(next.probability)}.` : nothing(found)}</p>
      {found.note && <p class="fine">{capitalised(found.note)}.</p>}
    </Card>
  );
}

function nothing(found: Forecast): string {
  const best = found.windows[0];
  if (!best) return "None is seen in the next two days.";
  const none = found.confidence === "unsure" ? "Too little is known yet to name one" : "None is likely enough in the next two days";
  return `${none}; the best two hours are ${spanOf(best.start, best.end)}, ${likely(best.probability)}.`;
}

function spanOf(start: string, end: string): string {
  const from = Date.parse(start);
  const to = Date.parse(end);
  if (from <= now.value) return `now, until ${timeOf(to, now.value)}`;
  return `${timeOf(from, now.value)} – ${timeOf(to, from)}, in ${durationOf(from - now.value)}`;
}

function likely(probability: number): string {
  return `${Math.round(100 * probability)} % likely`;
}

/** The best windows to come, and how good such forecasts were. */
export function Windows() {
  const found = useForecast();
  if (!found) return null;
  return (
    <Card title="Forecast" id="forecast" aside={found.confidence}>
      {found.note && <p class="fine means">{capitalised(found.note)}.</p>}
      {found.windows.length === 0 && <p class="empty">Nothing can be said about the next two days yet.</p>}
      <ol class="rows streaks">
        {found.windows.slice(0, SHOWN).map((one) => (
          <li class="row" key={one.start}>
            <span class="row-what">{capitalised(spanOf(one.start, one.end))}</span>
            <span class="row-figures">
              <span class="row-units">{Math.round(100 * one.probability)} %</span>
              <span class="row-time">
                {Math.round(100 * one.lowest)} % at the worst, {one.confidence}
              </span>
            </span>
          </li>
        ))}
      </ol>
      {found.score && <Score score={found.score} />}
    </Card>
  );
}

const NAMES: [keyof ForecastScore["brier"], string][] = [
  ["forecast", "this forecast"],
  ["overall_mean", "the mean of all time"],
  ["hour_of_day", "the hour of the day"],
  ["last_week", "the same hour last week"],
];

function Score({ score }: { score: ForecastScore }) {
  return (
    <div class="table-box" tabIndex={0} role="group" aria-label="How good it was">
      <table class="table">
        <caption class="fine">
          How far off it was over {score.days} {score.days === 1 ? "day" : "days"} (Brier score: 0 is perfect, 0.25 knows nothing)
        </caption>
        <tbody>
          {NAMES.map(([name, said]) => (
            <tr key={name}>
              <th scope="row">{said}</th>
              <td>{score.brier[name].toFixed(3)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
