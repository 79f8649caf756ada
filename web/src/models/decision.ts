// A committed event in words.
import type { Decision } from "./dashboard";
import { counted, durationOf, personOf, timeOf } from "./format";

export type Tone = "start" | "end" | "lost" | "held" | "word" | "other";

export interface Told {
  tone: Tone;
  sentence: string;
  detail: string;
}

/** What an event means to a person; null for what only follows another. */
export function told(event: Decision): Told | null {
  const who = event.label || (event.holder ? personOf(event.holder) : event.job_type || event.subject);
  const until = event.until_ms ? ` until ${timeOf(event.until_ms)}` : "";
  const by = event.by ? personOf(event.by) : "its time";
  const ran = event.ran_ms == null ? "" : ` after ${durationOf(event.ran_ms)}`;
  const reason = event.reason ?? "";
  switch (event.kind) {
    case "LeaseActivated":
    case "LeaseHeardAgain":
      return null;
    case "LeaseGranted":
      return event.job_type === "guard"
        ? line("word", `${by} guards ${who}`, "it gives way from now on")
        : line("start", `${who} was granted ${units(event)}`, owner(event, who));
    case "LeaseReleased":
      return line("end", `${who} ended${ran}`, reason);
    case "LeaseExpired":
      return line("lost", `${who} was lost${ran}`, reason);
    case "LeaseRevoking":
      return line("lost", `${who} is being stopped`, reason);
    case "LeaseRevoked":
      return line("lost", `${who} was stopped${ran}`, reason);
    case "LeaseSilent":
    case "LeaseUnattended":
      return line("lost", `${who} is silent; its processes still run`, "");
    case "LeaseFrozen":
      return line("held", `${who} gives way: it stands still`, reason);
    case "LeaseThrottled":
      return line("held", `${who} gives way: it is slowed down`, reason);
    case "LeaseThawed":
    case "LeaseUnthrottled":
      return line("start", `${who} goes on`, reason);
    case "LeaseGaveBack":
      return line("held", `${who} stands still and gave back ${units(event)}`, reason);
    case "GuardedStopped":
      return line("end", `${who} has stopped`, "it is guarded again when it starts");
    case "GuardedStarted":
      return line("start", `${who} has started, and is guarded`, reason);
    case "GuardChanged":
      return line("word", `${by} changed how ${who} gives way`, reason);
    case "NodeBlocked":
      return line("word", `${by} blocked ${device(event)}${until}`, reason);
    case "NodeAllowed":
      return line("word", `${by} allowed ${device(event)}${until}`, reason);
    case "BlockEnded":
    case "AllowEnded":
      return line("word", `The word about ${device(event)} ended`, reason);
    case "PretendsBusy":
      return line("word", `${by} says: take it for busy${until}`, reason);
    case "PretendsQuiet":
      return line("word", `${by} says: take it for quiet${until}`, reason);
    case "PretendEnded":
      return line("word", "What is measured counts again", reason);
    case "JobFailed":
      return line("lost", `${who} failed`, reason);
    case "JobExpired":
      return line("lost", `${who} was not done in time`, reason);
    case "JobCanceled":
      return line("end", `${who} was canceled`, reason);
    case "JobCancelRequested":
      return line("held", `${by} cancels ${who}`, reason);
    case "JobRequeued":
      return line("held", `${who} is back in the line`, reason);
    case "JobHeld":
      return line("held", `${by} holds ${who}`, reason);
    case "JobResumed":
      return line("start", `${by} resumed ${who}`, reason);
    case "JobRetried":
      return line("start", `${by} queued ${who} again`, reason);
    case "JobPrioritised":
      return line("word", `${by} changed the priority of ${who}`, reason);
    case "ScheduleRan":
      return line("start", `The schedule ${who} submitted a job`, reason);
    case "ScheduleSkipped":
      return line("held", `A run of the schedule ${who} was left out`, reason);
    case "ScheduleMissed":
      return line("held", `Runs of the schedule ${who} were missed`, reason);
    case "ScheduleCreated":
    case "ScheduleChanged":
      return line("word", `${by} set the schedule ${who}`, reason);
    case "SchedulePaused":
      return line("held", `The schedule ${who} is paused`, reason);
    case "ScheduleResumed":
      return line("start", `The schedule ${who} goes on`, reason);
    case "ScheduleRemoved":
      return line("end", `${by} removed the schedule ${who}`, reason);
    case "JobSubmitted":
      return line("word", `${who} was submitted`, event.by ? `by ${by}` : "");
    case "JobOffered":
      return line("other", `${who} was offered to a worker`, reason);
    case "JobStarted":
      return line("start", `${who} started`, reason);
    case "JobDone":
      return line("end", `${who} is done`, reason);
    case "WindowSet":
      return line("word", `${by} set a window`, reason);
    case "WindowRemoved":
      return line("word", `${by} removed a window`, reason);
    case "WindowEnded":
      return line("word", "A window ended for good", reason);
    case "TokenCreated":
      return line("word", `${by} made a token`, reason);
    case "TokenRevoked":
      return line("end", `${by} revoked a token`, reason);
    case "AddonRegistered":
      return line("word", `The add-on ${event.subject} was registered`, `by ${by}`);
    case "AddonEnabled":
      return line("start", `${by} allowed the add-on ${event.subject}`, reason);
    case "AddonDisabled":
      return line("held", `${by} disabled the add-on ${event.subject}`, reason);
    case "AddonRemoved":
      return line("end", `${by} removed the add-on ${event.subject}`, reason);
    case "AlertFired":
      return line("lost", `Alert: ${rule(event)}`, reason);
    case "AlertWorsened":
      return line("lost", `Alert, worse: ${rule(event)}`, reason);
    case "AlertEased":
      return line("held", `Alert, better: ${rule(event)}`, reason);
    case "AlertCleared":
    case "AlertDropped":
      return line("end", `The alert is over: ${rule(event)}`, reason);
    case "AlertUnmuted":
      return line("lost", `Alert, no longer muted: ${rule(event)}`, reason);
    case "AlertAcknowledged":
      return line("word", `${by} acknowledged: ${rule(event)}`, reason);
    case "AlertRuleChanged":
      return line("word", `${by} changed the rule: ${rule(event)}`, reason);
    default:
      return line("other", `${spaced(event.kind)}: ${event.subject}`, reason);
  }
}

function rule(event: Decision): string {
  return event.label || event.subject.replaceAll("_", " ");
}

function line(tone: Tone, sentence: string, detail: string): Told {
  return { tone, sentence, detail };
}

function units(event: Decision): string {
  return event.units ? counted(event.units, "unit") : "what it asked for";
}

function owner(event: Decision, who: string): string {
  const name = event.holder ? personOf(event.holder) : "";
  return name && name !== who ? name : "";
}

function device(event: Decision): string {
  const name = event.subject.split("/")[1];
  return name ? name : "new work";
}

function spaced(kind: string): string {
  const words = kind.replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase();
  return words.charAt(0).toUpperCase() + words.slice(1);
}
