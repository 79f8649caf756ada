// Light or dark: as the system says, unless somebody chose.
import { effect, signal } from "@preact/signals";

export type Theme = "auto" | "light" | "dark";

const KEY = "leasehold.theme";
const kept = localStorage.getItem(KEY);

export const theme = signal<Theme>(kept === "light" || kept === "dark" ? kept : "auto");

const system = matchMedia("(prefers-color-scheme: dark)");
/** Grows with each change of what is seen, for what draws by itself. */
export const painted = signal(0);

export function isDark(): boolean {
  return theme.value === "dark" || (theme.value === "auto" && system.matches);
}

export function turnTheme(): void {
  theme.value = isDark() ? "light" : "dark";
  if (isDark() === system.matches) theme.value = "auto";
}

export function keepTheme(): void {
  effect(() => {
    if (theme.value === "auto") {
      delete document.documentElement.dataset.theme;
      localStorage.removeItem(KEY);
    } else {
      document.documentElement.dataset.theme = theme.value;
      localStorage.setItem(KEY, theme.value);
    }
    painted.value = painted.peek() + 1;
  });
  system.addEventListener("change", () => (painted.value += 1));
}
