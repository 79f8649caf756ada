// The time by the server's clock, once a second, while somebody looks.
import { signal } from "@preact/signals";
import { clockOffset } from "./dashboard";

export const now = signal(Date.now());

export function tick(): void {
  if (!document.hidden) now.value = Date.now() + clockOffset.value;
}

export function keepTime(): void {
  setInterval(tick, 1_000);
}
