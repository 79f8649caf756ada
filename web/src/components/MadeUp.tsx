import "../styles/made-up.css";
import { head } from "../state/dashboard";
import { Icon } from "./Icon";

/** Says over every page that nothing on it is measured: the server is one of `leasehold demo`. */
export function MadeUp() {
  const said = head.value?.made_up ?? "";
  if (!said) return null;
  return (
    <aside class="made-up" aria-label="Made-up data">
      <Icon name="lost" size={18} />
      <strong>{said}</strong>
    </aside>
  );
}
