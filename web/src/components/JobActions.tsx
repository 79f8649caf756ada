import { isAtWork, isOver, type Job } from "../models/job";
import type { Action } from "../services/jobs";
import { acting, asked, forOne, perform } from "../state/acts";
import { may, me } from "../state/connection";
import { Icon, type IconName } from "./Icon";

const SHOWN: [Action, string, IconName][] = [
  ["resume", "Resume", "play"],
  ["retry", "Retry", "again"],
  ["hold", "Hold", "hand"],
  ["pause", "Pause", "pause"],
  ["priority", "Priority…", "list"],
  ["cancel", "Cancel…", "no"],
];

const ASKED: Action[] = ["cancel", "priority"];

/** What may be done to this job, by whoever looks. */
export function JobActions({ job }: { job: Job }) {
  const actions = SHOWN.filter(([action]) => fits(action, job) && mayDo(action, job));
  if (actions.length === 0) return null;
  return (
    <div class="actions" role="group" aria-label="This job">
      {actions.map(([action, label, icon]) => (
        <button class="button" type="button" key={action} disabled={acting.value} onClick={() => start(action, job)}>
          <Icon name={icon} size={18} />
          {label}
        </button>
      ))}
    </div>
  );
}

function start(action: Action, job: Job): void {
  if (ASKED.includes(action)) asked.value = { action, target: forOne(job) };
  else void perform(action, forOne(job));
}

/** Whether the server would let this person; it decides itself, too. */
function mayDo(action: Action, job: Job): boolean {
  if (!may("job:submit")) return false;
  return job.submitter === me.value?.name || may(action === "cancel" ? "job:cancel" : "job:manage");
}

function fits(action: Action, job: Job): boolean {
  switch (action) {
    case "resume":
      return job.state === "HELD" || job.state === "PAUSED";
    case "retry":
      return isOver(job) && job.state !== "DONE";
    case "hold":
      return job.state === "QUEUED";
    case "pause":
      return job.state === "RUNNING" && !job.cancel_requested;
    case "priority":
      return job.state === "QUEUED" || job.state === "HELD";
    default:
      return !isOver(job) && !(isAtWork(job) && job.cancel_requested);
  }
}
