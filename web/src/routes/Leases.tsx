import { Card } from "../components/Card";
import { Find } from "../components/Find";
import { LeaseRow } from "../components/LeaseRow";
import { Tabs } from "../components/Tabs";
import { WaiterRow } from "../components/WaiterRow";
import { personOf } from "../models/format";
import { queried, search } from "../router";
import { status, type LeaseOut, type Status } from "../services/leases";
import { leases, waiting } from "../state/dashboard";
import { nameOf } from "../state/leases";
import { useLive } from "../state/live";

const changes = () => [leases.value, waiting.value];

/** Every lease that is held, everybody who waits for one, and those that ended lately. */
export function Leases() {
  const query = new URLSearchParams(search.value);
  const show = query.get("show") ?? "";
  const text = (query.get("text") ?? "").toLowerCase();
  const id = query.get("id") ?? "";
  const { data, failed } = useLive("leases", status, { on: changes });
  return (
    <>
      <h1 class="page-title">Leases</h1>
      <Card title={show === "ended" ? "Ended lately" : show === "waiting" ? "Waiting line" : "Held now"} id="leases">
        <Tabs
          name="show"
          label="Which"
          options={[
            ["Held", "", data?.active.length ?? 0],
            ["Waiting", "waiting", data?.waiting.length ?? 0],
            ["Ended", "ended"],
          ]}
        />
        <Find label="Text in what it is for, a holder, a type or an id" />
        {id && (
          <p class="banner">
            <span>
              Only the lease <code>{id}</code> is shown.
            </span>
            <a class="button small" href={queried({ id: "" })}>
              Show all
            </a>
          </p>
        )}
        {data === null ? (
          <p class="empty" role={failed ? "alert" : undefined}>
            {failed?.message ?? "…"}
          </p>
        ) : (
          <Shown found={data} show={show} text={text} id={id} />
        )}
      </Card>
    </>
  );
}

function Shown({ found, show, text, id }: { found: Status; show: string; text: string; id: string }) {
  if (show === "waiting") {
    const rows = found.waiting.filter((one) => matches(text, one.label, one.job_type, one.holder, one.ticket));
    if (rows.length === 0) return <p class="empty">{nothing(text, "Nobody waits for a lease.")}</p>;
    return (
      <ol class="rows line">
        {rows.map((one) => (
          <WaiterRow key={one.ticket} waiter={one} />
        ))}
      </ol>
    );
  }
  const among = id ? [...found.active, ...found.ended] : show === "ended" ? found.ended : found.active;
  const rows = among.filter((one) => (id ? one.lease_id === id : holds(one, text)));
  if (rows.length === 0) return <p class="empty">{id ? GONE : nothing(text, show === "ended" ? "None has ended yet." : NONE)}</p>;
  return (
    <ul class="rows all-leases">
      {rows.map((one) => (
        <LeaseRow key={one.lease_id} lease={one} open={one.lease_id === id} />
      ))}
    </ul>
  );
}

const NONE = "Nobody holds anything. `leasehold run -- make test` asks first, then runs.";
const GONE = "It is not among those that are held, nor among those that ended lately.";

function nothing(text: string, otherwise: string): string {
  return text ? "None matches." : otherwise;
}

function holds(lease: LeaseOut, text: string): boolean {
  return matches(text, nameOf(lease), lease.job_type, personOf(lease.addon_id), lease.lease_id, lease.state);
}

function matches(text: string, ...among: (string | undefined)[]): boolean {
  return !text || among.some((one) => one?.toLowerCase().includes(text));
}
