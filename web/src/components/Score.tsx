import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { head } from "../state/dashboard";
import { now } from "../state/clock";
import { durationOf } from "../models/format";
import { Card } from "./Card";
import { StateBadge } from "./StateBadge";

/** How quiet it is, as a figure, and how that came to be over the last quarter of an hour. */
export function Score() {
  const shown = head.value;
  return (
    <Card title="Quietness" id="quietness" class="score-card" aside={shown && <StateBadge state={shown.state} />}>
      <p class="score">
        <span class="score-figure">{shown?.score ?? "–"}</span>
        <span class="score-of">of 100</span>
        <Since />
      </p>
      <div class="chart-box">
        <LazyChart />
      </div>
    </Card>
  );
}

function Since() {
  const since = head.value?.since_ms ?? null;
  if (since === null) return null;
  return <span class="score-since">for {durationOf(now.value - since)}</span>;
}

/** The chart and its library come after everything else has been drawn. */
function LazyChart() {
  const [Chart, setChart] = useState<ComponentType | null>(null);
  useEffect(() => {
    import("./Chart").then(
      (loaded) => setChart(() => loaded.Chart),
      () => undefined, // The figure above says the most of it.
    );
  }, []);
  return Chart === null ? null : <Chart />;
}
