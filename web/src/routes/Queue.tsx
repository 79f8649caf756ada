import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { BulkBar } from "../components/BulkBar";
import { Card } from "../components/Card";
import { Filters } from "../components/Filters";
import { JobDialog } from "../components/JobDialog";
import { JobPiece } from "../components/JobPiece";
import { QueueFigures } from "../components/QueueFigures";
import type { Job } from "../models/job";
import { search } from "../router";
import { list, type Filter } from "../services/jobs";
import { connection, may } from "../state/connection";
import { usePieces, type Piece } from "../state/pieces";

/** The list of jobs: filtered by the address, longer as one scrolls, groups folded, some or all chosen. */
export function Queue() {
  const filter = filterOf(search.value);
  const { pieces, of, fresh, failed, more, near } = usePieces(search.value, (from) => list(filter, from));
  const [picked, setPicked] = useState<Map<string, Job>>(new Map());
  useEffect(() => setPicked(new Map()), [search.value]);
  const pick = (job: Job) => {
    const next = new Map(picked);
    if (!next.delete(job.job_id)) next.set(job.job_id, job);
    setPicked(next);
  };
  const parts = useMemo(() => eachOnce(pieces), [pieces]);
  const rows = useMemo(() => parts.flat(), [parts]);
  const all = rows.length > 0 && picked.size >= rows.length && rows.every((job) => picked.has(job.job_id));
  const acts = may("job:submit");
  const next = pieces.at(-1)?.next;
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
            <span>All that are shown</span>
          </label>
        )}
        {failed !== null && connection.value === "live" && (
          <p class="banner banner-bad" role="alert">
            {failed.message}
          </p>
        )}
        <div class="pieces" aria-busy={!fresh} onKeyDown={byKeys}>
          {pieces.map((piece, index) => (
            <JobPiece
              key={`${of} ${piece.from}`}
              piece={piece}
              index={index}
              jobs={parts[index] ?? []}
              picked={picked}
              pick={acts ? pick : null}
              near={near}
            />
          ))}
        </div>
        {fresh && rows.length === 0 && <p class="empty">{nothing(filter, next)}</p>}
        <End key={next} more={next ? more : null} auto={rows.length > 0} begun={pieces.length > 1} />
      </Card>
      <BulkBar picked={[...picked.values()]} filter={filter} all={all && next !== undefined} clear={() => setPicked(new Map())} />
      <JobDialog />
    </>
  );
}

const FIELDS = ["state", "holder", "label", "group", "job_type", "text"] as const;

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

/** The rows of each piece; a job that moved from one into another stands in the first alone. */
function eachOnce(pieces: Piece[]): Job[][] {
  const seen = new Set<string>();
  return pieces.map(({ jobs }) => {
    const fresh = jobs.filter(({ job_id }) => !seen.has(job_id) && seen.add(job_id));
    return fresh.length === jobs.length ? jobs : fresh;
  });
}

function nothing(filter: Filter, next: string | undefined): string {
  if (next) return "None of those that were looked at matches. There are more: look further.";
  const plain = FIELDS.every((name) => !filter[name]);
  return plain ? "No job was submitted yet. `leasehold submit -- make test` queues one." : "No job matches.";
}

/** Where what is loaded ends: in sight it loads what follows, and so does its button. */
function End({ more, auto, begun }: { more: (() => void) | null; auto: boolean; begun: boolean }) {
  const box = useRef<HTMLElement>(null);
  useEffect(() => {
    const element = box.current;
    if (element === null || more === null || !auto) return;
    const seen = new IntersectionObserver((entries) => entries.some((one) => one.isIntersecting) && more(), {
      rootMargin: "100% 0px",
    });
    seen.observe(element);
    return () => seen.disconnect();
  }, [more === null, auto]);
  if (more === null && !begun) return null;
  return (
    <nav class="pages" aria-label="More jobs" ref={box}>
      {begun && (
        <button class="button small" type="button" onClick={() => scrollTo(0, 0)}>
          To the newest
        </button>
      )}
      {more !== null && (
        <button class="button small" type="button" onClick={more}>
          Older ones
        </button>
      )}
    </nav>
  );
}

/** In the list: arrows, j and k go from job to job, x chooses one. */
function byKeys(event: KeyboardEvent): void {
  const row = (event.target as Element).closest("li");
  if (row === null || event.ctrlKey || event.metaKey || event.altKey) return;
  const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
  if (step !== undefined) {
    event.preventDefault();
    const rows = [...document.querySelectorAll(".row.job")];
    rows[rows.indexOf(row) + step]?.querySelector<HTMLElement>(".job-link")?.focus();
  } else if (event.key === "x") {
    row.querySelector<HTMLInputElement>("input")?.click();
  }
}
