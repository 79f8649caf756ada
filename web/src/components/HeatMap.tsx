import { useState } from "preact/hooks";
import { capitalised } from "../models/format";
import { heatmap, type HeatCell, type Heatmap } from "../services/forecast";
import { ofNothing, useLive } from "../state/live";
import { Card } from "./Card";

const EVERY_MS = 300_000;
const STEPS = 5;
const HOURS = Array.from({ length: 24 }, (_, hour) => hour);

/** How quiet each hour of the week usually is. Where this server has no forecast, nothing. */
export function HeatMap() {
  const { data } = useLive("heatmap", heatmap, { everyMs: EVERY_MS, on: ofNothing });
  if (data === null) return null;
  return (
    <Card title="The usual week" id="heatmap" aside={`${data.confidence}, from ${daysOf(data.known_days)}`}>
      <p class="fine means">
        How likely each hour is to be quiet, on the clocks of {data.zone}. {data.note && `${capitalised(data.note)}.`}
      </p>
      <Grid found={data} />
      <Legend />
    </Card>
  );
}

function daysOf(days: number): string {
  return days < 1 ? "less than a day" : `${Math.round(days)} ${Math.round(days) === 1 ? "day" : "days"}`;
}

/** A table, so that it can be read cell by cell; pointing at a cell, or choosing it, says it below as well. */
function Grid({ found }: { found: Heatmap }) {
  const [said, setSaid] = useState("");
  return (
    <>
      <div class="table-box" tabIndex={0} role="group" aria-label="Quiet by the hour of the week">
        <table class="heat">
          <thead>
            <tr>
              <td />
              {HOURS.map((hour) => (
                <th scope="col" key={hour}>
                  <span class={hour % 3 ? "only-read" : ""}>{String(hour).padStart(2, "0")}</span>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {found.days.map(({ day, hours }) => (
              <tr key={day}>
                <th scope="row">{capitalised(day)}</th>
                {hours.map((cell, hour) => (
                  <Cell key={hour} cell={cell} said={`${capitalised(day)} ${hour}:00`} say={setSaid} />
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p class="fine heat-said" aria-hidden="true">
        {said || "Point at an hour to read it."}
      </p>
    </>
  );
}

function Cell({ cell, said, say }: { cell: HeatCell; said: string; say: (text: string) => void }) {
  const percent = Math.round(cell.probability * 100);
  const unsure = cell.confidence === "unsure";
  const text = `${percent} % quiet${unsure ? ", unsure" : ""}`;
  return (
    <td
      class={`heat-${stepOf(cell.probability)} ${unsure ? "heat-unsure" : ""}`}
      onMouseEnter={() => say(`${said}: ${text}, from ${cell.known_hours.toFixed(1)} hours seen`)}
      onMouseLeave={() => say("")}
    >
      <span class="only-read">{text}</span>
    </td>
  );
}

function stepOf(probability: number): number {
  return Math.min(STEPS - 1, Math.floor(probability * STEPS));
}

function Legend() {
  const steps = Array.from({ length: STEPS }, (_, step) => step);
  return (
    <p class="heat-legend">
      <span>never quiet</span>
      {steps.map((step) => (
        <span key={step} class={`heat-key heat-${step}`} aria-hidden="true" />
      ))}
      <span>always</span>
      <span class="heat-key heat-2 heat-unsure" aria-hidden="true" />
      <span>unsure</span>
    </p>
  );
}
