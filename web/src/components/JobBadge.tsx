import { STATE_WORDS, type JobState } from "../models/job";
import { Icon, type IconName } from "./Icon";

const ICONS: Record<JobState, IconName> = {
  QUEUED: "clock",
  HELD: "hand",
  DISPATCHING: "play",
  RUNNING: "play",
  PAUSED: "pause",
  DONE: "yes",
  FAILED: "lost",
  CANCELED: "no",
  EXPIRED: "clock",
};

/** The state of a job by its shape, its word and its colour. */
export function JobBadge({ state }: { state: JobState }) {
  return (
    <span class={`badge job-${state.toLowerCase()}`}>
      <Icon name={ICONS[state] ?? "unknown"} size={16} />
      {STATE_WORDS[state] ?? state}
    </span>
  );
}
