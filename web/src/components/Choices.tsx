/** One of a few, side by side. */
export function Choices<T extends string | number | undefined>(props: {
  legend: string;
  options: [label: string, value: T][];
  chosen: T;
  choose: (value: T) => void;
}) {
  return (
    <fieldset class="choices">
      <legend>{props.legend}</legend>
      {props.options.map(([label, value]) => (
        <label class="choice" key={label}>
          <input type="radio" name={props.legend} checked={props.chosen === value} onChange={() => props.choose(value)} />
          <span>{label}</span>
        </label>
      ))}
    </fieldset>
  );
}
