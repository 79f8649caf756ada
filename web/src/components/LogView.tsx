import { useEffect, useRef, useState } from "preact/hooks";
import { isOver, type Job } from "../models/job";
import { bytes } from "../services/jobs";
import { follow, whole } from "../services/logs";
import { may, me } from "../state/connection";
import { tell } from "../state/toast";
import { Card } from "./Card";
import { Icon } from "./Icon";
import { LINES_MAX, LogPane } from "./logpane";

/** What a command writes, as it writes it. */
export function LogView({ job }: { job: Job }) {
  const last = job.generation ?? 0;
  const [chosen, setChosen] = useState(0);
  const attempt = chosen || last;
  if (!job.is_command) return null;
  const mine = job.submitter === me.value?.name || may("job:manage");
  if (!mine || !may("job:submit")) {
    return <Said>Its output is for who submitted it, and for operators.</Said>;
  }
  if (!last) return <Said>It has not started yet; what it writes will stand here.</Said>;
  return (
    <Card title="Output" id="output" aside={<Attempts job={job} attempt={attempt} choose={setChosen} />}>
      <Pane key={`${job.job_id} ${attempt}`} job={job} attempt={attempt} />
    </Card>
  );
}

function Said({ children }: { children: string }) {
  return (
    <Card title="Output" id="output">
      <p class="empty">{children}</p>
    </Card>
  );
}

function Attempts({ job, attempt, choose }: { job: Job; attempt: number; choose: (attempt: number) => void }) {
  const past = (job.history ?? []).map((one) => one.generation);
  const all = [...new Set([...past, job.generation ?? 0])].sort((one, other) => one - other);
  if (all.length < 2) return null;
  return (
    <label class="attempt-choice">
      Run{" "}
      <select value={attempt} onChange={(event) => choose(Number(event.currentTarget.value))}>
        {all.map((one) => (
          <option key={one} value={one}>
            {one}
          </option>
        ))}
      </select>
    </label>
  );
}

type Following = "follows" | "over" | "failed";

function Pane({ job, attempt }: { job: Job; attempt: number }) {
  const box = useRef<HTMLPreElement>(null);
  const [state, setState] = useState<Following>("follows");
  const [why, setWhy] = useState("");
  const [isCut, setCut] = useState(false);
  const [isEmpty, setEmpty] = useState(true);
  const [atEnd, setAtEnd] = useState(true);
  const sticks = useRef(true);
  const lives = useRef(true);
  lives.current = !isOver(job);
  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const pane = new LogPane(element, () => setCut(true));
    const stop = new AbortController();
    void follow(job.job_id, attempt, stop.signal, {
      lives: () => lives.current,
      take: (page) => {
        setState("follows");
        if (page.dropped_bytes) setCut(true);
        if (page.chunks.length === 0) return;
        if ((page.chunks[0]?.offset ?? 0) > 0 && element.childElementCount === 0) setCut(true);
        for (const chunk of page.chunks) pane.add(chunk.stream, bytes(chunk.data));
        setEmpty(false);
        if (sticks.current) element.scrollTop = element.scrollHeight;
      },
      over: () => setState("over"),
      failed: (said) => (setState("failed"), setWhy(said)),
    });
    return () => stop.abort();
  }, []);
  const scrolled = () => {
    const element = box.current;
    if (element === null) return;
    sticks.current = element.scrollHeight - element.scrollTop - element.clientHeight < 24;
    setAtEnd(sticks.current);
  };
  const toEnd = () => {
    const element = box.current;
    if (element !== null) element.scrollTop = element.scrollHeight;
  };
  return (
    <>
      {isCut && <p class="fine">Only its last {LINES_MAX.toLocaleString()} lines are shown. Download it for the others.</p>}
      <pre class="log" ref={box} tabIndex={0} role="log" aria-label="Output" aria-live="off" onScroll={scrolled} />
      <div class="log-end">
        <span class="fine" role="status">
          {said(state, why, isEmpty, job)}
        </span>
        {!atEnd && (
          <button class="button small" type="button" onClick={toEnd}>
            <Icon name="down" size={16} />
            To the end
          </button>
        )}
        <button class="button small" type="button" disabled={isEmpty} onClick={() => void download(job, attempt)}>
          <Icon name="down" size={16} />
          Download
        </button>
      </div>
    </>
  );
}

function said(state: Following, why: string, isEmpty: boolean, job: Job): string {
  if (state === "failed") return why;
  if (state === "over") return isEmpty ? "It has written nothing." : "This is the end.";
  return isEmpty ? (isOver(job) ? "…" : "Nothing yet.") : "Follows what it writes.";
}

async function download(job: Job, attempt: number): Promise<void> {
  try {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await whole(job.job_id, attempt));
    link.download = `${job.job_id}-${attempt}.log`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  } catch (error) {
    tell({ text: (error as Error).message, tone: "failed" });
  }
}
