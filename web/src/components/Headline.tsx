import { head } from "../state/dashboard";
import { now } from "../state/clock";
import type { Head, Verdict } from "../models/dashboard";
import { capitalised, durationOf, timeOf } from "../models/format";
import { Icon, type IconName } from "./Icon";
import { Word } from "./Word";

const ANSWERS: Record<Verdict, [IconName, string]> = {
  yes: ["yes", "Yes, heavy work may start"],
  urgent: ["urgent", "Only urgent work may start"],
  no: ["no", "No, nothing new may start"],
};

/** The one answer: may heavy work run now, and why. */
export function Headline() {
  const shown = head.value;
  if (shown === null) return <Waiting />;
  const [icon, answer] = ANSWERS[shown.verdict];
  return (
    <section class={`card hero verdict-${shown.verdict}`} aria-label="May heavy work run now?">
      <div class="answer">
        <span class="answer-icon">
          <Icon name={icon} size={30} />
        </span>
        <div>
          <h1 aria-live="polite">{answer}</h1>
          <p class="because">{because(shown)}</p>
        </div>
      </div>
      <Cooldown until={shown.cooldown_until_ms} />
      <Word />
    </section>
  );
}

function because(shown: Head): string {
  const [, ...rest] = shown.headline.split(": ");
  return `${capitalised(rest.join(": ") || shown.headline)}.`;
}

function Cooldown({ until }: { until: number | null }) {
  if (until === null || until <= now.value) return null;
  return (
    <p class="cooldown">
      It has just been too busy: leases that wait for quiet start again at {timeOf(until)}, in{" "}
      {durationOf(until - now.value)}.
    </p>
  );
}

function Waiting() {
  return (
    <section class="card hero" aria-busy="true">
      <div class="answer">
        <span class="answer-icon" />
        <div>
          <h1>May heavy work run?</h1>
          <p class="because">Asking the server what the machine is doing…</p>
        </div>
      </div>
    </section>
  );
}
