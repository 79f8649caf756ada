import { useEffect, useState } from "preact/hooks";
import { BulkBar } from "../components/BulkBar";
import { Card } from "../components/Card";
import { Filters } from "../components/Filters";
import { JobDialog } from "../components/JobDialog";
import { JobRow } from "../components/JobRow";
import { QueueFigures } from "../components/QueueFigures";
import type { Job } from "../models/job";
import { queried, search } from "../router";
import { list, type Filter } from "../services/jobs";
import { connection, may } from "../state/connection";
import { useLive } from "../state/live";

/** The list of jobs: filtered by the address, a page at a time, groups folded, some or all chosen. */
export function Queue() {
  const filter = filterOf(search.value);
  const { data, fresh, failed } = useLive(search.value, () => list(filter));
  const [picked, setPicked] = useState<Map<string, Job>>(new Map());
  useEffect(() => setPicked(new Map()), [search.value]);
  const pick = (job: Job) => {
    const next = new Map(picked);
    if (!next.delete(job.job_id)) next.set(job.job_id, job);
    setPicked(next);
  };
  const rows = data?.jobs ?? [];
  const all = rows.length > 0 && rows.every((job) => picked.has(job.job_id));
  const acts = may("job:submit");
  return (
    <>
      <h1 class="page-title">Queue</h1>
      <QueueFigures />
      <Card title="Jobs" id="jobs">
        <Filters filter={filter} />
        {acts && rows.length > 0 && (
          <label class="pick pick-all">
            <input
              type="checkbox"
              checked={all}
              onChange={() => setPicked(new Map(all ? [] : rows.map((job) => [job.job_id, job])))}
            />
            <span>All on this page</span>
          </label>
        )}
        {failed !== null && connection.value === "live" && (
          <p class="banner banner-bad" role="alert">
            {failed.message}
          </p>
        )}
        <ul class="rows jobs" aria-busy={!fresh} aria-label="Jobs" onKeyDown={byKeys}>
          {rows.map((job) => (
            <JobRow
              key={job.job_id}
              job={job}
              picked={picked.has(job.job_id)}
              onPick={acts ? () => pick(job) : null}
            />
          ))}
        </ul>
        {data !== null && rows.length === 0 && <p class="empty">{nothing(filter, data.cursor)}</p>}
        <Pages cursor={data?.cursor} begun={filter.cursor !== undefined} />
      </Card>
      <BulkBar picked={[...picked.values()]} filter={filter} all={all && data?.cursor !== undefined} clear={() => setPicked(new Map())} />
      <JobDialog />
    </>
  );
}

const FIELDS = ["state", "holder", "label", "group", "job_type", "text", "cursor"] as const;

function filterOf(text: string): Filter {
  const query = new URLSearchParams(text);
  const found: Filter = {};
  for (const name of FIELDS) {
    const value = query.get(name);
    if (value) found[name] = value;
  }
  if (!found.group) found.fold = "true";
  return found;
}

function nothing(filter: Filter, cursor: string | undefined): string {
  if (cursor) return "None of those that were looked at matches. There are more: look further.";
  const plain = FIELDS.every((name) => !filter[name]);
  return plain ? "No job was submitted yet. `leasehold submit -- make test` queues one." : "No job matches.";
}

function Pages({ cursor, begun }: { cursor: string | undefined; begun: boolean }) {
  if (!cursor && !begun) return null;
  return (
    <nav class="pages" aria-label="Pages">
      {begun && (
        <a class="button small" href={queried({ cursor: "" })}>
          To the newest
        </a>
      )}
      {cursor && (
        <a class="button small" href={queried({ cursor })}>
          Older ones
        </a>
      )}
    </nav>
  );
}

/** In the list: arrows, j and k go from job to job, x chooses one. */
function byKeys(event: KeyboardEvent): void {
  const row = (event.target as Element).closest("li");
  if (row === null || event.ctrlKey || event.metaKey || event.altKey) return;
  const steps: Record<string, Element | null> = {
    ArrowDown: row.nextElementSibling,
    j: row.nextElementSibling,
    ArrowUp: row.previousElementSibling,
    k: row.previousElementSibling,
  };
  if (event.key in steps) {
    event.preventDefault();
    steps[event.key]?.querySelector<HTMLElement>(".job-link")?.focus();
  } else if (event.key === "x") {
    row.querySelector<HTMLInputElement>("input")?.click();
  }
}

