import { alerts, health } from "../state/dashboard";
import { capitalised, counted } from "../models/format";
import { Icon, type IconName } from "./Icon";

type Status = "ok" | "warn" | "error";

const SHOWN: Record<Status, [IconName, string]> = {
  ok: ["yes", "OK"],
  warn: ["lost", "WARN"],
  error: ["panic", "ERROR"],
};

/** Whether anything needs attention: on every page, by shape, word and colour. */
export function HealthBadge() {
  const now = health.value;
  if (now === null) return null;
  const status = worst(now.status);
  const [icon, word] = SHOWN[status];
  const reasons = [...alerts.value.map((one) => one.sentence), ...(now.status === "ok" ? [] : now.reasons)];
  return (
    <a
      class={`badge health-${status}`}
      href="/alerts"
      title={reasons.map(capitalised).join("\n") || "Nothing needs attention"}
      aria-label={`${word}: ${reasons.length ? counted(reasons.length, "thing") : "nothing"} to look at`}
    >
      <Icon name={icon} size={16} />
      {word}
    </a>
  );
}

/** That of the figures, or of the worst alert that nobody has acknowledged. */
function worst(status: Status): Status {
  const active = alerts.value.filter((one) => one.state === "active");
  if (status === "error" || active.some((one) => one.severity === "critical")) return "error";
  return active.length ? "warn" : status;
}
