import { useEffect, useState } from "preact/hooks";
import { durationOf } from "../models/format";
import type { Job } from "../models/job";
import { call } from "../services/api";

const EVERY_MS = 15_000; // Each answer is worked out by running everything forward: no oftener than needed.
const SOON_S = 1.5;
const ENOUGH = 10; // So many have to have been scored before their share says anything.

interface Estimate {
  p50_sec?: number;
  p90_sec?: number;
  after_quiet?: boolean;
  note?: string;
  hit_rate?: { scored: number; p90_pct?: number };
}

/** When a job that waits will start, and how far to trust that. Nothing until it is known. */
export function JobEstimate({ job }: { job: Job }) {
  const [estimate, setEstimate] = useState<Estimate | null>(null);
  useEffect(() => {
    let over = false;
    const load = async (): Promise<void> => {
      if (document.hidden) return;
      const path = `/api/scheduler/queue/jobs/${encodeURIComponent(job.job_id)}/explain`;
      const found = await call<{ estimate?: Estimate }>("GET", path).catch(() => null);
      if (!over) setEstimate(found?.estimate ?? null);
    };
    void load();
    const timer = setInterval(() => void load(), EVERY_MS);
    return () => {
      over = true;
      clearInterval(timer);
    };
  }, [job.job_id, job.state, job.position]);
  return estimate && <p class="fine">{sentence(estimate)}</p>;
}

function sentence(found: Estimate): string {
  if (found.p50_sec === undefined || found.p90_sec === undefined) {
    return `When it will start is not known: ${found.note}.`;
  }
  if (found.p90_sec < SOON_S && !found.after_quiet) return "It should start at once.";
  const first = found.after_quiet ? "Once the machine is quiet expected" : "Expected";
  const times = [found.p50_sec, found.p90_sec].map((seconds) => durationOf(seconds * 1000));
  return `${first} to start in ${times[0]}, nine times in ten within ${times[1]}.${trust(found)}`;
}

function trust({ hit_rate: hits }: Estimate): string {
  if (!hits || hits.scored < ENOUGH || hits.p90_pct === undefined) return "";
  return ` Of the last ${hits.scored} such estimates ${Math.round(hits.p90_pct)} % were kept.`;
}
