import { durationOf, personOf, timeOf } from "../models/format";
import { visible } from "../models/job";
import { revokeToken, tokens, type Token } from "../services/settings";
import { now } from "../state/clock";
import { confirming } from "../state/confirm";
import { may } from "../state/connection";
import { ofEvents, useLive } from "../state/live";
import { Card } from "./Card";
import { Icon } from "./Icon";

/** Credentials of programs: whose, until when, when they were used last. Never their secrets. */
export function Tokens() {
  const { data, failed } = useLive("tokens", tokens, { everyMs: 60_000, on: ofEvents });
  return (
    <Card title="Tokens" id="tokens">
      {data === null && <p class="empty">{failed?.message ?? "…"}</p>}
      {data?.length === 0 && <p class="empty">No program has a token of its own.</p>}
      <ul class="rows">
        {(data ?? []).map((token) => (
          <Row key={token.token_id} token={token} />
        ))}
      </ul>
      <p class="fine">
        Make one in a terminal: <code>leasehold token create --name ci --role submitter</code>. Its secret is shown once, and kept nowhere.
      </p>
    </Card>
  );
}

function Row({ token }: { token: Token }) {
  const used = token.last_used_at ? `used ${durationOf(now.value - Date.parse(token.last_used_at))} ago` : "never used";
  return (
    <li class="row lease">
      <span class="row-main">
        <span class="row-what">
          <bdi>{visible(token.name)}</bdi>
        </span>
        <span class="row-who">
          {token.role}, for {personOf(token.holder)}
        </span>
        <span class="row-why">
          made by {personOf(token.created_by)} {timeOf(Date.parse(token.created_at), now.value)}, {used}
        </span>
      </span>
      <span class="row-figures">
        <span class="row-units">{token.expired ? "expired" : `${durationOf(Date.parse(token.expires_at) - now.value)} left`}</span>
      </span>
      {may("token:revoke") && (
        <span class="row-acts">
          <button class="button small" type="button" onClick={() => revoke(token)}>
            <Icon name="bin" size={16} />
            Revoke…<span class="only-read"> {token.name}</span>
          </button>
        </span>
      )}
    </li>
  );
}

function revoke(token: Token): void {
  confirming.value = {
    title: `Revoke the token “${token.name}”?`,
    follows: "Whatever uses it is shut out at once, its open connections too; its leases live out their time. This can't be undone.",
    yes: "Revoke",
    run: async () => {
      await revokeToken(token.token_id);
      return { text: `The token ${token.name} is revoked`, tone: "done" };
    },
  };
}
