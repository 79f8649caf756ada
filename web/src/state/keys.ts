// Keys that work on every page: / finds, g and a letter goes, ? tells them, Esc leaves.
import { signal } from "@preact/signals";
import { PAGES } from "../models/pages";
import { go } from "../router";
import { me } from "./connection";

/** Whether the list of keys is shown, and the menu of a phone. */
export const helping = signal(false);
export const moreOpen = signal(false);

const SECOND_MS = 1_500; // How long a g waits for its letter.

let gAt = 0;

export function keepKeys(): void {
  document.addEventListener("keydown", pressed);
}

function pressed(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || me.value === null) return;
  const field = (event.target as Element | null)?.closest?.("input, textarea, select, [contenteditable]");
  if (field && !isBox(field)) {
    if (event.key === "Escape") (field as HTMLElement).blur();
    return;
  }
  if (document.querySelector("dialog[open]")) return; // A dialog has Esc by itself, and nothing goes on behind it.
  if (Date.now() - gAt < SECOND_MS) {
    gAt = 0;
    const page = PAGES.find((one) => one.key === event.key);
    if (page) {
      event.preventDefault();
      go(page.path);
      return;
    }
  }
  if (event.key === "g") gAt = Date.now();
  else if (event.key === "?") helping.value = true;
  else if (event.key === "/") find(event);
}

function isBox(field: Element): boolean {
  return field instanceof HTMLInputElement && ["checkbox", "radio"].includes(field.type);
}

/** Into the search of this page; where there is none, into that of the queue. */
function find(event: KeyboardEvent): void {
  event.preventDefault();
  const search = (): HTMLInputElement | null => document.querySelector("main input[type=search]");
  const here = search();
  if (here) return here.focus();
  go("/queue");
  requestAnimationFrame(() => search()?.focus());
}
