import type { ComponentChildren } from "preact";
import { head } from "../state/dashboard";

/** A titled part of the page. `aside` stands at the end of its title. */
export function Card(props: {
  title: string;
  id: string;
  class?: string;
  aside?: ComponentChildren;
  children: ComponentChildren;
}) {
  return (
    <section class={`card ${props.class ?? ""}`} aria-labelledby={props.id}>
      <div class="card-head">
        <h2 id={props.id}>{props.title}</h2>
        {props.aside !== undefined && <div class="card-aside">{props.aside}</div>}
      </div>
      {props.children}
    </section>
  );
}

/** What stands where there is nothing to show, and why that is so. Before anything is known it says nothing. */
export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{head.value === null ? "…" : children}</p>;
}
