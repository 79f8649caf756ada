import { useEffect } from "preact/hooks";
import { Bar } from "../components/Bar";
import { Card } from "../components/Card";
import { JobActions } from "../components/JobActions";
import { JobBadge } from "../components/JobBadge";
import { JobDialog } from "../components/JobDialog";
import { JobFacts } from "../components/JobFacts";
import { JobHistory, usageOf } from "../components/JobHistory";
import { JobWhy } from "../components/JobWhy";
import { LogView } from "../components/LogView";
import { durationOf, personOf, readable } from "../models/format";
import { endOf, isAtWork, isOver, ranOf, sinceOf, titleOf, visible, type Job as Shown } from "../models/job";
import { one } from "../services/jobs";
import { now } from "../state/clock";
import { useLive } from "../state/live";

/** One job: what it is, where it stands and why, what it writes, and what can be done about it. */
export function Job({ id }: { id: string }) {
  const { data, fresh, failed } = useLive<Shown>(id, () => one(id));
  const job = fresh ? data : null;
  return (
    <>
      <nav class="crumbs" aria-label="Where this is">
        <a class="link" href="/queue">
          Queue
        </a>
      </nav>
      {job === null ? <Unknown id={id} why={fresh ? failed?.message : undefined} /> : <Whole job={job} />}
      <JobDialog />
    </>
  );
}

function Unknown({ id, why }: { id: string; why: string | undefined }) {
  return (
    <Card title={id} id="job">
      <p class="empty" role={why ? "alert" : undefined}>
        {why ?? "…"}
      </p>
    </Card>
  );
}

function Whole({ job }: { job: Shown }) {
  const title = titleOf(job);
  useEffect(() => {
    document.title = `${title} · Leasehold`;
  }, [title]);
  return (
    <>
      <section class="card hero" aria-labelledby="job">
        <div class="job-head">
          <h1 id="job">
            <bdi>{title}</bdi>
          </h1>
          <JobBadge state={job.state} />
        </div>
        <p class="because">{told(job)}</p>
        <Progress job={job} />
        <JobActions job={job} />
      </section>
      <div class="columns">
        <div class="column">
          <JobWhy job={job} />
          <LogView job={job} />
          <JobHistory job={job} />
        </div>
        <div class="column">
          <JobFacts job={job} />
        </div>
      </div>
    </>
  );
}

/** Where it stands, in one sentence. */
function told(job: Shown): string {
  const who = personOf(job.holder);
  const since = durationOf(now.value - sinceOf(job));
  if (isOver(job)) {
    const end = endOf(job);
    const ran = ranOf(job);
    return `Ended ${since} ago${ran ? `, after running ${ran}` : ""}${end ? `: ${end}` : ""}.`;
  }
  if (job.cancel_requested) return `It has been asked to stop, and gets its grace.`;
  if (isAtWork(job)) {
    const message = job.message ? `: ${visible(job.message)}` : "";
    return `It has been running for ${since}, for ${who}${message}.`;
  }
  return `${readable(job.reason || "It is about to start")}.`;
}

function Progress({ job }: { job: Shown }) {
  const used = usageOf(job.usage);
  return (
    <>
      {job.progress !== undefined && isAtWork(job) && (
        <p>
          <Bar percent={job.progress * 100} />
          <span class="fine">{Math.round(job.progress * 100)} % done</span>
        </p>
      )}
      {used && <p class="fine">It took {used}.</p>}
    </>
  );
}
