import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { timeOf } from "../models/format";
import { painted } from "../state/theme";
import { axisOf, coloursOf, lonely } from "./plot";

const HEIGHT = 150;
const HUES = ["--hue-0", "--hue-3", "--hue-1", "--hue-2", "--hue-4", "--hue-5", "--hue-6", "--hue-7"];
const DASHES = [[], [6, 4], [2, 3], [10, 3, 2, 3]];

export interface Line {
  label: string;
  values: (number | null)[];
}

export interface TimeChartProps {
  label: string;
  /** Unix seconds, the same for all lines. */
  times: number[];
  /** From when to when it is drawn, in Unix seconds, whatever there is. */
  span: [number, number];
  lines: Line[];
  said: (value: number) => string;
  /** The top of the scale; without it that of what is drawn. */
  top?: number;
  /** Steps of the scale of bytes. */
  bytes?: boolean;
}

/** Lines over time. Where nothing was measured there is none. Pointing at it reads all charts at one time. */
export function TimeChart(props: TimeChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const newest = useRef(props);
  newest.current = props;
  const [at, setAt] = useState<number | null>(null);
  const count = props.lines.length;
  const look = painted.value;
  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const made = drawn(element, newest, setAt);
    plot.current = made;
    const sized = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT }));
    sized.observe(element);
    return () => {
      sized.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [count, look]);
  useEffect(() => {
    plot.current?.setData(dataOf(props), false);
    plot.current?.setScale("x", { min: props.span[0], max: props.span[1] });
  }, [props.times, props.lines, count, look]);
  return (
    <figure class="time-chart">
      <Readout {...props} at={at} />
      <div class="plot" role="img" aria-label={`${props.label}. ${inWords(props)}`} ref={box} />
    </figure>
  );
}

/** What each line is, and its figure: the newest, or that at the pointer. */
function Readout({ lines, times, said, at }: TimeChartProps & { at: number | null }) {
  const pointed = at === null ? undefined : times[at];
  return (
    <figcaption class="readout">
      {lines.map((line, index) => (
        <span class="read" key={line.label}>
          <Key index={index} />
          <span class="read-name">{line.label}</span> <strong>{figure(line.values, at, said)}</strong>
        </span>
      ))}
      {pointed !== undefined && <span class="read-at">{timeOf(pointed * 1000)}</span>}
    </figcaption>
  );
}

/** A piece of the line as it is drawn, so that it is told by more than its colour. */
function Key({ index }: { index: number }) {
  return (
    <svg class={`key stroke-${index % HUES.length}`} width="22" height="8" viewBox="0 0 22 8" aria-hidden="true">
      <path d="M1 4h20" stroke-dasharray={(DASHES[index % DASHES.length] ?? []).join(" ")} />
    </svg>
  );
}

function figure(values: (number | null)[], at: number | null, said: (value: number) => string): string {
  const value = at === null ? values.findLast((one) => one !== null) : values[at];
  return value == null ? "–" : said(value);
}

function inWords({ lines, said }: TimeChartProps): string {
  const parts = lines.map(({ label, values }) => {
    const known = values.filter((one) => one !== null);
    if (known.length === 0) return `${label}: not measured`;
    return `${label}: ${said(Math.min(...known))} to ${said(Math.max(...known))}, lately ${said(known.at(-1) ?? 0)}`;
  });
  return `${parts.join("; ")}.`;
}

function dataOf({ times, lines }: TimeChartProps): uPlot.AlignedData {
  return [times, ...lines.map((line) => line.values)];
}

function drawn(element: HTMLElement, newest: { current: TimeChartProps }, point: (at: number | null) => void): uPlot {
  const colour = coloursOf(element);
  const axis = axisOf(element);
  const { top, lines } = newest.current;
  const series = lines.map((line, index) => ({
    label: line.label,
    stroke: colour(HUES[index % HUES.length] ?? "--accent"),
    width: 1.5,
    dash: DASHES[index % DASHES.length] ?? [],
    points: { show: true, size: 4, filter: (plot: uPlot, at: number) => lonely(plot, at) },
  }));
  const options: uPlot.Options = {
    width: element.clientWidth || 300,
    height: HEIGHT,
    legend: { show: false },
    padding: [8, 8, 0, 0],
    cursor: { drag: { x: false, y: false }, sync: { key: "machine" }, points: { size: 6 } },
    scales: { x: { time: true }, y: { range: (_, low, high) => [Math.min(0, low ?? 0), top ?? ((high ?? 1) * 1.1 || 1)] } },
    series: [{}, ...series],
    axes: [
      { ...axis, size: 24, space: 80, values: (plot, ticks) => ticks.map((tick) => tickOf(tick, plot)) },
      { ...axis, size: 66, space: 36, ...(newest.current.bytes ? { incrs: BINARY } : {}), values: (_, ticks) => ticks.map((tick) => newest.current.said(tick)) },
    ],
    hooks: { setCursor: [(plot) => point(plot.cursor.left !== undefined && plot.cursor.left < 0 ? null : (plot.cursor.idx ?? null))] },
  };
  return new uPlot(options, dataOf(newest.current), element);
}

/** 1, 2, 4 … 512 of each unit of bytes. */
const BINARY = Array.from({ length: 50 }, (_, power) => 2 ** power);
const DAY_S = 86_400;
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

function tickOf(tick: number, plot: uPlot): string {
  const { min, max } = plot.scales.x ?? {};
  return (max ?? 0) - (min ?? 0) > 2 * DAY_S ? day.format(tick * 1000) : timeOf(tick * 1000, tick * 1000);
}
