import { queried, search } from "../router";

/** Which of a few is shown, as links: the choice stands in the address. "" is what is shown without one. */
export function Tabs(props: { name: string; label: string; options: [label: string, value: string, count?: number][] }) {
  const chosen = new URLSearchParams(search.value).get(props.name) ?? "";
  return (
    <nav class="tabs" aria-label={props.label}>
      {props.options.map(([label, value, count]) => (
        <a
          class="tab"
          key={value}
          href={queried({ [props.name]: value })}
          aria-current={chosen === value ? "page" : undefined}
        >
          {label}
          {count !== undefined && count > 0 && <span class="tab-count">{count.toLocaleString()}</span>}
        </a>
      ))}
    </nav>
  );
}
