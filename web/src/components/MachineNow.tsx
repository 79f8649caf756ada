import type { ComponentChildren } from "preact";
import { bytesOf, durationOf, figureOf } from "../models/format";
import type { Host, Snapshot } from "../services/stats";
import { Bar } from "./Bar";
import { Card } from "./Card";

/** The figures of now, with what there is beside what is used. */
export function MachineNow({ found }: { found: Snapshot | null }) {
  const host = found?.host ?? null;
  const aside = host ? `up for ${durationOf(host.uptime_sec * 1000)}` : undefined;
  return (
    <Card title="Now" id="machine-now" aside={aside}>
      {host === null ? <p class="empty">{found === null ? "…" : "Nothing has been measured yet."}</p> : <Figures host={host} />}
    </Card>
  );
}

function Figures({ host }: { host: Host }) {
  const used = host.memory_total_bytes - host.memory_available_bytes;
  return (
    <div class="gauges">
      <Gauge name="CPU" percent={host.cpu_pct} said={figureOf(host.cpu_pct, "%")}>
        {host.cores_logical} logical cores, load {figureOf(host.load_1m, "")} · {figureOf(host.load_5m, "")} ·{" "}
        {figureOf(host.load_15m, "")}
      </Gauge>
      <Gauge name="Memory" percent={host.memory_pct} said={figureOf(host.memory_pct, "%")}>
        {bytesOf(used)} of {bytesOf(host.memory_total_bytes)}
        {host.swap_used_bytes > 0 && `, ${bytesOf(host.swap_used_bytes)} swapped`}
      </Gauge>
      {host.disks.slice(0, 8).map((disk) => (
        <Gauge key={disk.path} name={`Disk ${disk.path}`} percent={100 - disk.free_pct} said={figureOf(100 - disk.free_pct, "%")}>
          {bytesOf(disk.free_bytes)} of {bytesOf(disk.total_bytes)} free
        </Gauge>
      ))}
      {(host.gpus ?? []).map((gpu) => (
        <Gauge key={gpu.name} name={gpu.name} percent={gpu.utilisation_pct} said={figureOf(gpu.utilisation_pct, "%")}>
          {gpu.model}
          {gpu.memory_used_bytes !== null && `, ${bytesOf(gpu.memory_used_bytes)} used`}
        </Gauge>
      ))}
      {host.battery && (
        <Gauge name="Battery" percent={host.battery.percent} said={figureOf(host.battery.percent, "%")}>
          {host.battery.on_battery ? "runs on it" : "on the mains"}
        </Gauge>
      )}
    </div>
  );
}

function Gauge(props: { name: string; percent: number | null; said: string; children: ComponentChildren }) {
  const { percent } = props;
  const tone = percent === null || percent < 80 ? "calm" : percent < 93 ? "warn" : "bad";
  return (
    <div class="gauge">
      <span class="gauge-name">{props.name}</span>
      <span class="gauge-value">{props.said}</span>
      <Bar percent={percent ?? 0} tone={tone} />
      <span class="fine">{props.children}</span>
    </div>
  );
}
