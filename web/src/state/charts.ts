// Which charts there are of a machine, and their lines, asked for one by one.
import type { History } from "../models/dashboard";
import { bytesOf, figureOf } from "../models/format";
import { Refused } from "../services/api";
import { history, type Host } from "../services/stats";
import type { Line } from "../components/TimeChart";

export const RANGES = ["1h", "24h", "7d", "30d"] as const;
export type Range = (typeof RANGES)[number];

export const RANGE_WORDS: Record<Range, string> = {
  "1h": "1 hour",
  "24h": "24 hours",
  "7d": "7 days",
  "30d": "30 days",
};

/** How often a chart is asked for anew. */
export const EVERY_MS: Record<Range, number> = { "1h": 10_000, "24h": 60_000, "7d": 300_000, "30d": 300_000 };

export interface Drawn {
  id: string;
  title: string;
  lines: [label: string, group: string, metric: string][];
  said: (value: number) => string;
  top?: number;
  bytes?: boolean;
  /** What it means, for who sees it for the first time. */
  means?: string;
}

const percent = (value: number): string => figureOf(value, "%");
const rate = (value: number): string => `${bytesOf(value)}/s`;
const degrees = (value: number): string => figureOf(value, " °C");
const LINES_MAX = 8;

/** The charts of this machine: what it does not have is left out. */
export function chartsOf(host: Host | null): Drawn[] {
  const links = (host?.network ?? []).filter((link) => link.name !== "lo").slice(0, LINES_MAX / 2);
  const sensors = Object.keys(host?.temperatures_c ?? {}).slice(0, LINES_MAX);
  const gpus = (host?.gpus ?? []).slice(0, LINES_MAX);
  const all: Drawn[] = [
    {
      id: "quiet",
      title: "Quiet score",
      lines: [["score", "quiet", "quiet_score"]],
      said: (value) => `${Math.round(value)}`,
      top: 100,
      means: "100 is quiet. From 80 on heavy work may start; below 30 it gives way.",
    },
    {
      id: "cpu",
      title: "CPU",
      lines: [
        ["all work", "host", "cpu_pct"],
        ["that of others", "quiet", "foreign_cpu_avg_2m"],
      ],
      said: percent,
      top: 100,
      means: "The share of all cores. What leases use is not that of others.",
    },
    {
      id: "memory",
      title: "Memory",
      lines: [["used", "host", "memory_pct"]],
      said: percent,
      top: 100,
    },
    {
      id: "pressure",
      title: "Pressure",
      lines: [
        ["CPU", "host", "psi_cpu_some_10s"],
        ["memory", "host", "psi_memory_some_10s"],
        ["disk", "host", "psi_io_some_10s"],
      ],
      said: percent,
      means: "The share of time in which some work stood still for want of it.",
    },
    {
      id: "disk",
      title: "Disk",
      lines: [
        ["read", "host", "disk_read_bytes_per_sec"],
        ["written", "host", "disk_write_bytes_per_sec"],
      ],
      said: rate,
      bytes: true,
    },
  ];
  if (links.length) {
    all.push({
      id: "network",
      title: "Network",
      lines: links.flatMap(({ name }): [string, string, string][] => [
        [`${name} in`, "host", `rx_bytes_s:${name}`],
        [`${name} out`, "host", `tx_bytes_s:${name}`],
      ]),
      said: rate,
      bytes: true,
    });
  }
  if (sensors.length) {
    const lines = sensors.map((name): [string, string, string] => [name, "host", `temperature_c:${name}`]);
    all.push({ id: "temperature", title: "Temperature", lines, said: degrees });
  }
  if (gpus.length) {
    const lines = gpus.map(({ name }): [string, string, string] => [name, "host", `gpu_pct:${name}`]);
    all.push({ id: "gpu", title: "GPU", lines, said: percent, top: 100 });
  }
  return all;
}

export interface Traced {
  times: number[];
  span: [number, number];
  lines: Line[];
}

/** All lines of a chart. What was never measured here is left out; Refused where nothing can be shown. */
export async function trace(chart: Drawn, range: Range): Promise<Traced> {
  const asked = chart.lines.map(async ([label, group, metric]) => {
    try {
      return [label, await history({ group, metric, range })] as const;
    } catch (error) {
      if (error instanceof Refused && error.status === 422 && error.message.startsWith("metric")) return null;
      throw error;
    }
  });
  const found = (await Promise.all(asked)).filter((one) => one !== null);
  const first = found[0]?.[1];
  if (first === undefined) return { times: [], span: [0, 0], lines: [] };
  const times = timesOf(first);
  return {
    times,
    span: [Date.parse(first.start) / 1000, Date.parse(first.end) / 1000],
    lines: found.map(([label, { values }]) => ({ label, values: fitted(values, times.length) })),
  };
}

function timesOf({ start, step_sec, values }: History): number[] {
  const begin = Date.parse(start) / 1000;
  return values.map((_, index) => begin + index * step_sec);
}

/** Asked a moment later a line may have one step more. */
function fitted(values: (number | null)[], length: number): (number | null)[] {
  return values.length === length ? values : [...Array<null>(Math.max(0, length - values.length)).fill(null), ...values.slice(-length)];
}
