// Who is told when something goes wrong: src/leasehold/wire/notification.py.
import { call } from "./api";

export interface Target {
  target_id: string;
  kind: "webhook" | "push" | "chat";
  name: string;
  address: string;
  severity: string;
  enabled: boolean;
  created_at: string;
  created_by: string;
  zone: string;
  kinds?: string[];
  pending?: number;
  dead?: number;
  last_sent_at?: string | null;
  quiet_until?: string | null;
  problem?: string;
}

export interface Delivery {
  delivery_id: string;
  state: "pending" | "sent" | "dead";
  error?: string;
}

const TARGETS = "/api/notifications/targets";
const PUSH = "/api/notifications/push";

export async function targets(): Promise<Target[]> {
  return (await call<{ targets: Target[] }>("GET", TARGETS)).targets;
}

export function testTarget(id: string): Promise<Delivery> {
  return call("POST", `${TARGETS}/${encodeURIComponent(id)}/test`);
}

export function removeTarget(id: string): Promise<void> {
  return call("DELETE", `${TARGETS}/${encodeURIComponent(id)}`);
}

export async function pushKey(): Promise<string> {
  return (await call<{ key: string }>("GET", `${PUSH}/key`)).key;
}

export function sendSubscription(subscription: PushSubscription, name: string): Promise<Target> {
  const { endpoint, keys } = subscription.toJSON();
  return call("POST", `${PUSH}/subscriptions`, {
    endpoint,
    keys: { p256dh: keys?.p256dh, auth: keys?.auth },
    name,
  });
}
