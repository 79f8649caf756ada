import type { ComponentChildren } from "preact";

/** One fact of a list of them; nothing where it is not known. */
export function Fact({ name, children }: { name: string; children?: ComponentChildren }) {
  if (!isThere(children)) return null;
  return (
    <div class="fact">
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function isThere(part: unknown): boolean {
  return Array.isArray(part) ? part.some(isThere) : Boolean(part);
}
