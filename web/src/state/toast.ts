// What has just been done, with a way back.
import { signal } from "@preact/signals";

export interface Toast {
  text: string;
  tone: "done" | "failed";
  undo?: () => void;
}

export const toast = signal<Toast | null>(null);

const SHOWN_MS = 12_000;
let timer = 0;

export function tell(said: Toast): void {
  clearTimeout(timer);
  toast.value = said;
  if (said.tone === "done") timer = setTimeout(dismiss, SHOWN_MS);
}

export function dismiss(): void {
  clearTimeout(timer);
  toast.value = null;
}
