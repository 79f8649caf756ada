// What stands around every page: where one can go, how things stand, and who looks.
import { useEffect, useRef } from "preact/hooks";
import { personOf } from "../models/format";
import { PAGES, pageOf, type Page } from "../models/pages";
import { path } from "../router";
import { connection, me, signOut } from "../state/connection";
import { head, leasesTotal, queue } from "../state/dashboard";
import { helping, moreOpen } from "../state/keys";
import { isDark, theme, turnTheme } from "../state/theme";
import { tell } from "../state/toast";
import { HealthBadge } from "./HealthBadge";
import { Icon } from "./Icon";
import { Mark } from "./Mark";
import { Spark } from "./Spark";
import { StateBadge } from "./StateBadge";

/** At the side of a wide window. */
export function Side() {
  return (
    <div class="side">
      <a class="brand" href="/" aria-label="Leasehold, overview">
        <Mark />
        <span>Leasehold</span>
      </a>
      {me.value !== null && (
        <nav class="side-pages" aria-label="Pages">
          {PAGES.map((page) => (
            <SideLink key={page.path} page={page} />
          ))}
        </nav>
      )}
      <div class="side-end">
        <Account />
        <Tools />
      </div>
    </div>
  );
}

function SideLink({ page }: { page: Page }) {
  const count = countOf(page.path);
  return (
    <a class="page-link" href={page.path} aria-current={isAt(page) ? "page" : undefined}>
      <Icon name={page.icon} />
      <span class="page-name">{page.name}</span>
      {count > 0 && (
        <span class="page-count" aria-hidden="true">
          {count > 9_999 ? "9999+" : count}
        </span>
      )}
    </a>
  );
}

/** What is going on behind a page, in one figure. */
function countOf(to: string): number {
  if (to === "/leases") return leasesTotal.value;
  if (to === "/queue") return (queue.value?.states.QUEUED ?? 0) + (queue.value?.states.HELD ?? 0);
  return 0;
}

function isAt(page: Page): boolean {
  return pageOf(path.value) === page;
}

/** Above every page: whose machine, whether all is well, how quiet it is and was. */
export function Top({ bare }: { bare: boolean }) {
  const shown = head.value;
  return (
    <header class="top">
      {bare && (
        <span class="brand">
          <Mark />
          <span>Leasehold</span>
        </span>
      )}
      {shown !== null && (
        <>
          <span class="node-name" title={`node ${shown.node_id}, preset ${shown.preset}, version ${shown.version}`}>
            {shown.node_id}
          </span>
          <HealthBadge />
          <StateBadge state={shown.state} />
          <Spark />
        </>
      )}
      <Live />
      {bare && <Tools />}
    </header>
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
    <span class={`live live-${at}`} title={WORDS[at]}>
      <Icon name={at === "live" ? "live" : "offline"} size={18} />
      <span class="live-word">{WORDS[at]}</span>
    </span>
  );
}

/** At the foot of a narrow window: the four that are needed most, and a way to the others. */
export function Foot() {
  if (me.value === null) return null;
  const first = PAGES.filter((page) => page.first);
  const elsewhere = !first.some(isAt);
  return (
    <nav class="foot-bar" aria-label="Pages">
      {first.map((page) => (
        <a class="foot-link" key={page.path} href={page.path} aria-current={isAt(page) ? "page" : undefined}>
          <Icon name={page.icon} size={22} />
          {page.name}
        </a>
      ))}
      <button
        class={`foot-link ${elsewhere ? "foot-here" : ""}`}
        type="button"
        aria-haspopup="dialog"
        onClick={() => (moreOpen.value = true)}
      >
        <Icon name="more" size={22} />
        More
      </button>
    </nav>
  );
}

/** The rest of the pages, and what concerns whoever looks. */
export function More() {
  const dialog = useRef<HTMLDialogElement>(null);
  const open = moreOpen.value;
  const at = path.value;
  useEffect(() => {
    if (open) dialog.current?.showModal();
    else dialog.current?.close();
  }, [open]);
  useEffect(() => void (moreOpen.value = false), [at]);
  const outside = (event: MouseEvent) => {
    if (event.target === dialog.current) moreOpen.value = false;
  };
  return (
    <dialog ref={dialog} class="sheet" aria-label="More pages" onClose={() => (moreOpen.value = false)} onClick={outside}>
      <nav class="sheet-pages" aria-label="More pages">
        {PAGES.filter((page) => !page.first).map((page) => (
          <SideLink key={page.path} page={page} />
        ))}
      </nav>
      <div class="side-end">
        <Account />
        <Tools />
      </div>
    </dialog>
  );
}

function Account() {
  const who = me.value;
  if (who === null) return null;
  return (
    <span class="account">
      {personOf(who.name)} <span class="account-role">{who.role}</span>
    </span>
  );
}

function Tools() {
  theme.value;
  const to = isDark() ? "light" : "dark";
  const leave = () => {
    moreOpen.value = false;
    signOut().catch((error: Error) => tell({ text: error.message, tone: "failed" }));
  };
  return (
    <span class="tools">
      <button class="quiet-button" type="button" onClick={turnTheme} aria-label={`Show in ${to} colours`}>
        <Icon name={to === "light" ? "sun" : "moon"} />
      </button>
      {me.value !== null && (
        <>
          <button class="quiet-button keys-button" type="button" onClick={() => (helping.value = true)} aria-label="Keys">
            <Icon name="keys" />
          </button>
          <button class="quiet-button" type="button" onClick={leave} aria-label="Sign out">
            <Icon name="leave" />
          </button>
        </>
      )}
    </span>
  );
}
