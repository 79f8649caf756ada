import { dismiss, toast } from "../state/toast";
import { Icon } from "./Icon";

/** What has just been done, with a way back. */
export function ToastView() {
  const said = toast.value;
  return (
    <div class="toasts" role="status">
      {said !== null && (
        <p class={`toast toast-${said.tone}`}>
          <Icon name={said.tone === "done" ? "yes" : "lost"} size={18} />
          <span>{said.text}</span>
          {said.undo !== undefined && (
            <button class="button small" type="button" onClick={said.undo}>
              Undo
            </button>
          )}
          <button class="quiet-button" type="button" onClick={dismiss} aria-label="Dismiss">
            <Icon name="close" size={18} />
          </button>
        </p>
      )}
    </div>
  );
}
