// Calls about the rhythm of the week: the shapes of src/leasehold/wire/forecast.py.
import { Refused, call } from "./api";

export type Confidence = "unsure" | "fair" | "sure";

export interface HeatCell {
  probability: number;
  known_hours: number;
  confidence: Confidence;
}

export interface Heatmap {
  zone: string;
  computed_at: string;
  confidence: Confidence;
  note: string;
  overall: number;
  known_days: number;
  half_life_days: number;
  quiet_from: number;
  days: { day: string; hours: HeatCell[] }[];
}

export interface ForecastWindow {
  start: string;
  end: string;
  duration_sec: number;
  probability: number;
  lowest: number;
  confidence: Confidence;
}

export interface Brier {
  forecast: number;
  overall_mean: number;
  hour_of_day: number;
  last_week: number;
}

export interface ForecastScore {
  days: number;
  hindsight_days: number;
  known_hours: number;
  brier: Brier;
  skill: number;
  beats: string[];
}

export interface Forecast {
  zone: string;
  confidence: Confidence;
  note: string;
  windows: ForecastWindow[];
  quiet: ForecastWindow[];
  hours: { start: string; probability: number; confidence: Confidence }[];
  score: ForecastScore | null;
}

export interface Scores {
  zone: string;
  score: ForecastScore | null;
  days: { day: string; hindsight: boolean; hours: { start: string; forecast: number; actual: number | null }[] }[];
}

const STATS = "/api/system-stats";

export function heatmap(): Promise<Heatmap | null> {
  return whereKnown(call("GET", `${STATS}/heatmap`));
}

export function forecast(duration = "2h", within = "48h"): Promise<Forecast | null> {
  return whereKnown(call("GET", `${STATS}/forecast?duration=${duration}&within=${within}`));
}

export function scores(range: string): Promise<Scores | null> {
  return whereKnown(call("GET", `${STATS}/forecast/scores?range=${range}`));
}

/** Null where this server knows no forecast. */
async function whereKnown<Answer>(asked: Promise<Answer>): Promise<Answer | null> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof Refused && error.status === 404) return null;
    throw error;
  }
}
