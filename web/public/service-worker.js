// Shows what the server pushes to this browser, and opens the page when it is clicked. It keeps nothing, fetches
// nothing and stands in front of no request.
"use strict";

/** Only paths of this page: what is pushed never leads elsewhere. */
function pathOf(link) {
  return typeof link === "string" && /^\/(?![/\\])/.test(link) ? link : "/";
}

function told(event) {
  try {
    const said = event.data?.json();
    if (said && typeof said.title === "string") return said;
  } catch {
    // Not what this server sends: a push must be shown all the same, browsers insist on it.
  }
  return { title: "Leasehold", text: "Something has happened. Open the page to see what." };
}

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("push", (event) => {
  const said = told(event);
  const shown = self.registration.showNotification(said.title, {
    body: said.text ?? "",
    tag: said.id ?? "leasehold", // The same one again takes the place of itself.
    requireInteraction: said.severity === "critical",
    data: { link: pathOf(said.link) },
  });
  event.waitUntil(shown);
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(open(pathOf(event.notification.data?.link)));
});

async function open(path) {
  const windows = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  for (const one of windows) {
    try {
      await one.focus();
      await one.navigate(path);
      return;
    } catch {
      continue; // Not controlled by this worker: another one, or a new window.
    }
  }
  await self.clients.openWindow(path);
}
