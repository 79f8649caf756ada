import { capacity, leases, leasesTotal } from "../state/dashboard";
import { amountOf, counted } from "../models/format";
import type { Dimension } from "../models/dashboard";
import { Bar } from "./Bar";
import { Card, Empty } from "./Card";
import { colourOf, Leases } from "./Leases";

const NAMES: Record<string, string> = {
  cpu_millicores: "Cores",
  memory_bytes: "Memory",
  disk_bytes: "Disk",
};

/** What there is to give, who holds it, and what is left. */
export function Capacity() {
  const units = capacity.value.units;
  const others = Object.entries(capacity.value).filter(([name]) => name !== "units");
  return (
    <Card title="Capacity by holder" id="capacity" aside={units && `${units.free} of ${units.usable} units free`}>
      {units === undefined ? <Empty>Nothing has been measured yet.</Empty> : <Stack units={units} />}
      {units !== undefined && <Leases />}
      {others.length > 0 && (
        <ul class="dimensions">
          {others.map(([name, size]) => (
            <Size key={name} name={name} size={size} />
          ))}
        </ul>
      )}
    </Card>
  );
}

/** The units as one bar: each lease its part, then what is free, then what is kept back. */
function Stack({ units }: { units: Dimension }) {
  const total = Math.max(units.total, units.used, 1);
  const share = (amount: number) => ({ width: `${(100 * amount) / total}%` });
  const shown = leases.value.filter((lease) => lease.units > 0);
  const rest = Math.max(0, units.used - shown.reduce((sum, lease) => sum + lease.units, 0));
  const label = `${units.used} of ${units.usable} usable units held by ${counted(leasesTotal.value, "lease")}, ${units.free} free`;
  return (
    <div class="stack" role="img" aria-label={label}>
      {shown.map((lease, index) => (
        <span key={lease.id} class={`part ${colourOf(index)}`} style={share(lease.units)}>
          {lease.units >= 6 && <span>{lease.units}</span>}
        </span>
      ))}
      {rest > 0 && <span class="part part-rest" style={share(rest)} />}
      <span class="part part-free" style={share(units.free)} />
      <span class="part part-kept" style={share(Math.max(0, total - units.used - units.free))} />
    </div>
  );
}

function Size({ name, size }: { name: string; size: Dimension }) {
  return (
    <li class="dimension">
      <span class="dimension-name">{NAMES[name] ?? name}</span>
      <Bar percent={size.usable ? (100 * size.used) / size.usable : 0} />
      <span class="dimension-text">
        {amountOf(name, size.used)} held, {amountOf(name, size.free)} free
      </span>
    </li>
  );
}
