import { Card } from "../components/Card";
import { ICONS } from "../components/Decisions";
import { Find } from "../components/Find";
import { Icon } from "../components/Icon";
import { Tabs } from "../components/Tabs";
import { told } from "../models/decision";
import { dayOf, personOf, secondOf } from "../models/format";
import { visible } from "../models/job";
import { queried, search } from "../router";
import { NEWEST, page, type EventOut } from "../services/events";
import { ofEvents, useLive } from "../state/live";

const TOPICS: [label: string, value: string][] = [
  ["All", ""],
  ["Leases", "leases"],
  ["Jobs", "jobs"],
  ["Schedules", "schedules"],
  ["Owner", "nodes"],
  ["Add-ons", "addons"],
  ["Alerts", "alerts"],
  ["Tokens", "tokens"],
];

/** All that happened, the newest first: by topic, by a text, page by page. */
export function Events() {
  const query = new URLSearchParams(search.value);
  const before = Number(query.get("before")) || NEWEST;
  const topic = query.get("topic") ?? "";
  const text = query.get("text") ?? "";
  const { data, fresh, failed } = useLive(search.value, () => page(before, topic, text), { on: ofEvents });
  const events = data?.events ?? [];
  return (
    <>
      <h1 class="page-title">Events</h1>
      <Card title="What happened" id="events">
        <Tabs name="topic" label="Topic" options={TOPICS} />
        <Find label="Text in a kind, a subject, who did it, or the details" />
        {data === null && (
          <p class="empty" role={failed ? "alert" : undefined}>
            {failed?.message ?? "…"}
          </p>
        )}
        {data !== null && events.length === 0 && (
          <p class="empty">{data.next ? "None of those that were looked at matches. There are older ones." : "Nothing matches."}</p>
        )}
        {days(events).map(([day, ofDay]) => (
          <section key={day} aria-label={day}>
            <h3 class="day">{day}</h3>
            <ol class="rows events" aria-busy={!fresh}>
              {ofDay.map((event) => (
                <Row key={event.seq} event={event} />
              ))}
            </ol>
          </section>
        ))}
        <nav class="pages" aria-label="Pages">
          {before !== NEWEST && (
            <a class="button small" href={queried({ before: "" })}>
              To the newest
            </a>
          )}
          {data?.next && (
            <a class="button small" href={queried({ before: data.next })}>
              Older ones
            </a>
          )}
        </nav>
      </Card>
    </>
  );
}

function days(events: EventOut[]): [string, EventOut[]][] {
  const found = new Map<string, EventOut[]>();
  for (const event of events) {
    const day = dayOf(Date.parse(event.at));
    found.set(day, [...(found.get(day) ?? []), event]);
  }
  return [...found];
}

function Row({ event }: { event: EventOut }) {
  const said = told(decisionOf(event)) ?? { tone: "other" as const, sentence: plain(event), detail: "" };
  const at = Date.parse(event.at);
  return (
    <li class="row">
      <span class={`tone tone-${said.tone}`}>
        <Icon name={ICONS[said.tone]} size={16} />
      </span>
      <span class="row-main">
        <details class="event">
          <summary class="row-what">{visible(said.sentence)}</summary>
          <pre class="block" tabIndex={0}>
            {visible(JSON.stringify({ ...event, label: undefined }, null, 2))}
          </pre>
        </details>
        <span class="row-why">
          {said.detail && <span class="event-detail">{visible(said.detail)}</span>}
          <Subject event={event} />
        </span>
      </span>
      <time class="row-time" dateTime={event.at}>
        {secondOf(at)}
      </time>
    </li>
  );
}

/** What it is about: a link, where that has a page of its own. */
function Subject({ event: { subject } }: { event: EventOut }) {
  const to = subject.startsWith("job-") ? `/jobs/${subject}` : subject.startsWith("lease-") ? `/leases?id=${subject}` : "";
  if (!to) return <span class="id">{visible(subject)}</span>;
  return (
    <a class="link id" href={to}>
      {subject}
    </a>
  );
}

function plain(event: EventOut): string {
  const who = event.label || personOf(String(event.details?.holder ?? event.subject));
  if (event.kind === "LeaseActivated") return `${who} took up its lease`;
  if (event.kind === "LeaseHeardAgain") return `${who} was heard again`;
  return `${event.kind} ${who}`;
}

/** An event as the overview has it. */
function decisionOf(event: EventOut) {
  const details = event.details ?? {};
  const said = ["reason", "note", "charged", "error", "why"].map((name) => details[name]).find(Boolean);
  return {
    seq: event.seq,
    kind: event.kind,
    at_ms: Date.parse(event.at),
    subject: event.subject,
    holder: String(details.holder ?? ""),
    job_type: String(details.job_type ?? ""),
    units: Number(details.units ?? 0),
    ran_ms: typeof details.ran_ms === "number" ? details.ran_ms : null,
    reason: String(said ?? ""),
    by: event.actor ?? "",
    until_ms: Number(details.until_ms ?? 0),
    label: event.label ?? "",
  };
}
