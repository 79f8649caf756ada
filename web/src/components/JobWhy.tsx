import { now } from "../state/clock";
import { durationOf, readable } from "../models/format";
import { anywayOf, type Job } from "../models/job";
import { Card } from "./Card";
import { JobEstimate } from "./JobEstimate";
import { links } from "./JobFacts";

/** A sentence whose jobs are links. */
function Linked({ text }: { text: string }) {
  const parts = text.split(/(\bjob-[0-9a-z]{4,32}\b)/);
  return <>{parts.map((part, index) => (index % 2 ? links([part]) : part))}</>;
}

/** Why it does not run: each reason, what would change it, and when it starts anyway. */
export function JobWhy({ job }: { job: Job }) {
  if (job.state !== "QUEUED" && job.state !== "HELD") return null;
  const since = now.value - Date.parse(job.submitted_at);
  const place = job.position ? `place ${job.position}` : undefined;
  return (
    <Card title={job.state === "HELD" ? "Why it does not start" : "Why it waits"} id="why" aside={place}>
      <ul class="whys">
        {(job.reasons ?? []).map((reason) => (
          <li key={reason.code + reason.sentence}>
            <span>
              <Linked text={readable(reason.sentence)} />.
            </span>
            {reason.cure && <span class="row-why">What changes that: {reason.cure}</span>}
          </li>
        ))}
        {!job.reasons?.length && <li>It is about to start.</li>}
      </ul>
      {(job.waits_for ?? []).length > 1 && <p class="whys-after">All that it waits for: {links(job.waits_for)}</p>}
      <JobEstimate job={job} />
      <p class="fine">
        Submitted {durationOf(since)} ago. {job.state === "QUEUED" && anywayOf(job, now.value)}
      </p>
    </Card>
  );
}
