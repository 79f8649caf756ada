import { useEffect, useRef } from "preact/hooks";
import { go, queried, search } from "../router";
import { Icon } from "./Icon";

const PAUSE_MS = 250;
let timer = 0;

/** A search of what is shown: it stands in the address as `text`, and follows the typing. */
export function Find({ label, name = "text" }: { label: string; name?: string }) {
  const given = new URLSearchParams(search.value).get(name) ?? "";
  const show = (text: string) => {
    clearTimeout(timer);
    if (text !== (new URLSearchParams(search.peek()).get(name) ?? "")) go(queried({ [name]: text }), { instead: true });
  };
  const typed = (text: string) => {
    clearTimeout(timer);
    timer = setTimeout(() => show(text), PAUSE_MS);
  };
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    // Whoever goes back finds the text of then; whoever types is not disturbed.
    if (field.current && field.current !== document.activeElement) field.current.value = given;
  }, [given]);
  return (
    <form
      class="filters"
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        show(String(new FormData(event.currentTarget).get(name) ?? "").trim());
      }}
    >
      <label class="find">
        <Icon name="find" size={18} />
        <span class="only-read">{label}</span>
        <input
          ref={field}
          type="search"
          name={name}
          placeholder="Find…"
          maxLength={128}
          defaultValue={given}
          onInput={(event) => typed(event.currentTarget.value.trim())}
        />
      </label>
    </form>
  );
}
