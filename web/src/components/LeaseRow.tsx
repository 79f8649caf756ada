import { bytesOf, chargeOf, coresOf, counted, durationOf, personOf, timeOf } from "../models/format";
import { visible } from "../models/job";
import type { LeaseOut } from "../services/leases";
import { now } from "../state/clock";
import { leases, usage } from "../state/dashboard";
import { isPaused, mayEnd, nameOf, pause, resume, revoke } from "../state/leases";
import { Bar } from "./Bar";
import { Fact } from "./Fact";
import { Icon, type IconName } from "./Icon";

const STATES: Record<string, [IconName, string, string]> = {
  OFFERED: ["clock", "Offered", "info"],
  ACTIVE: ["play", "Running", "info"],
  REVOKING: ["stop", "Stopping", "warn"],
  EXPIRED: ["lost", "Lost", "bad"],
  RELEASED: ["yes", "Released", "plain"],
  REVOKED: ["block", "Revoked", "bad"],
};

/** One lease: who, what, how much, for how long; everything else on demand. */
export function LeaseRow({ lease, open }: { lease: LeaseOut; open: boolean }) {
  const shown = leases.value.find((one) => one.id === lease.lease_id);
  const name = visible(shown?.label || nameOf(lease));
  const job = shown?.job;
  const live = lease.ended_at === undefined;
  return (
    <li class="row lease">
      <span class="row-main">
        <span class="row-what">
          <bdi>{job ? <a class="job-link" href={`/jobs/${job}`}>{name}</a> : name}</bdi>
        </span>
        <span class="row-who">
          <bdi>{personOf(lease.addon_id)}</bdi>
          {(lease.flags ?? []).map((flag) => (
            <span class="tag" key={flag}>
              {flag}
            </span>
          ))}
          {lease.priority !== "NORMAL" && <span class="tag">{lease.priority.toLowerCase()}</span>}
        </span>
        {lease.held_back && <span class="row-why">Gives way: {visible(lease.held_back)}</span>}
        {lease.end_reason && <span class="row-why">{visible(lease.end_reason)}</span>}
        {lease.message && live && <span class="row-why">{visible(lease.message)}</span>}
      </span>
      <span class="row-figures">
        <Badge lease={lease} />
        <span class="row-units">{lease.job_type === "guard" ? "guarded" : counted(lease.cost_units, "unit")}</span>
        <Times lease={lease} />
      </span>
      <Progress lease={lease} />
      <div class="row-foot">
        <details class="more-facts" open={open}>
          <summary>
            Details<span class="only-read"> of {name}</span>
          </summary>
          <Facts lease={lease} />
        </details>
        {live && mayEnd(lease) && <Actions lease={lease} name={name} />}
      </div>
    </li>
  );
}

function Badge({ lease }: { lease: LeaseOut }) {
  const still = lease.state === "ACTIVE" && isPaused(lease);
  const [icon, word, tone] = still ? (["pause", "Held back", "warn"] as const) : (STATES[lease.state] ?? ["unknown", lease.state, "plain"]);
  return (
    <span class={`badge badge-${tone}`}>
      <Icon name={icon as IconName} size={16} />
      {word}
    </span>
  );
}

function Times({ lease }: { lease: LeaseOut }) {
  if (lease.ended_at !== undefined) {
    return (
      <time class="row-time" dateTime={lease.ended_at}>
        {timeOf(Date.parse(lease.ended_at), now.value)}, after {durationOf((lease.running_sec ?? 0) * 1000)}
      </time>
    );
  }
  const left = lease.expected_left_sec;
  return (
    <span class="row-time">
      held for {durationOf(now.value - Date.parse(lease.granted_at))}
      {left ? `, about ${durationOf(left * 1000)} left` : ""}
    </span>
  );
}

