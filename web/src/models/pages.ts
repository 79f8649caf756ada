// The pages, in the order of the navigation. `key` goes there after a g.
import type { IconName } from "../components/Icon";

export interface Page {
  path: string;
  name: string;
  icon: IconName;
  key: string;
  /** In the bar of a phone; the others stand behind its last button. */
  first?: boolean;
}

export const PAGES: Page[] = [
  { path: "/", name: "Overview", icon: "home", key: "o", first: true },
  { path: "/machine", name: "Machine", icon: "machine", key: "m", first: true },
  { path: "/queue", name: "Queue", icon: "list", key: "q", first: true },
  { path: "/leases", name: "Leases", icon: "lease", key: "l", first: true },
  { path: "/schedules", name: "Schedules", icon: "calendar", key: "s" },
  { path: "/addons", name: "Add-ons", icon: "addon", key: "a" },
  { path: "/alerts", name: "Alerts", icon: "bell", key: "r" },
  { path: "/events", name: "Events", icon: "events", key: "e" },
  { path: "/settings", name: "Settings", icon: "settings", key: "t" },
];

/** The page that an address belongs to; a job belongs to the queue. */
export function pageOf(path: string): Page | undefined {
  if (path.startsWith("/jobs/")) return PAGES.find((page) => page.path === "/queue");
  return PAGES.find((page) => page.path === path);
}
