import { useEffect, useRef, useState } from "preact/hooks";
import { DAYS, type Day, type WindowIn } from "../services/settings";
import { attempt } from "../state/confirm";
import { editing, inputOf, save } from "../state/windows";
import { Choices } from "./Choices";
import { Icon } from "./Icon";
import { word } from "./Windows";

type Effect = "block" | "allow" | "only";

const EFFECTS: [label: string, value: Effect][] = [
  ["Block", "block"],
  ["Allow", "allow"],
  ["Allow, and only then", "only"],
];

const FOLLOWS: Record<Effect, string> = {
  block: "Nothing new starts in it, however urgent. What runs goes on.",
  allow: "In it work may start also while the machine is not quite quiet.",
  only: "Work that waits for quiet starts in such windows, and nowhere else.",
};

const NEW: WindowIn = { effect: "block", from: "18:00", to: "22:00", days: [...DAYS] };

/** Sets a window, or another in the place of one. */
export function WindowDialog() {
  const what = editing.value;
  return what === null ? null : <Edit />;
}

function Edit() {
  const before = editing.value?.window ?? null;
  const [given, setGiven] = useState<WindowIn>(before === null ? NEW : inputOf(before));
  const [why, setWhy] = useState("");
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  const close = () => dialog.current?.close();
  const effect: Effect = given.effect === "block" ? "block" : given.only ? "only" : "allow";
  const submit = async (event: Event) => {
    event.preventDefault();
    if (given.days.length === 0) return setWhy("Choose at least one day.");
    const refused = await attempt(() => save(before, given));
    setWhy(refused);
    if (!refused) close();
  };
  const turn = (day: Day) => {
    const days = given.days.includes(day) ? given.days.filter((one) => one !== day) : [...given.days, day];
    setGiven({ ...given, days: DAYS.filter((one) => days.includes(one)) });
  };
  const choose = (chosen: Effect) => {
    const { only: _, ...rest } = given;
    setGiven({ ...rest, effect: chosen === "block" ? "block" : "allow", ...(chosen === "only" ? { only: true } : {}) });
  };
  return (
    <dialog ref={dialog} class="dialog" aria-labelledby="window" onClose={() => (editing.value = null)}>
      <form onSubmit={submit}>
        <h2 id="window">{before === null ? "Add a window" : "Change the window"}</h2>
        <Choices legend="What it does" options={EFFECTS} chosen={effect} choose={choose} />
        <div class="two">
          <Clock label="From" value={given.from} set={(from) => setGiven({ ...given, from })} />
          <Clock label="To" value={given.to} set={(to) => setGiven({ ...given, to })} />
        </div>
        <fieldset class="choices">
          <legend>On</legend>
          {DAYS.map((day, index) => (
            <label class="choice" key={day}>
              <input type="checkbox" checked={given.days.includes(day)} onChange={() => turn(day)} />
              <span>{word(index)}</span>
            </label>
          ))}
        </fieldset>
        <label class="field">
          <span>Time zone (the server’s own where this is empty)</span>
          <input
            type="text"
            maxLength={64}
            placeholder="Europe/Berlin"
            value={given.zone ?? ""}
            onInput={(event) => setGiven(zoned(given, event.currentTarget.value.trim()))}
          />
        </label>
        <label class="field">
          <span>Note, for whoever asks why (optional)</span>
          <input
            type="text"
            maxLength={200}
            value={given.note ?? ""}
            onInput={(event) => setGiven({ ...given, note: event.currentTarget.value })}
          />
        </label>
        <p class="follows">{FOLLOWS[effect]}</p>
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
          <button class="button primary" type="submit">
            {before === null ? "Add it" : "Change it"}
          </button>
        </div>
      </form>
    </dialog>
  );
}

function zoned({ zone: _, ...rest }: WindowIn, zone: string): WindowIn {
  return zone ? { ...rest, zone } : rest;
}

function Clock({ label, value, set }: { label: string; value: string; set: (value: string) => void }) {
  return (
    <label class="field">
      <span>{label}</span>
      <input type="time" required value={value === "24:00" ? "00:00" : value} onInput={(event) => set(event.currentTarget.value)} />
    </label>
  );
}
