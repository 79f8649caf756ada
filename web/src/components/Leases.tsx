import { leases, leasesTotal, usage } from "../state/dashboard";
import { now } from "../state/clock";
import { bytesOf, counted, durationOf, personOf } from "../models/format";
import { visible } from "../models/job";
import type { Lease } from "../models/dashboard";
import { Bar } from "./Bar";
import { Empty } from "./Card";

const COLOURS = 8;

/** The class of the colour that a lease has in the bar and in the list; the number beside it says the same. */
export function colourOf(index: number): string {
  return `hue-${index % COLOURS}`;
}

export function Leases() {
  const shown = leases.value;
  if (shown.length === 0) {
    return (
      <Empty>
        Nobody holds anything. <code>leasehold run -- make test</code> asks first, then runs.
      </Empty>
    );
  }
  const more = leasesTotal.value - shown.length;
  return (
    <>
      <ul class="rows leases">
        {shown.map((lease, index) => (
          <Row key={lease.id} lease={lease} index={index} />
        ))}
      </ul>
      {more > 0 && (
        <p class="fine">
          and{" "}
          <a class="link" href="/leases">
            {counted(more, "more lease")}
          </a>
        </p>
      )}
    </>
  );
}

function Row({ lease, index }: { lease: Lease; index: number }) {
  const what = visible(lease.label || lease.job_type);
  return (
    <li class="row">
      <span class={`swatch ${colourOf(index)}`} aria-hidden="true" />
      <span class="row-main">
        <a class="row-what job-link" href={lease.job ? `/jobs/${lease.job}` : `/leases?id=${lease.id}`} title={what}>
          {what}
        </a>
        <span class="row-who">
          {what === lease.holder ? "runs by itself" : visible(personOf(lease.holder))}
          <Extras lease={lease} />
        </span>
      </span>
      <span class="row-figures">
        <span class="row-units">{lease.job_type === "guard" ? "guarded" : counted(lease.units, "unit")}</span>
        <Running lease={lease} />
      </span>
      <Progress id={lease.id} />
    </li>
  );
}

function Extras({ lease }: { lease: Lease }) {
  const extras = [
    ...(lease.state === "ACTIVE" ? [] : [lease.state.toLowerCase()]),
    ...(lease.flags ?? []),
    ...(lease.priority === "NORMAL" ? [] : [lease.priority.toLowerCase()]),
    ...(lease.devices ?? []),
    ...(lease.locks ?? []).map((lock) => `lock ${lock}`),
  ];
  return (
    <>
      {extras.map((extra) => (
        <span class="tag" key={extra}>
          {extra}
        </span>
      ))}
    </>
  );
}

function Running({ lease }: { lease: Lease }) {
  const used = usage.value[lease.id];
  const ran = durationOf(now.value - lease.granted_ms);
  const left = lease.expected_ms ? lease.granted_ms + lease.expected_ms - now.value : 0;
  return (
    <span class="row-time">
      {ran}
      {left > 0 ? `, about ${durationOf(left)} left` : ""}
      {used?.[1] ? `, ${bytesOf(used[1])}` : ""}
    </span>
  );
}

function Progress({ id }: { id: string }) {
  const progress = usage.value[id]?.[2] ?? null;
  if (progress === null) return null;
  return (
    <span class="row-progress">
      <Bar percent={progress * 100} />
      <span class="only-read">{Math.round(progress * 100)} % done</span>
    </span>
  );
}
