// Paths as a signal: `/`, `/queue?…`, `/machine`, `/jobs/<id>`. What a list is asked for stands in the address.
import { signal } from "@preact/signals";
import { pageOf } from "./models/pages";

export const path = signal(location.pathname);
export const search = signal(location.search);
/** How far down one was, where one came here by the browser's own buttons; null for who comes anew. */
export const cameBack = signal<number | null>(null);

export function go(to: string, { instead = false } = {}): void {
  cameBack.value = null;
  if (!instead) history.replaceState({ top: scrollY }, "");
  if (instead) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  const moved = path.value !== location.pathname;
  arrive();
  if (moved && !instead) begin();
}

export function followHistory(): void {
  arrive();
  addEventListener("popstate", (event) => {
    cameBack.value = (event.state as { top?: number } | null)?.top ?? 0;
    arrive();
  });
  document.addEventListener("click", followLink);
}

/** The query of the address with some of it replaced; what is empty goes. A new filter begins at the first page. */
export function queried(changes: Record<string, string>): string {
  const found = new URLSearchParams(search.value);
  for (const place of ["cursor", "before"]) if (!(place in changes)) found.delete(place);
  for (const [name, value] of Object.entries(changes)) {
    if (value) found.set(name, value);
    else found.delete(name);
  }
  const text = found.toString();
  return text ? `${path.value}?${text}` : path.value;
}

function arrive(): void {
  path.value = location.pathname;
  search.value = location.search;
  const page = pageOf(path.value);
  document.title = !page || page.path === "/" ? "Leasehold" : `${page.name} · Leasehold`; // A job gives its own.
}

/** A new page begins at its top, also for whoever goes by keys or listens. */
function begin(): void {
  scrollTo(0, 0);
  document.getElementById("main")?.focus({ preventScroll: true });
}

/** Links within the page change the page, and load nothing. */
function followLink(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = (event.target as Element | null)?.closest?.("a");
  if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
  if (link.hash && link.pathname === location.pathname) return;
  event.preventDefault();
  go(link.pathname + link.search);
}
