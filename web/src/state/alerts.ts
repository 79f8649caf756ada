// What people do to alerts: acknowledge, mute, switch off, set what they fire at.
import { signal } from "@preact/signals";
import * as api from "../services/alerts";
import type { Alert, Change, Threshold } from "../services/alerts";
import { confirming, just } from "./confirm";
import type { Toast } from "./toast";

/** Whose thresholds are being edited, while their dialog is open. */
export const tuning = signal<{ alert: Alert; threshold: Threshold } | null>(null);

export function stands(alert: Alert): boolean {
  return alert.state === "active" || alert.state === "acknowledged";
}

export function acknowledge(alert: Alert): void {
  confirming.value = {
    title: `Acknowledge “${alert.title}”?`,
    follows: "It tells nobody any more unless it worsens, and goes by itself when it is over.",
    yes: "Acknowledge",
    note: true,
    run: async ({ note }) => {
      await api.acknowledge(alert.rule, note);
      return { text: `${alert.title}: acknowledged`, tone: "done" };
    },
  };
}

export function mute(alert: Alert): void {
  confirming.value = {
    title: `Mute “${alert.title}”?`,
    follows: "It is shown here all the same, and nobody is notified until then.",
    yes: "Mute",
    choices: {
      legend: "For how long",
      options: [
        ["1 hour", "3600"],
        ["8 hours", "28800"],
        ["1 day", "86400"],
        ["1 week", "604800"],
      ],
      first: "28800",
    },
    run: async ({ choice }) => {
      await api.set(alert.rule, { mute_for_sec: Number(choice) });
      return { text: `${alert.title}: nobody is notified`, tone: "done", undo: () => unmute(alert) };
    },
  };
}

export function unmute(alert: Alert): void {
  void just(async () => {
    await api.set(alert.rule, { mute_until: null });
    return { text: `${alert.title}: people are notified again`, tone: "done" };
  });
}

export function turn(alert: Alert, enabled: boolean): void {
  void just(async () => {
    await api.set(alert.rule, { enabled });
    return {
      text: `${alert.title} is switched ${enabled ? "on" : "off"}`,
      tone: "done",
      undo: () => turn(alert, !enabled),
    };
  });
}

export async function tune(alert: Alert, before: Threshold, change: Change): Promise<Toast> {
  await api.setThresholds(alert.rule, change);
  const { warning, critical, for_sec, cooldown_sec } = before;
  const back = async (): Promise<Toast> => {
    await api.setThresholds(alert.rule, known({ warning, critical, for_sec, cooldown_sec }));
    return { text: `${alert.title} fires as before`, tone: "done" };
  };
  return { text: `${alert.title}: changed from the next check on`, tone: "done", undo: () => void just(back) };
}

/** A rule without a threshold of a kind can't be given one. */
function known(change: Change): Change {
  return Object.fromEntries(Object.entries(change).filter(([, value]) => value !== null));
}
