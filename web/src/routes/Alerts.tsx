import { Card, Empty } from "../components/Card";
import { Collectors } from "../components/Collectors";
import { HealthBadge } from "../components/HealthBadge";
import { capitalised } from "../models/format";
import { visible } from "../models/job";
import { head, health } from "../state/dashboard";

/** What needs attention: what is wrong with the figures or the machine, and what should be known. */
export function Alerts() {
  return (
    <>
      <h1 class="page-title">Alerts</h1>
      <Attention />
      <Collectors />
    </>
  );
}

function Attention() {
  const now = health.value;
  const notices = head.value?.notices ?? [];
  return (
    <Card title="Needs attention" id="attention" aside={<HealthBadge />}>
      {now === null && <Empty>Nothing is known yet.</Empty>}
      {now !== null && (
        <ul class="whys">
          {now.reasons.map((reason) => (
            <li key={reason}>{capitalised(visible(reason))}.</li>
          ))}
          {notices.map((notice) => (
            <li key={notice}>{capitalised(visible(notice))}.</li>
          ))}
        </ul>
      )}
    </Card>
  );
}
