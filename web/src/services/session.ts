// The key of the session, kept where only pages of this very origin, port included, can read it.

const KEY = "leasehold.session";

export const sessionKey = {
  get: (): string => localStorage.getItem(KEY) ?? "",
  set: (key: string): void => localStorage.setItem(KEY, key),
  clear: (): void => localStorage.removeItem(KEY),
};

/** Take the code out of a sign-in link, and out of the address and the history with it. */
export function takeCode(): string {
  const code = location.hash.replace(/^#/, "");
  history.replaceState(null, "", location.pathname === "/sign-in" ? "/" : location.pathname);
  return code;
}
