// Trading the code of a link for a session.
import { signal } from "@preact/signals";
import type { SessionInfo } from "../models/dashboard";
import { call, Refused } from "../services/api";
import { sessionKey, takeCode } from "../services/session";

export const signInState = signal<"idle" | "trying">("idle");
export const signInFailed = signal("");

/** Where the page was opened by a sign-in link: use it. */
export async function signInByLink(): Promise<void> {
  const code = takeCode();
  if (!code) return;
  signInState.value = "trying";
  try {
    const session = await call<SessionInfo>("POST", "/api/session", { code });
    sessionKey.set(session.key ?? "");
  } catch (error) {
    const known = error instanceof Refused && error.status !== 422;
    const sentence = known ? error.message : "This link is not whole. Copy all of it, or print a new one.";
    // Whoever is signed in already stays so: only say it where it matters.
    if (!sessionKey.get()) signInFailed.value = sentence;
  } finally {
    signInState.value = "idle";
  }
}
