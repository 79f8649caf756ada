import { now } from "../state/clock";
import { durationOf, personOf, timeOf } from "../models/format";
import { isAtWork, isOver, membersOf, ranOf, sinceOf, sizeOf, storyOf, titleOf, visible, type Job } from "../models/job";
import { queried } from "../router";
import { JobBadge } from "./JobBadge";

/** One job of the list; of a folded group its newest, and how many there are. */
export function JobRow({ job, picked, onPick }: { job: Job; picked: boolean; onPick: (() => void) | null }) {
  const title = titleOf(job);
  const story = storyOf(job);
  return (
    <li class={`row job ${picked ? "picked" : ""}`} data-id={job.job_id}>
      {onPick !== null && (
        <label class="pick">
          <input type="checkbox" checked={picked} onChange={onPick} />
          <span class="only-read">Choose {title}</span>
        </label>
      )}
      <span class="row-main">
        <a class="row-what job-link" href={`/jobs/${job.job_id}`} title={title}>
          <bdi>{title}</bdi>
        </a>
        <span class="row-who">
          <bdi>{personOf(job.holder)}</bdi>
          <Tags job={job} />
        </span>
        {story && <span class="row-why">{story}</span>}
        <Members job={job} />
      </span>
      <span class="row-figures">
        <JobBadge state={job.state} />
        <Since job={job} />
      </span>
    </li>
  );
}

function Tags({ job }: { job: Job }) {
  const tags = [
    ...(job.priority === "NORMAL" ? [] : [job.priority.toLowerCase()]),
    ...(job.index ? [`no. ${job.index}`] : []),
    ...((job.gang ?? 1) > 1 ? [`${job.gang} at once`] : []),
    ...Object.entries(job.labels ?? {}).map(([name, value]) => (value ? `${name}=${value}` : name)),
  ];
  return (
    <>
      {tags.slice(0, 6).map((tag) => (
        <span class="tag" key={tag}>
          {visible(tag)}
        </span>
      ))}
    </>
  );
}

function Members({ job }: { job: Job }) {
  if (!job.group) return null;
  const size = sizeOf(job.members);
  return (
    <span class="row-why">
      Group{" "}
      <a class="link" href={queried({ group: job.group })}>
        <bdi>{visible(job.group)}</bdi>
      </a>
      {size > 0 && `: ${membersOf(job.members ?? {})}`}
    </span>
  );
}

function Since({ job }: { job: Job }) {
  const since = sinceOf(job);
  if (isOver(job)) {
    const ran = ranOf(job);
    return (
      <time class="row-time" dateTime={new Date(since).toISOString()}>
        {timeOf(since)}
        {ran && `, ran ${ran}`}
      </time>
    );
  }
  const place = job.position ? `place ${job.position}, ` : "";
  return (
    <span class="row-time">
      {isAtWork(job) ? "runs " : `${place}waits `}
      {durationOf(now.value - since)}
    </span>
  );
}
