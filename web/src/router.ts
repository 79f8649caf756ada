// Paths as a signal. One page today; the others hang themselves in here.
import { signal } from "@preact/signals";

export const path = signal(location.pathname);

export function go(to: string, { instead = false } = {}): void {
  if (instead) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  path.value = location.pathname;
}

export function followHistory(): void {
  addEventListener("popstate", () => (path.value = location.pathname));
}
