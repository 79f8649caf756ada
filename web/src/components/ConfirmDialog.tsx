import { useEffect, useRef, useState } from "preact/hooks";
import { attempt, confirming, type Question } from "../state/confirm";
import { Choices } from "./Choices";
import { Icon } from "./Icon";

/** The question of the moment. */
export function ConfirmDialog() {
  const asked = confirming.value;
  return asked === null ? null : <Ask key={asked.title} asked={asked} />;
}

function Ask({ asked }: { asked: Question }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [note, setNote] = useState("");
  const [choice, setChoice] = useState(asked.choices?.first ?? "");
  const [busy, setBusy] = useState(false);
  const [why, setWhy] = useState("");
  useEffect(() => dialog.current?.showModal(), []);
  const close = () => dialog.current?.close(); // Which gives the focus back to the button that asked.
  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    const refused = await attempt(() => asked.run({ note: note.trim(), choice }));
    setBusy(false);
    setWhy(refused);
    if (!refused) close();
  };
  return (
    <dialog ref={dialog} class="dialog" aria-labelledby="confirm" onClose={() => (confirming.value = null)}>
      <form onSubmit={submit}>
        <h2 id="confirm">{asked.title}</h2>
        {asked.choices && (
          <Choices legend={asked.choices.legend} options={asked.choices.options} chosen={choice} choose={setChoice} />
        )}
        {asked.note && (
          <label class="field">
            <span>Note, for whoever asks why (optional)</span>
            <input type="text" maxLength={200} value={note} onInput={(e) => setNote(e.currentTarget.value)} />
          </label>
        )}
        <p class="follows">{asked.follows}</p>
        {why && (
          <p class="banner banner-bad" role="alert">
            <Icon name="lost" size={18} />
            <span>{why}</span>
          </p>
        )}
        <div class="dialog-end">
          <button class="button" type="button" onClick={close}>
            Leave as it is
          </button>
          <button class="button primary" type="submit" disabled={busy}>
            {asked.yes}
          </button>
        </div>
      </form>
    </dialog>
  );
}
