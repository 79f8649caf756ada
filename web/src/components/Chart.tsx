import { effect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { timeOf } from "../models/format";
import { newestAt } from "../state/dashboard";
import { inWords, scores, SPAN_S, type Points } from "../state/score";
import { painted } from "../state/theme";
import { axisOf, coloursOf } from "./plot";

const HEIGHT = 132;

/** The score of the last 15 minutes. */
export function Chart() {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    let plot = drawn(element, scores.peek());
    const show = (): void => {
      const end = newestAt.value / 1000 || Date.now() / 1000;
      plot.setData(scores.value, false);
      plot.setScale("x", { min: end - SPAN_S, max: end });
    };
    const ends = [
      effect(show),
      effect(() => {
        painted.value;
        plot.destroy();
        plot = drawn(element, scores.peek());
        show();
      }),
    ];
    const sized = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: HEIGHT }));
    sized.observe(element);
    return () => {
      ends.forEach((end) => end());
      sized.disconnect();
      plot.destroy();
    };
  }, []);
  return (
    <div class="chart" role="img" aria-label={`Score of the last 15 minutes. ${inWords(scores.value)}`} ref={box} />
  );
}

function drawn(element: HTMLElement, points: Points): uPlot {
  const colour = coloursOf(element);
  const axis = axisOf(element);
  const options: uPlot.Options = {
    width: element.clientWidth || 300,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    padding: [8, 8, 0, 0],
    scales: { x: { time: true }, y: { range: [0, 100] } },
    series: [
      {},
      { stroke: colour("--accent"), width: 2, fill: colour("--accent-faint"), points: { show: false } },
    ],
    axes: [
      { ...axis, size: 24, space: 70, values: (_, ticks) => ticks.map((tick) => timeOf(tick * 1000)) },
      { ...axis, size: 34, splits: () => [0, 30, 50, 80, 100] },
    ],
  };
  return new uPlot(options, points, element);
}
