// Calls to the server: the cookie goes along by itself, the key as a header.
import { sessionKey } from "./session";

const PATIENCE_MS = 15_000;

/** What the server said no with: its sentence, and its code. Status 0: nobody answered. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

export function headers(more: Record<string, string> = {}): Record<string, string> {
  return { "X-Leasehold-Session": sessionKey.get(), ...more };
}

export async function call<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
  const sent: RequestInit = {
    method,
    headers: headers(body === undefined ? {} : { "Content-Type": "application/json" }),
    credentials: "same-origin",
    cache: "no-store",
    signal: AbortSignal.timeout(PATIENCE_MS),
  };
  if (body !== undefined) sent.body = JSON.stringify(body);
  let answer: Response;
  try {
    answer = await fetch(path, sent);
  } catch {
    throw new Refused(0, "UNREACHABLE", "The server can't be reached. Nothing was changed.");
  }
  if (!answer.ok) throw await refusal(answer);
  return (answer.status === 204 ? undefined : await answer.json()) as Answer;
}

export async function refusal(answer: Response): Promise<Refused> {
  try {
    const problem = (await answer.json()) as { code?: string; detail?: string };
    return new Refused(answer.status, problem.code ?? "", problem.detail ?? answer.statusText);
  } catch {
    return new Refused(answer.status, "", answer.statusText);
  }
}
