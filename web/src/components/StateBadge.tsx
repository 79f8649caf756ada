import type { QuietState } from "../models/dashboard";
import { Icon, type IconName } from "./Icon";

const SHOWN: Record<QuietState, [IconName, string]> = {
  QUIET: ["quiet", "Quiet"],
  NORMAL: ["normal", "Normal"],
  BUSY: ["busy", "Busy"],
  PANIC: ["panic", "Panic"],
  UNKNOWN: ["unknown", "Unknown"],
};

/** A state by its shape, its word and its colour. */
export function StateBadge({ state }: { state: QuietState }) {
  const [icon, word] = SHOWN[state] ?? SHOWN.UNKNOWN;
  return (
    <span class={`badge state-${state.toLowerCase()}`}>
      <Icon name={icon} size={16} />
      {word}
    </span>
  );
}
