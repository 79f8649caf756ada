import { isOver, sizeOf, type Job } from "../models/job";
import type { Action, Filter } from "../services/jobs";
import { asked, type Target } from "../state/acts";
import { useState } from "preact/hooks";
import { counted } from "../models/format";

const ACTIONS: [Action, string][] = [
  ["cancel", "Cancel…"],
  ["hold", "Hold…"],
  ["resume", "Resume…"],
  ["retry", "Retry…"],
  ["priority", "Priority…"],
];

/** What can be done to those that are chosen. A folded group is chosen as a whole. */
export function BulkBar(props: { picked: Job[]; filter: Filter; all: boolean; clear: () => void }) {
  const [whole, setWhole] = useState(false);
  const { picked, filter } = props;
  if (picked.length === 0) return null;
  const everything = props.all && whole && canMatch(filter);
  const target: Target = everything ? { ids: [], groups: [], filter } : targetOf(picked);
  const said = everything ? "Everything that matches" : `${counted(picked.length, "row")} chosen`;
  return (
    <div class="bulk" role="group" aria-label="With those that are chosen">
      <span class="bulk-said">{said}</span>
      {props.all && canMatch(filter) && (
        <button class="button small" type="button" onClick={() => setWhole(!whole)}>
          {everything ? "Only this page" : "Everything that matches"}
        </button>
      )}
      <span class="bulk-acts">
        {ACTIONS.filter(([action]) => fits(action, picked)).map(([action, label]) => (
          <button
            class="button small"
            type="button"
            key={action}
            onClick={() => (asked.value = { action, target })}
          >
            {label}
          </button>
        ))}
        <button class="button small" type="button" onClick={props.clear}>
          Clear
        </button>
      </span>
    </div>
  );
}

/** Whether the server can find the same by itself: it acts on no search for a text, and not on all there is. */
function canMatch(filter: Filter): boolean {
  return !filter.text && Boolean(filter.state || filter.holder || filter.label || filter.group || filter.job_type);
}

function targetOf(picked: Job[]): Target {
  const folded = picked.filter((job) => job.group && sizeOf(job.members) > 1);
  const single = picked.filter((job) => !folded.includes(job));
  return { ids: single.map((job) => job.job_id), groups: folded.map((job) => job.group ?? "") };
}

function fits(action: Action, picked: Job[]): boolean {
  if (action === "retry") return picked.some((job) => isOver(job) || sizeOf(job.members) > 1);
  if (action === "resume") return picked.some((job) => job.state === "HELD" || job.state === "PAUSED" || sizeOf(job.members) > 1);
  if (action === "cancel") return picked.some((job) => !isOver(job));
  return picked.some((job) => job.state === "QUEUED" || job.state === "HELD" || sizeOf(job.members) > 1);
}
