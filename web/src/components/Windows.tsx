import { timeOf } from "../models/format";
import { visible } from "../models/job";
import { DAYS, windows, type Window } from "../services/settings";
import { now } from "../state/clock";
import { may } from "../state/connection";
import { ofEvents, useLive } from "../state/live";
import { editing, remove } from "../state/windows";
import { Card } from "./Card";
import { Icon } from "./Icon";

/** Spans of the week in which the owner blocks new work, or allows it. */
export function Windows() {
  const { data, failed } = useLive("windows", windows, { everyMs: 60_000, on: ofEvents });
  return (
    <Card title="Windows" id="windows">
      {data === null && <p class="empty">{failed?.message ?? "…"}</p>}
      {data?.length === 0 && (
        <p class="empty">
          There is none. A window blocks new work, or allows it, at the same hours on the same days: films on Friday evening, backups at night.
        </p>
      )}
      <ul class="rows windows">
        {(data ?? []).map((one) => (
          <Row key={one.wid} window={one} />
        ))}
      </ul>
      {may("node:admission") && (
        <p class="actions card-end">
          <button class="button" type="button" onClick={() => (editing.value = { window: null })}>
            <Icon name="calendar" size={18} />
            Add a window…
          </button>
        </p>
      )}
    </Card>
  );
}

function Row({ window }: { window: Window }) {
  const what = effectOf(window);
  const changes = window.changes_at ? Date.parse(window.changes_at) : 0;
  return (
    <li class="row lease">
      <span class="row-main">
        <span class="row-what">
          {what}, {window.from}–{window.to}
        </span>
        <span class="row-who">
          {daysOf(window.days)}
          <span class="tag">{window.zone}</span>
          {window.device && <span class="tag">{window.device}</span>}
        </span>
        {window.note && <span class="row-why">{visible(window.note)}</span>}
      </span>
      <span class="row-figures">
        <span class={`badge badge-${window.open ? "info" : "plain"}`}>
          <Icon name={window.open ? "live" : "clock"} size={16} />
          {window.open ? "Open now" : "Closed"}
        </span>
        {changes > 0 && (
          <span class="row-time">
            {window.open ? "until" : "opens"} {timeOf(changes, now.value)}
          </span>
        )}
      </span>
      {may("node:admission") && (
        <span class="row-acts">
          <button class="button small" type="button" onClick={() => (editing.value = { window })}>
            <Icon name="pen" size={16} />
            Change…<span class="only-read"> {what}</span>
          </button>
          <button class="button small" type="button" onClick={() => remove(window)}>
            <Icon name="bin" size={16} />
            Remove<span class="only-read"> {what}</span>
          </button>
        </span>
      )}
    </li>
  );
}

function effectOf({ effect, only }: Window): string {
  if (effect === "block") return "Block new work";
  return only ? "Allow work then, and only then" : "Allow work";
}

/** Mon–Fri, Sat, or every day. */
export function daysOf(days: string[]): string {
  const at = DAYS.flatMap((day, index) => (days.includes(day) ? [index] : []));
  if (at.length === DAYS.length) return "every day";
  const runs: number[][] = [];
  for (const index of at) {
    const last = runs.at(-1);
    if (last && last.at(-1) === index - 1) last.push(index);
    else runs.push([index]);
  }
  return runs.map((run) => (run.length > 2 ? `${word(run[0])}–${word(run.at(-1))}` : run.map(word).join(", "))).join(", ");
}

export function word(index: number | undefined): string {
  const day = DAYS[index ?? 0] ?? "mon";
  return day.charAt(0).toUpperCase() + day.slice(1);
}
