import { durationOf } from "../models/format";
import { visible } from "../models/job";
import { collectors, type Collector } from "../services/stats";
import { now } from "../state/clock";
import { ofNothing, useLive } from "../state/live";
import { Card } from "./Card";
import { Icon } from "./Icon";

/** What measures the machine, and how each of them last did. */
export function Collectors() {
  const { data, failed } = useLive("collectors", collectors, { everyMs: 10_000, on: ofNothing });
  return (
    <Card title="What measures" id="collectors">
      {data === null && <p class="empty">{failed?.message ?? "…"}</p>}
      {data !== null && (
        <div class="table-box" tabIndex={0} role="group" aria-label="Collectors">
          <table class="table">
            <thead>
              <tr>
                <th scope="col">Collector</th>
                <th scope="col">Works</th>
                <th scope="col">Last ran</th>
                <th scope="col">Took</th>
                <th scope="col">Every</th>
              </tr>
            </thead>
            <tbody>
              {data.map((one) => (
                <Row key={one.name} one={one} />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Card>
  );
}

function Row({ one }: { one: Collector }) {
  const fails = one.consecutive_failures > 0;
  return (
    <tr>
      <th scope="row">{one.name}</th>
      <td>
        <span class={`badge badge-${fails ? "bad" : "good"}`}>
          <Icon name={fails ? "lost" : "yes"} size={16} />
          {fails ? "Fails" : "Works"}
        </span>
        {fails && one.last_error && <span class="row-why">{visible(one.last_error)}</span>}
      </td>
      <td>{one.last_start ? `${durationOf(Math.max(0, now.value - Date.parse(one.last_start)))} ago` : "never"}</td>
      <td>{one.last_duration_ms === null ? "–" : `${one.last_duration_ms} ms`}</td>
      <td>{durationOf(one.interval_ms)}</td>
    </tr>
  );
}
