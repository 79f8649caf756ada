import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Card } from "../components/Card";
import { MachineNow } from "../components/MachineNow";
import { HeatMap } from "../components/HeatMap";
import { Windows } from "../components/NextQuiet";
import { Streaks } from "../components/Streaks";
import { Tabs } from "../components/Tabs";
import type { TimeChartProps } from "../components/TimeChart";
import { search } from "../router";
import { current } from "../services/stats";
import { chartsOf, EVERY_MS, RANGE_WORDS, RANGES, trace, type Drawn, type Range } from "../state/charts";
import { ofNothing, useLive } from "../state/live";

const NOW_MS = 5_000;

/** What the machine is doing, and what it did: figures of now, charts over a range, quiet streaks. */
export function Machine() {
  const { data } = useLive("machine", current, { everyMs: NOW_MS, on: ofNothing });
  const range = rangeOf(search.value);
  const host = data?.host ?? null;
  return (
    <>
      <div class="page-head">
        <h1 class="page-title">Machine</h1>
        <Tabs name="range" label="Range" options={RANGES.map((one) => [RANGE_WORDS[one], one === "24h" ? "" : one])} />
      </div>
      <MachineNow found={data} />
      {data !== null && (
        <div class="charts">
          {chartsOf(host).map((chart) => (
            <ChartCard key={`${chart.id} ${range}`} chart={chart} range={range} />
          ))}
        </div>
      )}
      <div class="columns">
        <div class="column">
          <HeatMap />
          <Streaks range={range} />
        </div>
        <div class="column">
          <Windows />
        </div>
      </div>
    </>
  );
}

function rangeOf(text: string): Range {
  const asked = new URLSearchParams(text).get("range");
  return RANGES.find((one) => one === asked) ?? "24h";
}

function ChartCard({ chart, range }: { chart: Drawn; range: Range }) {
  const { data, failed } = useLive(`${chart.id} ${range}`, () => trace(chart, range), {
    everyMs: EVERY_MS[range],
    on: ofNothing,
  });
  const TimeChart = useTimeChart();
  return (
    <Card title={chart.title} id={`chart-${chart.id}`} class="chart-card">
      {chart.means && <p class="fine means">{chart.means}</p>}
      {failed !== null && data === null && <p class="empty">{failed.message}</p>}
      {data !== null && data.lines.length === 0 && <p class="empty">This machine does not tell it.</p>}
      {data !== null && data.lines.length > 0 && TimeChart && (
        <TimeChart {...data} label={`${chart.title}, ${RANGE_WORDS[range]}`} said={chart.said} {...scaleOf(chart)} />
      )}
      {(data === null || !TimeChart) && failed === null && <div class="chart-soon" />}
    </Card>
  );
}

function scaleOf({ top, bytes }: Drawn): { top?: number; bytes?: boolean } {
  return { ...(top === undefined ? {} : { top }), ...(bytes ? { bytes } : {}) };
}

/** The charts and their library come after everything else has been drawn. */
function useTimeChart(): ComponentType<TimeChartProps> | null {
  const [found, setFound] = useState<ComponentType<TimeChartProps> | null>(null);
  useEffect(() => {
    import("../components/TimeChart").then(
      (loaded) => setFound(() => loaded.TimeChart),
      () => undefined,
    );
  }, []);
  return found;
}
