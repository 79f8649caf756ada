// Icons as shapes, drawn in the colour of the text. They say nothing that words beside them don't say.
const SHAPES = {
  yes: "M4 12.5 9.5 18 20 7",
  no: "M6 6l12 12M18 6 6 18",
  urgent: "M12 4v10M12 18.5v.5",
  quiet: "M20 14.5A8 8 0 1 1 9.5 4 6.5 6.5 0 0 0 20 14.5Z",
  normal: "M4 12h16M4 12l4-4M20 12l-4 4",
  busy: "M13 3 5 14h6l-1 7 8-11h-6l1-7Z",
  panic: "M12 4 2.8 20h18.4L12 4ZM12 10v4.5M12 17.2v.3",
  unknown: "M9 9a3 3 0 1 1 4.2 2.8c-.8.4-1.2 1-1.2 1.9v.6M12 17.6v.4",
  block: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18ZM5.8 5.8l12.4 12.4",
  play: "M8 5.5v13l11-6.5-11-6.5Z",
  pause: "M8.5 5.5v13M15.5 5.5v13",
  stop: "M6.5 6.5h11v11h-11z",
  lost: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18ZM12 8v5M12 16v.3",
  word: "M4 6.5h16v10H10l-4 3.5v-3.5H4z",
  other: "M12 11v6M12 7.2v.3",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8ZM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M18.7 5.3l-1.4 1.4M6.7 17.3l-1.4 1.4",
  moon: "M20 14.5A8 8 0 1 1 9.5 4 6.5 6.5 0 0 0 20 14.5Z",
  clock: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18ZM12 7.5V12l3 2",
  hand: "M8 11V8a4 4 0 0 1 8 0v3M6 11h12v9H6z",
  list: "M4 6.5h16M4 12h16M4 17.5h10",
  again: "M19 12a7 7 0 1 1-2.2-5.1M19 3.5v4h-4",
  down: "M12 4.5v12M6.5 11.5 12 17l5.5-5.5M5 20.5h14",
  find: "M10.5 4.5a6 6 0 1 0 0 12 6 6 0 0 0 0-12ZM15 15l5 5",
  leave: "M10 5H5v14h5M14 8l4 4-4 4M18 12H9",
  close: "M6 6l12 12M18 6 6 18",
  live: "M5 12a7 7 0 0 1 14 0M8 12a4 4 0 0 1 8 0M12 12v.2",
  offline: "M4 4l16 16M8.5 8.7A6.9 6.9 0 0 0 5 12.2M12 7.5a7 7 0 0 1 7 4.7M12 16.5v.2",
} as const;

export type IconName = keyof typeof SHAPES;

export function Icon({ name, size = 20 }: { name: IconName; size?: number }) {
  return (
    <svg class="icon" width={size} height={size} viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={SHAPES[name]} />
    </svg>
  );
}
