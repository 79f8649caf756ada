/** A bar of `percent`; the figure in words stands beside it, so it is hidden from readers of the page. */
export function Bar({ percent, tone = "accent" }: { percent: number; tone?: "accent" | "calm" | "warn" | "bad" }) {
  const width = `${Math.max(0, Math.min(100, percent))}%`;
  return (
    <span class={`bar bar-${tone}`} aria-hidden="true">
      <span style={{ width }} />
    </span>
  );
}
