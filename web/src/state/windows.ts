// Windows of the owner: set, changed and removed, each with a way back.
import { signal } from "@preact/signals";
import * as api from "../services/settings";
import type { Window, WindowIn } from "../services/settings";
import { just } from "./confirm";
import type { Toast } from "./toast";

/** Which window is being edited, while its dialog is open; `null` in it for a new one. */
export const editing = signal<{ window: Window | null } | null>(null);

/** What one sets of a window that is there. */
export function inputOf({ effect, from, to, days, zone, only, device, until, note }: Window): WindowIn {
  return {
    effect,
    from,
    to,
    days,
    zone,
    ...(only ? { only } : {}),
    ...(device ? { device } : {}),
    ...(until ? { until } : {}),
    ...(note ? { note } : {}),
  };
}

export async function save(before: Window | null, window: WindowIn): Promise<Toast> {
  if (before === null) {
    const added = await api.addWindow(window);
    return { text: "The window is set", tone: "done", undo: () => remove(added) };
  }
  await api.setWindow(before.wid, window);
  const back = async (): Promise<Toast> => {
    await api.setWindow(before.wid, inputOf(before));
    return { text: "The window is as it was", tone: "done" };
  };
  return { text: "The window is changed", tone: "done", undo: () => void just(back) };
}

export function remove(window: Window): void {
  void just(async () => {
    await api.removeWindow(window.wid);
    const again = async (): Promise<Toast> => {
      await api.addWindow(inputOf(window));
      return { text: "The window is there again", tone: "done" };
    };
    return { text: "The window was removed", tone: "done", undo: () => void just(again) };
  });
}
