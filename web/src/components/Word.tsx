import type { ComponentChildren } from "preact";
import { owner } from "../state/dashboard";
import { may } from "../state/connection";
import { blockOf, measureAgain, question, saying, unblock } from "../state/word";
import { personOf, timeOf } from "../models/format";
import type { Owner } from "../models/dashboard";
import { Icon } from "./Icon";

/** What the owner has said, and the means to say something else; for a viewer the first alone. */
export function Word() {
  const said = owner.value;
  if (said === null) return null;
  const block = blockOf(said);
  return (
    <div class="word">
      {block !== undefined && (
        <Said icon="block" undo="Allow again" onUndo={() => void unblock()}>
          Blocked until {timeOf(Date.parse(block.until))} by {personOf(block.by)}
          {block.note ? `: ${block.note}` : ""}
        </Said>
      )}
      {block === undefined && <Others said={said} />}
      {said.pretend != null && (
        <Said icon="word" undo="Measure again" onUndo={() => void measureAgain()}>
          Taken for {said.pretend.state} until {timeOf(Date.parse(said.pretend.until))} by{" "}
          {personOf(said.pretend.by)}
          {said.pretend.note ? `: ${said.pretend.note}` : ""}
        </Said>
      )}
      {may("node:admission") && <Actions blocked={block !== undefined} pretends={said.pretend != null} />}
    </div>
  );
}

function Others({ said }: { said: Owner }) {
  if (said.reasons.length === 0) return null;
  return (
    <p class="said">
      <Icon name="word" size={18} />
      <span>{said.reasons.join(". ")}</span>
    </p>
  );
}

function Said(props: {
  icon: "block" | "word";
  undo: string;
  onUndo: () => void;
  children: ComponentChildren;
}) {
  return (
    <p class="said">
      <Icon name={props.icon} size={18} />
      <span>{props.children}</span>
      {may("node:admission") && (
        <button class="button small" type="button" disabled={saying.value} onClick={props.onUndo}>
          {props.undo}
        </button>
      )}
    </p>
  );
}

function Actions({ blocked, pretends }: { blocked: boolean; pretends: boolean }) {
  return (
    <div class="actions" role="group" aria-label="Your word">
      <button class="button" type="button" onClick={() => (question.value = "block")}>
        <Icon name="block" size={18} />
        {blocked ? "Block for longer…" : "Block new work…"}
      </button>
      {!pretends && (
        <>
          <button class="button" type="button" onClick={() => (question.value = "busy")}>
            <Icon name="busy" size={18} />
            Pretend busy…
          </button>
          <button class="button" type="button" onClick={() => (question.value = "quiet")}>
            <Icon name="quiet" size={18} />
            Pretend quiet…
          </button>
        </>
      )}
    </div>
  );
}
