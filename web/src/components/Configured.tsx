import { search } from "../router";
import { configured, type Setting } from "../services/settings";
import { ofNothing, useLive } from "../state/live";
import { Card } from "./Card";
import { Find } from "./Find";
import { Tabs } from "./Tabs";

/** What is configured, and where each value comes from; changed in the file, not here. */
export function Configured() {
  const { data, failed } = useLive("config", configured, { everyMs: 60_000, on: ofNothing });
  const query = new URLSearchParams(search.value);
  const text = (query.get("text") ?? "").toLowerCase();
  const all = query.get("config") === "all";
  const changed = (data?.settings ?? []).filter((one) => one.origin !== "default");
  const shown = all || text ? (data?.settings ?? []) : changed;
  const rows = shown.filter((one) => one.key.toLowerCase().includes(text));
  return (
    <Card title="Configuration" id="configuration" aside={data?.file ? <code>{data.file}</code> : undefined}>
      <Tabs
        name="config"
        label="Which settings"
        options={[
          ["Not the default", "", changed.length],
          ["All", "all", data?.settings.length ?? 0],
        ]}
      />
      <Find label="Text in the name of a setting" />
      {data === null && <p class="empty">{failed?.message ?? "…"}</p>}
      {data !== null && rows.length === 0 && (
        <p class="empty">{text ? "No setting has such a name." : "Every setting has its default."}</p>
      )}
      {rows.length > 0 && <Table rows={rows} />}
      <p class="fine">
        Change it in the file, by a variable or by a flag. <code>leasehold config example</code> prints every setting;{" "}
        <code>leasehold config check</code> looks for mistakes.
      </p>
    </Card>
  );
}

function Table({ rows }: { rows: Setting[] }) {
  return (
    <div class="table-box" tabIndex={0} role="group" aria-label="Settings">
      <table class="table">
        <thead>
          <tr>
            <th scope="col">Setting</th>
            <th scope="col">Value</th>
            <th scope="col">From</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((one) => (
            <tr key={one.key}>
              <th scope="row">
                <code>{one.key}</code>
              </th>
              <td>
                <code>{typeof one.value === "string" ? one.value || "–" : JSON.stringify(one.value)}</code>
              </td>
              <td>
                {one.origin}
                {one.restart && one.origin !== "default" && <span class="tag">after a restart</span>}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
