import { counted, durationOf, personOf, readable } from "../models/format";
import { visible } from "../models/job";
import type { WaiterOut } from "../services/leases";
import { may } from "../state/connection";
import { giveUp, nameOf } from "../state/leases";
import { Icon } from "./Icon";

/** One that waits: its place, for what, since when, and when its turn is expected. */
export function WaiterRow({ waiter }: { waiter: WaiterOut }) {
  const name = visible(nameOf({ ...waiter, addon_id: waiter.holder }));
  const expected = waiter.expected_start_sec;
  return (
    <li class="row">
      <span class="place">
        <span class="only-read">place </span>
        {waiter.position}
      </span>
      <span class="row-main">
        <span class="row-what">
          <bdi>{name}</bdi>
        </span>
        <span class="row-who">
          <bdi>{personOf(waiter.holder)}</bdi>
          {waiter.priority !== "NORMAL" && <span class="tag">{waiter.priority.toLowerCase()}</span>}
        </span>
        <span class="row-why">{readable(waiter.reason || "It is next in line")}</span>
      </span>
      <span class="row-figures">
        <span class="row-units">{counted(waiter.cost_units, "unit")}</span>
        <span class="row-time">waits {durationOf(waiter.waiting_sec * 1000)}</span>
        {expected != null && <span class="row-time">starts in about {durationOf(expected * 1000)}</span>}
      </span>
      {may("lease:revoke") && (
        <span class="row-acts">
          <button class="button small" type="button" onClick={() => giveUp(waiter)}>
            <Icon name="close" size={16} />
            Take out…<span class="only-read"> {name}</span>
          </button>
        </span>
      )}
    </li>
  );
}
