"""The card of who is told, drawn into the page by itself, and a push service that stands in for the vendor's.

Chromium without its vendor's service can't subscribe: `PushManager` gets a subscription of the test's own.
Everything else is real: the card, the policy of the page, the server, the encryption, the service worker.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from leasehold.testing import browser as real
from tests.api.push_browser import Browser
from tests.api.real_server import RealServer

WEB = Path(__file__).parents[2] / "web"
SCRIPT = "/assets/told-under-test.js"

ENTRY = """
import { h, render } from "preact";
import { Told } from "./components/Told";
import { ToastView } from "./components/ToastView";
import { me } from "./state/connection";
import { call } from "./services/api";

export async function show() {
  me.value = await call("GET", "/api/session");
  const place = document.createElement("div");
  document.querySelector("main").replaceChildren(place);
  render(h("div", {}, h(Told, {}), h(ToastView, {})), place);
}
"""

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


def script() -> str:
    """The card with all that it needs, as one module."""
    command = [str(WEB / "node_modules" / ".bin" / "esbuild"), "--bundle", "--format=esm", "--loader=tsx"]
    command += ["--jsx=automatic", "--jsx-import-source=preact"]
    done = subprocess.run(
        command, cwd=WEB / "src", input=ENTRY, capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout


def prepare(visit: real.Visit, machine: RealServer, browser: Browser, endpoint: str) -> None:
    """Before anything is opened: the permission, the module, the push service."""
    visit.context.grant_permissions(["notifications"], origin=f"http://127.0.0.1:{machine.port}")
    made = script()
    visit.page.route(
        f"**{SCRIPT}", lambda route: route.fulfill(body=made, content_type="text/javascript; charset=utf-8")
    )
    visit.page.add_init_script(SUBSCRIBING % json.dumps(browser.subscription(endpoint)))


def show(visit: real.Visit) -> None:
    """Draw the card in the place of the page's own content."""
    visit.page.evaluate(f"() => import('{SCRIPT}').then((card) => card.show())")
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
