import { effect } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { History } from "../models/dashboard";
import { timeOf } from "../models/format";
import { call } from "../services/api";
import { connection } from "../state/connection";
import { head, newestAt } from "../state/dashboard";
import { painted } from "../state/theme";

const SPAN_S = 900;
const QUERY = "/api/system-stats/history?group=quiet&metric=quiet_score&range=15m&step=10s";
const HEIGHT = 132;

type Points = [number[], (number | null)[]];

/** The score of the last 15 minutes: kept samples first, then what the stream brings. */
export function Chart() {
  const box = useRef<HTMLDivElement>(null);
  const [summary, setSummary] = useState("");
  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    let points: Points = [[], []];
    let plot = drawn(element, points);
    const show = (): void => {
      const end = newestAt.peek() / 1000 || Date.now() / 1000;
      plot.setData(points, false);
      plot.setScale("x", { min: end - SPAN_S, max: end });
      setSummary(inWords(points));
    };
    const ends = [
      effect(() => {
        if (connection.value !== "live") return;
        void call<History>("GET", QUERY).then((found) => {
          points = kept(found);
          show();
        }, ignore);
      }),
      effect(() => {
        add(points, newestAt.value / 1000, head.value?.score ?? null);
        show();
      }),
      effect(() => {
        painted.value;
        plot.destroy();
        plot = drawn(element, points);
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
  return <div class="chart" role="img" aria-label={`Score of the last 15 minutes. ${summary}`} ref={box} />;
}

function ignore(): void {
  // The line begins with what the stream brings.
}

function kept(found: History): Points {
  const start = Date.parse(found.start) / 1000;
  return [found.values.map((_, index) => start + index * found.step_sec), [...found.values]];
}

function add([times, scores]: Points, at: number, score: number | null): void {
  if (at === 0 || at <= (times.at(-1) ?? 0)) return;
  times.push(at);
  scores.push(score);
  while ((times[0] ?? at) < at - SPAN_S) {
    times.shift();
    scores.shift();
  }
}

function inWords([, scores]: Points): string {
  const known = scores.filter((score) => score !== null);
  if (known.length === 0) return "Nothing has been measured yet.";
  return `Between ${Math.round(Math.min(...known))} and ${Math.round(Math.max(...known))}, now ${Math.round(known.at(-1) ?? 0)}.`;
}

/** A canvas knows no names of colours: each is looked up as the theme of the moment has it. */
function colours(element: HTMLElement): (name: string) => string {
  return (name) => {
    const sample = element.appendChild(document.createElement("i"));
    sample.style.color = `var(${name})`;
    const found = getComputedStyle(sample).color;
    sample.remove();
    return found;
  };
}

function drawn(element: HTMLElement, points: Points): uPlot {
  const colour = colours(element);
  const axis = {
    stroke: colour("--text-3"),
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { show: false },
    font: `12px ${getComputedStyle(element).fontFamily}`,
  };
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
