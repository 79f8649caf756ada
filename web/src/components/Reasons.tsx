import { head, inputs, scales } from "../state/dashboard";
import { capitalised, counted, figureOf } from "../models/format";
import type { Input, Scale } from "../models/dashboard";
import { Bar } from "./Bar";
import { Card, Empty } from "./Card";

const PRESSING = 1;
const SHOWN = 8;

/** Why the score is what it is: its sentences, and how hard each input presses. */
export function Reasons() {
  const shown = head.value;
  const all = measured();
  const pressing = all.filter(([, , [, pressure]]) => pressure >= PRESSING);
  const listed = (pressing.length ? pressing : all).slice(0, SHOWN);
  const others = all.length - listed.length;
  return (
    <Card title="Why" id="why">
      {shown === null && <Empty>Nothing has been measured yet.</Empty>}
      <ul class="reasons">
        {(shown?.reasons ?? []).filter(isNoBar).map((reason) => (
          <li key={reason}>{capitalised(reason)}.</li>
        ))}
      </ul>
      <ul class="inputs">
        {listed.map(([name, scale, input]) => (
          <InputRow key={name} scale={scale} input={input} />
        ))}
      </ul>
      <p class="fine">
        A bar is empty where its input does not count, and full where it counts fully.
        {others > 0 && ` ${counted(others, "more input")} ${others === 1 ? "is" : "are"} without pressure.`}
        {shown?.preset === "always" && " The preset is always: whatever is measured, this machine counts as quiet."}
      </p>
    </Card>
  );
}

/** Whether a reason says something that no bar below says. */
function isNoBar(reason: string): boolean {
  const start = reason.toLowerCase();
  return !Object.values(scales.value).some((scale) => start.startsWith(`${scale.label.toLowerCase()} `));
}

function measured(): [string, Scale, Input][] {
  const found: [string, Scale, Input][] = [];
  for (const [name, input] of Object.entries(inputs.value)) {
    const scale = scales.value[name];
    if (scale) found.push([name, scale, input]);
  }
  return found.sort((one, other) => other[2][1] - one[2][1]);
}

function InputRow({ scale, input: [value, pressure] }: { scale: Scale; input: Input }) {
  const tone = pressure >= 60 ? "bad" : pressure >= 20 ? "warn" : "calm";
  return (
    <li class="input">
      <span class="input-name">{capitalised(scale.label)}</span>
      <span class="input-value">{figureOf(value, scale.unit)}</span>
      <Bar percent={pressure} tone={tone} />
      <span class="input-pressure">
        {pressure} %<span class="only-read"> pressure</span>
      </span>
    </li>
  );
}
