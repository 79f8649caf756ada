import { capitalised, durationOf, personOf, timeOf } from "../models/format";
import { visible } from "../models/job";
import type { Alert, Threshold } from "../services/alerts";
import { acknowledge, mute, stands, tuning, turn, unmute } from "../state/alerts";
import { now } from "../state/clock";
import { may } from "../state/connection";
import { Fact } from "./Fact";
import { Icon, type IconName } from "./Icon";

/** One rule: whether it stands and what is so, since when, who has seen it, and what can be done about it. */
export function AlertRow({ alert, threshold }: { alert: Alert; threshold: Threshold | undefined }) {
  const up = stands(alert);
  return (
    <li class="row lease">
      <span class="row-main">
        <span class="row-what">{alert.title}</span>
        <span class="row-why">{sentence(up ? alert.sentence : alert.now)}</span>
        {up && alert.now && alert.now !== alert.sentence && <span class="row-why">Now: {visible(alert.now)}</span>}
        {up && alert.cure && <span class="row-why">What helps: {visible(alert.cure)}</span>}
        {alert.waits && <span class="row-why">{sentence(alert.waits)}</span>}
        {alert.acknowledged_by && up && (
          <span class="row-why">
            Seen by {personOf(alert.acknowledged_by)}
            {alert.note ? `: ${visible(alert.note)}` : ""}
          </span>
        )}
      </span>
      <span class="row-figures">
        <Badge alert={alert} />
        <Since alert={alert} />
        {alert.muted_until && <span class="row-time">muted until {timeOf(Date.parse(alert.muted_until), now.value)}</span>}
      </span>
      <div class="row-foot">
        <details class="more-facts">
          <summary>
            Details<span class="only-read"> of {alert.title}</span>
          </summary>
          <Facts alert={alert} threshold={threshold} />
        </details>
        {may("alert:manage") && <Actions alert={alert} threshold={threshold} />}
      </div>
    </li>
  );
}

function sentence(text: string): string {
  return text ? capitalised(visible(text)) : "";
}

function Badge({ alert }: { alert: Alert }) {
  const [icon, word, tone] = shown(alert);
  return (
    <span class={`badge badge-${tone}`}>
      <Icon name={icon} size={16} />
      {word}
    </span>
  );
}

function shown(alert: Alert): [IconName, string, string] {
  if (!alert.enabled) return ["block", "Off", "plain"];
  if (stands(alert)) {
    const seen = alert.state === "acknowledged" ? ", seen" : "";
    return alert.severity === "critical" ? ["panic", `Critical${seen}`, "bad"] : ["lost", `Warning${seen}`, "warn"];
  }
  if (alert.state === "cleared") return ["yes", "Cleared", "good"];
  return alert.value === null ? ["unknown", "Not measured", "plain"] : ["yes", "Fine", "good"];
}

function Since({ alert }: { alert: Alert }) {
  const at = stands(alert) ? alert.since : alert.state === "cleared" ? alert.cleared_at : undefined;
  if (!at) return null;
  const ago = durationOf(Math.max(0, now.value - Date.parse(at)));
  return <span class="row-time">{stands(alert) ? `for ${ago}` : `${ago} ago`}</span>;
}

function Facts({ alert, threshold }: { alert: Alert; threshold: Threshold | undefined }) {
  const unit = alert.unit;
  return (
    <dl class="facts">
      <Fact name="Measured">{threshold && capitalised(threshold.measured)}</Fact>
      <Fact name="Now">{alert.value !== null && `${figure(alert.value)} ${unit}`}</Fact>
      <Fact name="Warns">{alert.warning !== null && `${alert.way} ${figure(alert.warning)} ${unit}`}</Fact>
      <Fact name="Critical">{alert.critical !== null && `${alert.way} ${figure(alert.critical)} ${unit}`}</Fact>
      <Fact name="After">{threshold && threshold.for_sec > 0 && `${durationOf(threshold.for_sec * 1000)} of it`}</Fact>
      <Fact name="Then quiet">{threshold && threshold.cooldown_sec > 0 && `for ${durationOf(threshold.cooldown_sec * 1000)}`}</Fact>
      <Fact name="Set by">
        {threshold?.changed_by && `${personOf(threshold.changed_by)}, ${timeOf(Date.parse(threshold.changed_at ?? ""), now.value)}`}
      </Fact>
      <Fact name="Fired">{alert.fired ? `${alert.fired} times` : "never"}</Fact>
      <Fact name="Rule">
        <code>{alert.rule}</code>{" "}
        <a class="link" href={`/events?topic=alerts&text=${alert.rule}`}>
          its events
        </a>
      </Fact>
    </dl>
  );
}

function figure(value: number): string {
  return String(Number(value.toFixed(2)));
}

function Actions({ alert, threshold }: { alert: Alert; threshold: Threshold | undefined }) {
  const button = (label: string, act: () => void) => (
    <button class="button small" type="button" onClick={act}>
      {label}
      <span class="only-read"> {alert.title}</span>
    </button>
  );
  return (
    <span class="row-acts">
      {alert.state === "active" && button("Acknowledge…", () => acknowledge(alert))}
      {alert.muted_until ? button("Unmute", () => unmute(alert)) : button("Mute…", () => mute(alert))}
      {threshold && tunable(threshold) && button("Threshold…", () => (tuning.value = { alert, threshold }))}
      {button(alert.enabled ? "Switch off" : "Switch on", () => turn(alert, !alert.enabled))}
    </span>
  );
}

function tunable({ warning, critical, built_in }: Threshold): boolean {
  return [warning, critical, built_in.warning, built_in.critical].some((one) => one !== null);
}
