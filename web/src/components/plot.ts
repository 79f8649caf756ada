// What all charts have in common: colours by name, axes, points that stand alone.
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

/** A canvas knows no names of colours: each is looked up as the theme of the moment has it. */
export function coloursOf(element: HTMLElement): (name: string) => string {
  return (name) => {
    const sample = element.appendChild(document.createElement("i"));
    sample.style.color = `var(${name})`;
    const found = getComputedStyle(sample).color;
    sample.remove();
    return found;
  };
}

export function axisOf(element: HTMLElement): Pick<uPlot.Axis, "stroke" | "grid" | "ticks" | "font"> {
  const colour = coloursOf(element);
  return {
    stroke: colour("--text-3"),
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { show: false },
    font: `12px ${getComputedStyle(element).fontFamily}`,
  };
}

/** The points to which no line leads: alone between two gaps, they would not be seen. */
export function lonely(plot: uPlot, series: number): number[] {
  const values = plot.data[series] ?? [];
  const found: number[] = [];
  for (let at = 0; at < values.length; at += 1) {
    if (values[at] != null && values[at - 1] == null && values[at + 1] == null) found.push(at);
  }
  return found;
}
