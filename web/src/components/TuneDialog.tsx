import { useEffect, useRef, useState } from "preact/hooks";
import type { Change, Threshold } from "../services/alerts";
import { tune, tuning } from "../state/alerts";
import { attempt } from "../state/confirm";
import { Icon } from "./Icon";

type Field = "warning" | "critical" | "for_sec" | "cooldown_sec";

/** Sets what a rule fires at; an empty field is what is built in. */
export function TuneDialog() {
  const what = tuning.value;
  return what === null ? null : <Tune key={what.alert.rule} />;
}

function Tune() {
  const dialog = useRef<HTMLDialogElement>(null);
  const what = useRef(tuning.value).current;
  const [given, setGiven] = useState<Partial<Record<Field, string>>>({});
  const [why, setWhy] = useState("");
  useEffect(() => dialog.current?.showModal(), []);
  if (what === null) return null;
  const { alert, threshold } = what;
  const close = () => dialog.current?.close();
  const submit = async (event: Event) => {
    event.preventDefault();
    const refused = await attempt(() => tune(alert, threshold, changeOf(given)));
    setWhy(refused);
    if (!refused) close();
  };
  const field = (name: Field, label: string) =>
    threshold.built_in[name] === null ? null : (
      <label class="field">
        <span>{label}</span>
        <input
          type="number"
          step="any"
          {...bounds(name, threshold)}
          value={given[name] ?? String(threshold[name] ?? "")}
          placeholder={`${threshold.built_in[name]} is built in`}
          onInput={(event) => setGiven({ ...given, [name]: event.currentTarget.value })}
        />
      </label>
    );
  return (
    <dialog ref={dialog} class="dialog" aria-labelledby="tune" onClose={() => (tuning.value = null)}>
      <form onSubmit={submit}>
        <h2 id="tune">When “{alert.title}” fires</h2>
        <p class="follows">{threshold.measured}</p>
        <div class="two">
          {field("warning", `Warning ${threshold.way} (${threshold.unit})`)}
          {field("critical", `Critical ${threshold.way} (${threshold.unit})`)}
          {field("for_sec", "Once it is so for (s)")}
          {field("cooldown_sec", "Then quiet for (s)")}
        </div>
        <p class="follows">An empty field is what is built in. It holds from the next check on, and over restarts.</p>
        {why && (
          <p class="banner banner-bad" role="alert">
            <Icon name="lost" size={18} />
            <span>{why}</span>
          </p>
        )}
        <div class="dialog-end">
          <button class="button" type="button" onClick={close}>
            Cancel
          </button>
          <button class="button primary" type="submit" disabled={Object.keys(given).length === 0}>
            Change it
          </button>
        </div>
      </form>
    </dialog>
  );
}

function bounds(name: Field, { least, most }: Threshold): { min: number; max?: number } {
  if (name === "for_sec") return { min: 0, max: 86_400 };
  if (name === "cooldown_sec") return { min: 0, max: 604_800 };
  return { min: least ?? 0, ...(most === undefined ? {} : { max: most }) };
}

function changeOf(given: Partial<Record<Field, string>>): Change {
  return Object.fromEntries(Object.entries(given).map(([name, text]) => [name, text === "" ? null : Number(text)]));
}
