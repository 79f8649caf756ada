import { head } from "../state/dashboard";
import { inWords, scores, SPAN_S } from "../state/score";

const WIDTH = 96;
const HEIGHT = 26;

/** The quiet score of the last quarter of an hour, small, on every page. */
export function Spark() {
  const score = head.value?.score ?? null;
  return (
    <a class="spark" href="/machine" title="Quiet score, the last 15 minutes">
      <svg width={WIDTH} height={HEIGHT} viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={`Quiet score, last 15 minutes. ${inWords(scores.value)}`}>
        <path class="spark-line" d={traced()} />
      </svg>
      <span class="spark-figure" aria-hidden="true">
        {score ?? "–"}
      </span>
    </a>
  );
}

/** A path of the score, broken where it was not known. */
function traced(): string {
  const [times, values] = scores.value;
  const end = times.at(-1) ?? 0;
  let path = "";
  let pen = "M";
  values.forEach((value, index) => {
    if (value === null) {
      pen = "M";
      return;
    }
    const x = WIDTH * (1 - (end - (times[index] ?? end)) / SPAN_S);
    const y = 2 + (HEIGHT - 4) * (1 - value / 100);
    path += `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
    pen = "L";
  });
  return path;
}
