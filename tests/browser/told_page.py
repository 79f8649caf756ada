"""The card of who is told, and a push service that stands in for the vendor's.

Chromium without its vendor's service can't subscribe: `PushManager` gets a subscription of the test's own.
Everything else is real: the card, the policy of the page, the server, the encryption, the service worker.
"""

from __future__ import annotations

import json
from typing import Any

from leasehold.testing import browser as real
from tests.api.push_browser import Browser
from tests.api.real_server import RealServer

SUBSCRIBING = """
(() => {
  const KEPT = "test.subscription";
  const made = %s;
  const subscription = (key) => ({
    endpoint: made.endpoint,
    options: { applicationServerKey: Uint8Array.from(key).buffer },
    toJSON: () => ({ endpoint: made.endpoint, keys: made.keys }),
    unsubscribe: async () => { localStorage.removeItem(KEPT); return true; },
  });
  PushManager.prototype.subscribe = async function (options) {
    if (Notification.permission !== "granted") throw new DOMException("denied", "NotAllowedError");
    const key = [...new Uint8Array(options.applicationServerKey)];
    localStorage.setItem(KEPT, JSON.stringify(key));
    return subscription(key);
  };
  PushManager.prototype.getSubscription = async function () {
    const key = localStorage.getItem(KEPT);
    return key === null ? null : subscription(JSON.parse(key));
  };
})();
"""


def prepare(visit: real.Visit, machine: RealServer, browser: Browser, endpoint: str) -> None:
    """Before anything is opened: the permission, and the push service."""
    visit.context.grant_permissions(["notifications"], origin=f"http://127.0.0.1:{machine.port}")
    visit.page.add_init_script(SUBSCRIBING % json.dumps(browser.subscription(endpoint)))


def show(visit: real.Visit, machine: RealServer) -> None:
    """Open the page that has the card."""
    visit.page.goto(f"http://127.0.0.1:{machine.port}/settings")
    visit.page.wait_for_selector(real.LIVE)
    visit.page.wait_for_selector("#told")


def deliver(visit: real.Visit, machine: RealServer, payload: str) -> None:
    """What a push service does: hand the browser a message for its service worker."""
    session = visit.context.new_cdp_session(visit.page)
    found: list[dict[str, Any]] = []
    session.on("ServiceWorker.workerRegistrationUpdated", lambda told: found.extend(told["registrations"]))
    session.send("ServiceWorker.enable")
    visit.page.wait_for_function("() => navigator.serviceWorker.ready.then(() => true)")
    origin = f"http://127.0.0.1:{machine.port}"
    for _ in range(100):
        if found:
            break
        visit.page.wait_for_timeout(50)
    session.send(
        "ServiceWorker.deliverPushMessage",
        {"origin": origin, "registrationId": found[-1]["registrationId"], "data": payload},
    )


SHOWN = """
async () => {
  const worker = await navigator.serviceWorker.getRegistration("/");
  return (await worker.getNotifications()).map((one) => ({
    title: one.title, body: one.body, tag: one.tag, link: one.data.link,
  }));
}
"""


def notifications(visit: real.Visit) -> list[dict[str, Any]]:
    """What the browser shows now."""
    found: list[dict[str, Any]] = visit.page.evaluate(SHOWN)
    return found
