import { useEffect, useRef } from "preact/hooks";
import { PAGES } from "../models/pages";
import { helping } from "../state/keys";

const KEYS: [string[], string][] = [
  [["/"], "Find, on this page"],
  [["?"], "These keys"],
  [["Esc"], "Close, or leave a field"],
  [["j", "k"], "In a list: the next row, the one before"],
  [["x"], "In the queue: choose a job"],
  [["Enter"], "Open what has the focus"],
];

/** Which keys there are. */
export function KeysDialog() {
  return helping.value ? <Keys /> : null;
}

function Keys() {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  const close = () => dialog.current?.close();
  return (
    <dialog ref={dialog} class="dialog keys" aria-labelledby="keys" onClose={() => (helping.value = false)}>
      <h2 id="keys">Keys</h2>
      <dl>
        {KEYS.map(([keys, what]) => (
          <Row key={what} keys={keys} what={what} />
        ))}
        {PAGES.map((page) => (
          <Row key={page.path} keys={["g", page.key]} what={page.name} />
        ))}
      </dl>
      <div class="dialog-end">
        <button class="button" type="button" onClick={close}>
          Close
        </button>
      </div>
    </dialog>
  );
}

function Row({ keys, what }: { keys: string[]; what: string }) {
  return (
    <div class="keys-row">
      <dt>
        {keys.map((key) => (
          <kbd key={key}>{key}</kbd>
        ))}
      </dt>
      <dd>{what}</dd>
    </div>
  );
}
