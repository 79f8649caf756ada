import { decisions, denials } from "../state/dashboard";
import { told, type Tone } from "../models/decision";
import { counted, personOf, readable, secondOf } from "../models/format";
import { visible } from "../models/job";
import type { Denial } from "../models/dashboard";
import { Card, Empty } from "./Card";
import { Icon, type IconName } from "./Icon";

const SHOWN = 14;
export const ICONS: Record<Tone, IconName> = {
  start: "play",
  end: "stop",
  lost: "lost",
  held: "pause",
  word: "word",
  other: "other",
};

interface Entry {
  key: string;
  at: number;
  icon: IconName;
  tone: string;
  sentence: string;
  detail: string;
  job?: string;
}

/** What was decided lately, the newest first: grants, ends, refusals, and what the owner said. */
export function Decisions() {
  const entries = [...happened(), ...denials.value.map(denied)]
    .sort((one, other) => other.at - one.at)
    .slice(0, SHOWN);
  const all = (
    <a class="link" href="/events">
      All events
    </a>
  );
  return (
    <Card title="Recent decisions" id="decisions" aside={all}>
      {entries.length === 0 && <Empty>Nothing has been decided yet.</Empty>}
      <ol class="rows decisions">
        {entries.map((entry) => (
          <Row key={entry.key} entry={entry} />
        ))}
      </ol>
    </Card>
  );
}

function happened(): Entry[] {
  const entries: Entry[] = [];
  for (const event of decisions.value) {
    const said = told(event);
    if (said === null) continue;
    const { tone, sentence, detail } = said;
    const job = event.subject.startsWith("job-") ? { job: event.subject } : {};
    entries.push({ key: `${event.seq}`, at: event.at_ms, icon: ICONS[tone], tone, sentence: visible(sentence), detail: visible(detail), ...job });
  }
  return entries;
}

function denied(row: Denial): Entry {
  const times = row.count > 1 ? ` (${counted(row.count, "time")})` : "";
  return {
    key: `${row.holder} ${row.code}`,
    at: row.at_ms,
    icon: "no",
    tone: "denied",
    sentence: `${visible(personOf(row.holder))} was told to wait${times}`,
    detail: readable(visible(row.reason ?? "")),
  };
}

function Row({ entry }: { entry: Entry }) {
  return (
    <li class="row">
      <span class={`tone tone-${entry.tone}`}>
        <Icon name={entry.icon} size={16} />
      </span>
      <span class="row-main">
        {entry.job ? (
          <a class="row-what job-link" href={`/jobs/${entry.job}`}>
            {entry.sentence}
          </a>
        ) : (
          <span class="row-what">{entry.sentence}</span>
        )}
        {entry.detail && <span class="row-why">{entry.detail}</span>}
      </span>
      <time class="row-time" dateTime={new Date(entry.at).toISOString()}>
        {secondOf(entry.at)}
      </time>
    </li>
  );
}
