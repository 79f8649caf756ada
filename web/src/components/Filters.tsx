import { queue } from "../state/dashboard";
import { AT_WORK, type JobState } from "../models/job";
import { go, queried } from "../router";
import type { Filter } from "../services/jobs";
import { Icon } from "./Icon";
import { countOf, grouped } from "./QueueLine";

const TABS: [name: string, states: JobState[], counted: boolean][] = [
  ["All", [], false],
  ["Running", AT_WORK, true],
  ["Waiting", ["QUEUED"], true],
  ["Held", ["HELD"], true],
  ["Failed", ["FAILED", "EXPIRED"], false],
  ["Done", ["DONE"], false],
  ["Canceled", ["CANCELED"], false],
];

const FIELDS = [
  ["holder", "Holder", "user:ada"],
  ["label", "Label", "name=value"],
  ["group", "Group", ""],
  ["job_type", "Type", ""],
] as const;

/** Which jobs are shown. All of it stands in the address: a list can be kept, and sent to somebody. */
export function Filters({ filter }: { filter: Filter }) {
  const set = FIELDS.filter(([name]) => filter[name]);
  return (
    <>
      <nav class="tabs" aria-label="State">
        {TABS.map(([name, states, isCounted]) => (
          <Tab key={name} name={name} states={states} isCounted={isCounted} chosen={filter.state ?? ""} />
        ))}
      </nav>
      <form class="filters" role="search" onSubmit={submit}>
        <label class="find">
          <Icon name="find" size={18} />
          <span class="only-read">Text in a title, command, holder, label or id</span>
          <input type="search" name="text" placeholder="Find…" maxLength={128} key={filter.text ?? ""} defaultValue={filter.text ?? ""} />
        </label>
        <details class="more" open={set.length > 0}>
          <summary>More filters</summary>
          <div class="more-in">
            {FIELDS.map(([name, label, hint]) => (
              <label class="field" key={`${name} ${filter[name] ?? ""}`}>
                <span>{label}</span>
                <input type="text" name={name} placeholder={hint} maxLength={128} defaultValue={filter[name] ?? ""} />
              </label>
            ))}
          </div>
        </details>
        <button class="button small" type="submit">
          Show
        </button>
        {(set.length > 0 || filter.text) && (
          <a class="button small" href="/queue">
            Clear
          </a>
        )}
      </form>
    </>
  );
}

function Tab(props: { name: string; states: JobState[]; isCounted: boolean; chosen: string }) {
  const state = props.states.join(",");
  const count = props.isCounted && queue.value ? countOf(queue.value, props.states) : 0;
  return (
    <a class="tab" href={queried({ state })} aria-current={props.chosen === state ? "page" : undefined}>
      {props.name}
      {count > 0 && <span class="tab-count">{grouped(count)}</span>}
    </a>
  );
}

function submit(event: SubmitEvent): void {
  event.preventDefault();
  const given = new FormData(event.currentTarget as HTMLFormElement);
  const changes: Record<string, string> = {};
  for (const [name, value] of given) changes[name] = String(value).trim();
  go(queried(changes));
}
