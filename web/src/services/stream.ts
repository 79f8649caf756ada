// Server-sent events by fetch: unlike EventSource it can send the session's key, and be stopped for certain.
import { headers, refusal } from "./api";

export interface StreamEvent {
  kind: string;
  id: string;
  data: string;
}

/** Read events until the stream ends. Throws Refused, or what fetch throws. `alive` hears of every byte. */
export async function read(
  path: string,
  lastId: string,
  stop: AbortSignal,
  alive: () => void,
  take: (event: StreamEvent) => void,
): Promise<void> {
  const resumed: Record<string, string> = lastId ? { "Last-Event-ID": lastId } : {};
  const answer = await fetch(path, {
    headers: headers({ Accept: "text/event-stream", ...resumed }),
    credentials: "same-origin",
    cache: "no-store",
    signal: stop,
  });
  if (!answer.ok || answer.body === null) throw await refusal(answer);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    alive();
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      const event = parsed(block);
      if (event.data) take(event);
    }
  }
}

function parsed(block: string): StreamEvent {
  const event: StreamEvent = { kind: "message", id: "", data: "" };
  for (const line of block.split("\n")) {
    const [field, value] = divided(line);
    if (field === "event") event.kind = value;
    else if (field === "id") event.id = value;
    else if (field === "data") event.data += value;
  }
  return event;
}

function divided(line: string): [string, string] {
  const colon = line.indexOf(": ");
  return colon < 0 ? [line, ""] : [line.slice(0, colon), line.slice(colon + 2)];
}
