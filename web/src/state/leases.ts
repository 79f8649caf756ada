// What people do to leases: paused and resumed with a way back, revoked after a question.
import { personOf } from "../models/format";
import * as api from "../services/leases";
import type { LeaseOut, WaiterOut } from "../services/leases";
import { confirming, just } from "./confirm";
import { may } from "./connection";
import type { Toast } from "./toast";

/** Whether the server would let this person; it decides itself, too. */
export function mayEnd(lease: LeaseOut): boolean {
  return may("lease:revoke") || (lease.fencing_token !== undefined && may("lease:request"));
}

export function nameOf(lease: { label?: string; job_type: string; addon_id?: string }): string {
  return lease.label || (lease.job_type === "generic" ? personOf(lease.addon_id ?? "") : lease.job_type);
}

export function isPaused(lease: LeaseOut): boolean {
  return (lease.flags ?? []).some((flag) => ["paused", "frozen", "throttled"].includes(flag));
}

export function pause(lease: LeaseOut): void {
  void just(async (): Promise<Toast> => {
    await api.act(lease.lease_id, "pause", { note: "on the page" });
    return { text: `${nameOf(lease)} stands still`, tone: "done", undo: () => resume(lease) };
  });
}

export function resume(lease: LeaseOut): void {
  void just(async (): Promise<Toast> => {
    await api.act(lease.lease_id, "resume", {});
    return { text: `${nameOf(lease)} goes on`, tone: "done", undo: () => pause(lease) };
  });
}

export function revoke(lease: LeaseOut): void {
  confirming.value = {
    title: `Revoke the lease of “${nameOf(lease)}”?`,
    follows:
      "Its work is asked to stop, and killed after its grace where it is bound to the lease; its room goes to the next in line. This can't be undone.",
    yes: "Revoke",
    note: true,
    choices: {
      legend: "Its grace to stop by itself",
      options: [
        ["As usual", ""],
        ["None", "0"],
        ["1 min", "60"],
        ["10 min", "600"],
      ],
      first: "",
    },
    run: async ({ note, choice }) => {
      const grace = choice ? { grace_sec: Number(choice) } : {};
      const after = await api.act(lease.lease_id, "revoke", { note, ...grace });
      const ended = after.state === "REVOKED" || after.state === "RELEASED";
      return { text: `${nameOf(lease)} ${ended ? "was stopped" : "is being stopped"}`, tone: "done" };
    },
  };
}

export function giveUp(waiter: WaiterOut): void {
  const name = nameOf({ ...waiter, addon_id: waiter.holder });
  confirming.value = {
    title: `Take “${name}” out of the line?`,
    follows: "It loses its place, and whoever waits behind it moves up. If it asks again it stands at the end.",
    yes: "Take it out",
    run: async () => {
      await api.giveUp(waiter.ticket);
      return { text: `${name} waits no longer`, tone: "done" };
    },
  };
}
