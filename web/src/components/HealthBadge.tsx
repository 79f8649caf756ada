import { health } from "../state/dashboard";
import { capitalised, counted } from "../models/format";
import { Icon, type IconName } from "./Icon";

const SHOWN: Record<string, [IconName, string]> = {
  ok: ["yes", "OK"],
  warn: ["lost", "WARN"],
  error: ["panic", "ERROR"],
};

/** Whether anything needs attention: on every page, by shape, word and colour. */
export function HealthBadge() {
  const now = health.value;
  if (now === null) return null;
  const [icon, word] = SHOWN[now.status] ?? ["unknown", now.status];
  const why = now.status === "ok" ? "nothing needs attention" : counted(now.reasons.length, "thing");
  return (
    <a
      class={`badge health-${now.status}`}
      href="/alerts"
      title={now.reasons.map(capitalised).join("\n")}
      aria-label={`${word}: ${why}`}
    >
      <Icon name={icon} size={16} />
      {word}
    </a>
  );
}
