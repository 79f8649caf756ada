// Telling this browser: permission, the service worker, and its subscription at a push service.
import { pushKey, removeTarget, sendSubscription, type Target } from "./notifications";

const WORKER = "/service-worker.js";
const KEPT = "leasehold.push";

interface Policies {
  createPolicy(name: string, rules: { createScriptURL: (url: string) => string }): { createScriptURL: (url: string) => string };
}

/** Why this browser can't be told; "" where it can. */
export function obstacle(): string {
  if (!window.isSecureContext) return "Browsers take notifications over https, or on the machine itself, alone.";
  if (!("serviceWorker" in navigator) || !("PushManager" in window) || !("Notification" in window)) return "This browser takes no notifications from pages.";
  if (Notification.permission === "denied") return "Notifications from this page are blocked in this browser’s settings.";
  return "";
}

/** The id of this browser's own target; "" where it is not told. */
export function ownTarget(): string {
  return localStorage.getItem(KEPT) ?? "";
}

/** Ask, subscribe, and have the server told where. Throws with what to do about it. */
export async function subscribe(): Promise<Target> {
  if ((await Notification.requestPermission()) !== "granted") throw new Error("This browser was not allowed to show notifications.");
  const worker = await registered();
  const key = bytesOf(await pushKey());
  const target = await sendSubscription(await subscribed(worker, key), nameOfBrowser());
  localStorage.setItem(KEPT, target.target_id);
  return target;
}

/** Tell this browser nothing any more: here and at the server. */
export async function unsubscribe(): Promise<void> {
  const target = ownTarget();
  const worker = await navigator.serviceWorker.getRegistration(WORKER);
  await (await worker?.pushManager.getSubscription())?.unsubscribe();
  localStorage.removeItem(KEPT);
  if (target) await removeTarget(target);
}

/** The server may have forgotten this browser, or the browser its subscription: then neither is told. */
export async function isTold(known: Target[]): Promise<boolean> {
  const own = ownTarget();
  if (!own || obstacle() || !known.some((one) => one.target_id === own)) return false;
  const worker = await navigator.serviceWorker.getRegistration(WORKER);
  return (await worker?.pushManager.getSubscription()) != null;
}

async function registered(): Promise<ServiceWorkerRegistration> {
  try {
    await navigator.serviceWorker.register(trusted(WORKER) as string, { scope: "/" });
  } catch {
    throw new Error("This browser does not trust the connection enough: install the server’s certificate authority first.");
  }
  return navigator.serviceWorker.ready;
}

let policy: { createScriptURL: (url: string) => string } | undefined;

/** The page's policy lets one script become a worker, and this is it. */
function trusted(url: string): string {
  const policies = (window as unknown as { trustedTypes?: Policies }).trustedTypes;
  if (policies === undefined) return url;
  policy ??= policies.createPolicy("leasehold-worker", {
    createScriptURL: (asked) => {
      if (asked !== WORKER) throw new TypeError("no such worker");
      return asked;
    },
  });
  return policy.createScriptURL(url);
}

async function subscribed(worker: ServiceWorkerRegistration, key: Uint8Array<ArrayBuffer>): Promise<PushSubscription> {
  const before = await worker.pushManager.getSubscription();
  if (before && !isSame(before.options.applicationServerKey, key)) await before.unsubscribe();
  try {
    return await worker.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
  } catch {
    throw new Error("This browser’s push service could not be reached. Try again later.");
  }
}

function isSame(had: ArrayBuffer | null, key: Uint8Array): boolean {
  const bytes = new Uint8Array(had ?? new ArrayBuffer(0));
  return bytes.length === key.length && bytes.every((byte, at) => byte === key[at]);
}

function bytesOf(base64url: string): Uint8Array<ArrayBuffer> {
  const text = atob(base64url.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

/** Enough to tell one's browsers apart in a list. */
function nameOfBrowser(): string {
  const said = navigator.userAgent;
  const browser = /Firefox|Edg|OPR|Chrome|Safari/.exec(said)?.[0] ?? "Browser";
  const system = /Android|iPhone|iPad|Windows|Macintosh|Linux/.exec(said)?.[0] ?? "";
  return `${{ Edg: "Edge", OPR: "Opera" }[browser] ?? browser}${system ? ` on ${system === "Macintosh" ? "macOS" : system}` : ""}`;
}
