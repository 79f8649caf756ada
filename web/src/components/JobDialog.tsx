import { useEffect, useRef, useState } from "preact/hooks";
import { jobs, isAtWork, titleOf } from "../models/job";
import type { Action, Told } from "../services/jobs";
import { acting, asked, countOf, perform, refused, type Asked } from "../state/acts";
import { Choices } from "./Choices";
import { Icon } from "./Icon";
import { grouped } from "./QueueLine";

const PRIORITIES = ["URGENT", "HIGH", "NORMAL", "LOW", "BACKGROUND"];
const GRACES: [label: string, sec: number | undefined][] = [
  ["As usual", undefined],
  ["None", 0],
  ["1 min", 60],
  ["10 min", 600],
];

const VERBS: Record<Action, string> = {
  cancel: "Cancel",
  hold: "Hold",
  resume: "Resume",
  retry: "Retry",
  priority: "Change the priority of",
  pause: "Pause",
};

const FOLLOWS: Record<Action, string> = {
  cancel: "What waits ends at once; what runs is asked to stop, and killed after its grace. Jobs that come after them are canceled too.",
  hold: "They keep their age, and nothing starts them until somebody resumes them.",
  resume: "They stand in line again, with the age that they have; what stands still goes on.",
  retry: "Each gets one more attempt, with its history. What is done stays done.",
  priority: "They go to another lane; their age counts there as well. What runs needs no place any more.",
  pause: "They stand still until somebody resumes them.",
};

/** Asks before something is ended, or done to many. */
export function JobDialog() {
  const what = asked.value;
  return what === null ? null : <Ask key={what.action} what={what} />;
}

function Ask({ what }: { what: Asked }) {
  const { action, target } = what;
  const dialog = useRef<HTMLDialogElement>(null);
  const [note, setNote] = useState("");
  const [priority, setPriority] = useState(target.one?.priority ?? "NORMAL");
  const [grace, setGrace] = useState<number | undefined>(undefined);
  const count = useCount(what);
  useEffect(() => dialog.current?.showModal(), []);
  const close = () => dialog.current?.close();
  const submit = async (event: Event) => {
    event.preventDefault();
    const told: Told = { note: note.trim() };
    if (action === "priority") told.priority = priority;
    if (action === "cancel" && target.one && grace !== undefined) told.grace_sec = grace;
    if (await perform(action, target, told)) close();
  };
  const many = target.one ? "" : count === null ? "jobs" : `${grouped(count)} ${count === 1 ? "job" : "jobs"}`;
  const title = target.one ? `${VERBS[action]} “${titleOf(target.one)}”` : `${VERBS[action]} ${many}`;
  return (
    <dialog ref={dialog} class="dialog" aria-labelledby="ask" onClose={leave}>
      <form onSubmit={submit}>
        <h2 id="ask">{title}?</h2>
        {action === "priority" && (
          <Choices legend="Priority" options={PRIORITIES.map((one) => [word(one), one])} chosen={priority} choose={setPriority} />
        )}
        {action === "cancel" && target.one !== undefined && isAtWork(target.one) && (
          <Choices legend="Its grace to stop by itself" options={GRACES} chosen={grace} choose={setGrace} />
        )}
        {action !== "priority" && (
          <label class="field">
            <span>Note, for whoever asks why (optional)</span>
            <input type="text" maxLength={200} value={note} onInput={(e) => setNote(e.currentTarget.value)} />
          </label>
        )}
        <p class="follows">{FOLLOWS[action]}</p>
        {refused.value && (
          <p class="banner banner-bad" role="alert">
            <Icon name="lost" size={18} />
            <span>{refused.value}</span>
          </p>
        )}
        <div class="dialog-end">
          <button class="button" type="button" onClick={close}>
            Leave as it is
          </button>
          <button class="button primary" type="submit" disabled={acting.value || count === 0}>
            {action === "priority" ? "Change" : VERBS[action]}
            {target.one || count === null ? "" : ` ${jobs(count)}`}
          </button>
        </div>
      </form>
    </dialog>
  );
}

function leave(): void {
  asked.value = null;
  refused.value = "";
}

/** How many it will be; null while that is asked. */
function useCount({ action, target }: Asked): number | null {
  const plain = target.groups.length === 0 && target.filter === undefined;
  const [count, setCount] = useState<number | null>(plain ? target.ids.length : null);
  useEffect(() => {
    if (!plain) countOf(action, target).then(setCount, () => undefined);
  }, []);
  return count;
}

function word(priority: string): string {
  return priority.charAt(0) + priority.slice(1).toLowerCase();
}
