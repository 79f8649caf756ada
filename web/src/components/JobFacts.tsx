import { chargeOf, durationOf, personOf, timeOf } from "../models/format";
import { commandOf, visible, type Job } from "../models/job";
import { Card } from "./Card";
import { Fact } from "./Fact";

const SHOWN_MAX = 20_000;

/** What a job is, and what it asks for. */
export function JobFacts({ job }: { job: Job }) {
  return (
    <Card title="What it is" id="facts">
      <dl class="facts">
        <Fact name="Holder">
          <a class="link" href={`/queue?holder=${encodeURIComponent(job.holder)}`}>
            <bdi>{personOf(job.holder)}</bdi>
          </a>
        </Fact>
        <Fact name="Type">{visible(job.job_type)}</Fact>
        <Fact name="Priority">{job.priority.toLowerCase()}</Fact>
        <Fact name="Charge">{chargeOf(job.charge ?? {}, job.gang)}</Fact>
        <Fact name="Starts">{startOf(job)}</Fact>
        <Fact name="Not before">{timed(job.earliest_start_at)}</Fact>
        <Fact name="To be done by">{timed(job.deadline_at)}</Fact>
        <Fact name="Expected">{job.expected_duration_sec ? durationOf(job.expected_duration_sec * 1000) : ""}</Fact>
        <Fact name="At most">{job.max_runtime_sec ? durationOf(job.max_runtime_sec * 1000) : ""}</Fact>
        <Fact name="Attempts">{attemptsOf(job)}</Fact>
        <Fact name="Needs">{(job.needs ?? []).join(", ")}</Fact>
        <Fact name="Group">
          {job.group && (
            <a class="link" href={`/queue?group=${encodeURIComponent(job.group)}`}>
              <bdi>{visible(job.group)}</bdi>
            </a>
          )}
          {job.index ? ` no. ${job.index}` : ""}
        </Fact>
        <Fact name="Labels">
          {Object.entries(job.labels ?? {}).map(([name, value]) => (
            <a class="tag" key={name} href={`/queue?label=${encodeURIComponent(`${name}=${value}`)}`}>
              {visible(value ? `${name}=${value}` : name)}
            </a>
          ))}
        </Fact>
        <Fact name="Comes after">{links(job.after)}</Fact>
        <Fact name="Worker">{visible(job.worker_id ?? "")}</Fact>
        <Fact name="Lease">
          {job.lease_id && (
            <a class="link id" href={`/leases?id=${job.lease_id}`}>
              {job.lease_id}
            </a>
          )}
        </Fact>
        <Fact name="Id">
          <code>{job.job_id}</code>
        </Fact>
      </dl>
      <Command job={job} />
      <Data title="Payload" of={job.payload} />
      <Data title="Result" of={job.result} />
    </Card>
  );
}

function Command({ job }: { job: Job }) {
  if (!job.command?.length) return null;
  return (
    <>
      <h3>Command</h3>
      <pre class="block" tabIndex={0}>
        {bounded(visible(commandOf(job)))}
      </pre>
      <p class="fine">
        in <code>{visible(job.cwd ?? "")}</code>
      </p>
    </>
  );
}

function Data({ title, of }: { title: string; of: unknown }) {
  if (of === undefined || of === null || JSON.stringify(of) === "{}") return null;
  return (
    <>
      <h3>{title}</h3>
      <pre class="block" tabIndex={0}>
        {bounded(visible(JSON.stringify(of, null, 2)))}
      </pre>
    </>
  );
}

function bounded(text: string): string {
  if (text.length <= SHOWN_MAX) return text;
  return `${text.slice(0, SHOWN_MAX)}\n… and ${(text.length - SHOWN_MAX).toLocaleString()} more characters`;
}

const STARTS: Record<string, string> = {
  quiet: "when it is quiet",
  now: "as soon as there is room",
  window: "in a window that the owner allows",
};

function startOf(job: Job): string {
  return STARTS[job.start] ?? job.start;
}

function attemptsOf(job: Job): string {
  const most = job.max_attempts ?? 1;
  return job.attempts || most > 1 ? `${job.attempts ?? 0} of ${most}` : "";
}

function timed(at: string | undefined): string {
  return at ? timeOf(Date.parse(at)) : "";
}

export function links(ids: string[] | undefined) {
  return (ids ?? []).map((id) => (
    <a class="link id" key={id} href={`/jobs/${id}`}>
      {id}
    </a>
  ));
}