function Progress({ lease }: { lease: LeaseOut }) {
  const progress = usage.value[lease.lease_id]?.[2] ?? lease.progress ?? null;
  if (progress === null || lease.ended_at !== undefined) return null;
  return (
    <span class="row-wide row-progress">
      <Bar percent={progress * 100} />
      <span class="fine">{Math.round(progress * 100)} % done</span>
    </span>
  );
}

const ON_BUSY: Record<string, string> = {
  keep: "goes on",
  throttle: "is slowed down",
  pause: "stands still",
  stop: "is stopped",
};

function Facts({ lease }: { lease: LeaseOut }) {
  const live = usage.value[lease.lease_id];
  const enforced = lease.enforced as { cpu_millicores?: number; memory_bytes?: number } | undefined;
  const limits = [
    enforced?.cpu_millicores ? coresOf(enforced.cpu_millicores) : "",
    enforced?.memory_bytes ? `${bytesOf(enforced.memory_bytes)} of memory` : "",
  ].filter(Boolean);
  const used = [
    live?.[0] ? `${(live[0] / 1000).toFixed(live[0] < 10_000 ? 1 : 0)} s of CPU` : "",
    live?.[1] ? `${bytesOf(live[1])} of memory now` : "",
  ].filter(Boolean);
  const bound = (lease.bound ?? []).map(({ pid, role }) => `${pid} (${role})`).join(", ");
  return (
    <dl class="facts">
      <Fact name="Charge">{chargeOf(lease.charge)}</Fact>
      <Fact name="Used">{used.join(", ")}</Fact>
      <Fact name="Limits">{limits.length ? `${limits.join(", ")}, held to by the kernel` : lease.ended_at ? "" : "none is enforced"}</Fact>
      <Fact name="Bound to">{lease.cgroup ? <code>{lease.cgroup}</code> : bound ? `process ${bound}` : lease.ended_at ? "" : "nothing"}</Fact>
      <Fact name="When busy">{lease.on_busy && `it ${ON_BUSY[lease.on_busy] ?? lease.on_busy}`}</Fact>
      <Fact name="When lost">{lease.on_lost && `its work ${lease.on_lost === "stop" ? "is stopped" : "goes on"}`}</Fact>
      <Fact name="Granted">{timeOf(Date.parse(lease.granted_at), now.value)}</Fact>
      <Fact name="Renewed">{ago(lease.last_heartbeat_at)}</Fact>
      <Fact name="Lives until">
        {lease.expires_at && `${timeOf(Date.parse(lease.expires_at), now.value)} without another word`}
      </Fact>
      <Fact name="Stood still">{lease.stood_sec ? durationOf(lease.stood_sec * 1000) : ""}</Fact>
      <Fact name="Type">{visible(lease.job_type)}</Fact>
      <Fact name="Tenant">{lease.tenant === "default" ? "" : lease.tenant}</Fact>
      <Fact name="Notice">{lease.notice && visible(lease.notice)}</Fact>
      <Fact name="Id">
        <code>{lease.lease_id}</code>{" "}
        <a class="link" href={`/events?text=${lease.lease_id}`}>
          its events
        </a>
      </Fact>
    </dl>
  );
}

function ago(at: string | undefined): string {
  return at ? `${durationOf(now.value - Date.parse(at))} ago` : "";
}

function Actions({ lease, name }: { lease: LeaseOut; name: string }) {
  return (
    <span class="row-acts">
      {isPaused(lease) ? (
        <button class="button small" type="button" onClick={() => resume(lease)}>
          <Icon name="play" size={16} />
          Resume<span class="only-read"> {name}</span>
        </button>
      ) : (
        <button class="button small" type="button" onClick={() => pause(lease)}>
          <Icon name="pause" size={16} />
          Pause<span class="only-read"> {name}</span>
        </button>
      )}
      <button class="button small" type="button" disabled={lease.state === "REVOKING"} onClick={() => revoke(lease)}>
        <Icon name="stop" size={16} />
        Revoke…<span class="only-read"> {name}</span>
      </button>
    </span>
  );
}
