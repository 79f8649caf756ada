import { useEffect } from "preact/hooks";
import { personOf, timeOf } from "../models/format";
import { visible } from "../models/job";
import type { Target } from "../services/notifications";
import { obstacle, ownTarget } from "../services/push";
import { may, me } from "../state/connection";
import { asking, doing, failed, isToldHere, load, remove, targets, tellHere, tellHereNoMore, test } from "../state/told";
import { Card } from "./Card";

/** Who is told when something goes wrong, and the means to tell this browser. */
export function Told() {
  useEffect(() => void load(), []);
  const found = targets.value;
  return (
    <Card title="Who is told when something goes wrong" id="told">
      {found === null && <p class="empty">{failed.value || "…"}</p>}
      {found?.length === 0 && <p class="empty">Nobody, so far.</p>}
      <ul class="rows">
        {(found ?? []).map((target) => (
          <Row key={target.target_id} target={target} />
        ))}
      </ul>
      <Here />
      <p class="fine">
        E-mail, chats and webhooks are added in a terminal: <code>leasehold notify add</code>. Their addresses are secrets, and shown to nobody.
      </p>
    </Card>
  );
}

function Here() {
  const why = obstacle();
  if (why) return <p class="fine">{why}</p>;
  const busy = doing.value === "here";
  return (
    <p class="actions card-end">
      {isToldHere.value ? (
        <button class="button" type="button" disabled={busy} onClick={() => void tellHereNoMore()}>
          Stop telling this browser
        </button>
      ) : (
        <button class="button" type="button" disabled={busy} onClick={() => void tellHere()}>
          {busy ? "Asking…" : "Tell this browser"}
        </button>
      )}
    </p>
  );
}

function Row({ target }: { target: Target }) {
  const own = target.kind === "push" && target.created_by === me.value?.name;
  const busy = doing.value === target.target_id;
  return (
    <li class="row lease">
      <span class="row-main">
        <span class="row-what">
          <bdi>{visible(target.name)}</bdi>
          {target.target_id === ownTarget() && <span class="tag">this browser</span>}
        </span>
        <span class="row-who">
          <bdi>{visible(target.address)}</bdi>, {target.severity} and worse
        </span>
        <span class="row-why">{stateOf(target)}</span>
      </span>
      {(own || may("notification:manage")) && (
        <span class="row-acts">
          <button class="button small" type="button" disabled={busy || !target.enabled} onClick={() => void test(target)}>
            Test<span class="only-read"> {target.name}</span>
          </button>
          <Removing target={target} busy={busy} />
        </span>
      )}
    </li>
  );
}

/** Its address is kept nowhere else: it is asked before it is gone. */
function Removing({ target, busy }: { target: Target; busy: boolean }) {
  if (asking.value !== target.target_id) {
    return (
      <button class="button small" type="button" disabled={busy} onClick={() => (asking.value = target.target_id)}>
        Remove…<span class="only-read"> {target.name}</span>
      </button>
    );
  }
  return (
    <>
      <button class="button small" type="button" onClick={() => void remove(target)}>
        Remove for good<span class="only-read">: {target.name}</span>
      </button>
      <button class="button small" type="button" onClick={() => (asking.value = "")}>
        Keep<span class="only-read"> {target.name}</span>
      </button>
    </>
  );
}

function stateOf(target: Target): string {
  const parts = [`added by ${personOf(target.created_by)}`];
  if (!target.enabled) parts.push("switched off");
  if (target.quiet_until) parts.push(`not disturbed until ${timeOf(Date.parse(target.quiet_until))}`);
  if (target.pending) parts.push(`${target.pending} waiting`);
  if (target.dead) parts.push(`${target.dead} given up`);
  if (target.problem) parts.push(visible(target.problem));
  else if (target.last_sent_at) parts.push(`told last ${timeOf(Date.parse(target.last_sent_at))}`);
  return parts.join(", ");
}
