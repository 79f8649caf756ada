import { head, newestAt } from "../state/dashboard";
import { again, connection, lostWhy } from "../state/connection";
import { now } from "../state/clock";
import { capitalised, durationOf, secondOf } from "../models/format";
import { Icon } from "./Icon";

/** What stands between the reader and the truth: a connection that is lost, or paused. */
export function Banner() {
  return (
    <div class="banners" role="status">
      {connection.value === "lost" && <Lost />}
      {connection.value === "paused" && <p class="banner">Paused while nobody looks.</p>}
    </div>
  );
}

function Lost() {
  const at = newestAt.value;
  return (
    <p class="banner banner-bad">
      <Icon name="offline" />
      <span>
        <strong>Not connected.</strong> {lostWhy.value}.{" "}
        {at > 0 && (
          <>
            What you see is of {secondOf(at)}
            <span aria-hidden="true"> ({durationOf(now.value - at)} ago)</span>.{" "}
          </>
        )}
        Trying again by itself.
      </span>
      <button class="button small" type="button" onClick={again}>
        Try now
      </button>
    </p>
  );
}

/** What the owner should know beside the headline. */
export function Notices() {
  return (
    <ul class="banners" aria-label="Notices">
      {(head.value?.notices ?? []).map((notice) => (
        <li class="banner" key={notice}>
          <Icon name="lost" size={18} />
          <span>{capitalised(notice)}.</span>
        </li>
      ))}
    </ul>
  );
}
