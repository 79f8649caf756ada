import { head } from "../state/dashboard";
import { connection, me, signOut } from "../state/connection";
import { path } from "../router";
import { isDark, theme, turnTheme } from "../state/theme";
import { tell } from "../state/toast";
import { personOf } from "../models/format";
import { Icon } from "./Icon";
import { Mark } from "./Mark";
import { StateBadge } from "./StateBadge";

export function TopBar() {
  return (
    <header class="top">
      <div class="top-in">
        <a class="brand" href="/" aria-label="Leasehold, overview">
          <Mark />
          <span>Leasehold</span>
        </a>
        <Node />
        <Pages />
        <div class="top-end">
          <Live />
          <ThemeButton />
          <Account />
        </div>
      </div>
    </header>
  );
}

function Pages() {
  const at = path.value;
  const page = (to: string, name: string, here: boolean) => (
    <a class="page-link" href={to} aria-current={here ? "page" : undefined}>
      {name}
    </a>
  );
  return (
    <nav class="page-links" aria-label="Pages">
      {page("/", "Overview", at === "/")}
      {page("/queue", "Queue", at === "/queue" || at.startsWith("/jobs/"))}
    </nav>
  );
}

function Node() {
  const shown = head.value;
  if (shown === null) return null;
  return (
    <span class="node">
      <span class="node-name" title={`node ${shown.node_id}, preset ${shown.preset}`}>
        {shown.node_id}
      </span>
      <StateBadge state={shown.state} />
    </span>
  );
}

const WORDS = {
  connecting: "Connecting",
  live: "Live",
  lost: "Not connected",
  paused: "Paused",
  "signed-out": "Signed out",
  forbidden: "Not permitted",
} as const;

function Live() {
  const at = connection.value;
  return (
    <span class={`live live-${at}`}>
      <Icon name={at === "live" ? "live" : "offline"} size={18} />
      <span class="live-word">{WORDS[at]}</span>
    </span>
  );
}

function ThemeButton() {
  theme.value;
  const to = isDark() ? "light" : "dark";
  return (
    <button class="quiet-button" type="button" onClick={turnTheme} aria-label={`Show in ${to} colours`}>
      <Icon name={to === "light" ? "sun" : "moon"} />
    </button>
  );
}

function Account() {
  const who = me.value;
  if (who === null) return null;
  const leave = () => signOut().catch((error: Error) => tell({ text: error.message, tone: "failed" }));
  return (
    <>
      <span class="account">
        {personOf(who.name)} <span class="account-role">{who.role}</span>
      </span>
      <button class="quiet-button" type="button" onClick={leave} aria-label="Sign out">
        <Icon name="leave" />
      </button>
    </>
  );
}
