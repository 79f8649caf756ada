// What people do to schedules.
import * as api from "../services/schedules";
import type { Schedule } from "../services/schedules";
import { confirming, just } from "./confirm";

export function pause(schedule: Schedule): void {
  void just(async () => {
    await api.act(schedule.schedule_id, "pause");
    return { text: `${schedule.name} is paused`, tone: "done", undo: () => resume(schedule) };
  });
}

export function resume(schedule: Schedule): void {
  void just(async () => {
    await api.act(schedule.schedule_id, "resume");
    return { text: `${schedule.name} goes on`, tone: "done", undo: () => pause(schedule) };
  });
}

export function runNow(schedule: Schedule): void {
  void just(async () => {
    await api.act(schedule.schedule_id, "run");
    return { text: `${schedule.name} was submitted`, tone: "done" };
  });
}

export function remove(schedule: Schedule): void {
  confirming.value = {
    title: `Remove the schedule “${schedule.name}”?`,
    follows:
      "It submits nothing any more, and what came of its runs is forgotten. Jobs that it has submitted go on. This can't be undone; a pause can.",
    yes: "Remove",
    run: async () => {
      await api.remove(schedule.schedule_id);
      return { text: `${schedule.name} was removed`, tone: "done" };
    },
  };
}
