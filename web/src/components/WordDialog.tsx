import { useEffect, useRef, useState } from "preact/hooks";
import { leasesTotal, waiting } from "../state/dashboard";
import { question, say, saying, type Question } from "../state/word";
import { counted, timeOf } from "../models/format";

const CHOICES: [label: string, sec: number][] = [
  ["15 min", 900],
  ["1 hour", 3_600],
  ["4 hours", 14_400],
  ["8 hours", 28_800],
  ["1 day", 86_400],
];

const TEXTS: Record<Question, { title: string; button: string; sec: number }> = {
  block: { title: "Block new work", button: "Block", sec: 3_600 },
  busy: { title: "Pretend that it is busy", button: "Pretend busy", sec: 3_600 },
  quiet: { title: "Pretend that it is quiet", button: "Pretend quiet", sec: 900 },
};

/** Asks for how long, and says what will follow, before the word is said. */
export function WordDialog() {
  const asked = question.value;
  return asked === null ? null : <Ask key={asked} what={asked} />;
}

function Ask({ what }: { what: Question }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const text = TEXTS[what];
  const [sec, setSec] = useState(text.sec);
  const [note, setNote] = useState("");
  useEffect(() => {
    dialog.current?.showModal();
    dialog.current?.querySelector<HTMLInputElement>("input:checked")?.focus();
  }, []);
  const close = () => dialog.current?.close(); // Which gives the focus back to the button that asked.
  const submit = async (event: Event) => {
    event.preventDefault();
    if (await say(what, sec, note.trim())) close();
  };
  return (
    <dialog ref={dialog} class="dialog" aria-labelledby="ask" onClose={() => (question.value = null)}>
      <form onSubmit={submit}>
        <h2 id="ask">{text.title}</h2>
        <fieldset class="choices">
          <legend>For how long</legend>
          {CHOICES.map(([label, value]) => (
            <label class="choice" key={value}>
              <input type="radio" name="sec" checked={sec === value} onChange={() => setSec(value)} />
              <span>{label}</span>
            </label>
          ))}
        </fieldset>
        <label class="field">
          <span>Note, for whoever asks why (optional)</span>
          <input type="text" maxLength={200} value={note} onInput={(e) => setNote(e.currentTarget.value)} />
        </label>
        <p class="follows">{follows(what, sec)}</p>
        <div class="dialog-end">
          <button class="button" type="button" onClick={close}>
            Cancel
          </button>
          <button class="button primary" type="submit" disabled={saying.value}>
            {text.button} until {timeOf(Date.now() + sec * 1000)}
          </button>
        </div>
      </form>
    </dialog>
  );
}

function follows(what: Question, sec: number): string {
  const until = timeOf(Date.now() + sec * 1000);
  const running = leasesTotal.value;
  const inLine = waiting.value.total;
  const goOn = running ? ` ${counted(running, "running lease")} ${running === 1 ? "goes" : "go"} on.` : "";
  const wait = inLine ? ` ${counted(inLine, "waiter")} ${inLine === 1 ? "keeps its place" : "keep their places"}.` : "";
  if (what === "block") return `Nothing new starts until ${until}, however urgent.${goOn}${wait}`;
  if (what === "busy") return `Only urgent work starts until ${until}, however quiet it is.${goOn}${wait}`;
  return (
    `Work that waits for quiet may start until ${until}, whatever else this machine is doing; ` +
    `whoever works at it may feel that.${wait}`
  );
}
