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
  home: "M4 11.5 12 4l8 7.5M6.5 10v9.5h11V10",
  machine: "M7 7h10v10H7zM10 3.5V7M14 3.5V7M10 17v3.5M14 17v3.5M3.5 10H7M3.5 14H7M17 10h3.5M17 14h3.5",
  lease: "M8 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8ZM12 12h8.5M16.5 12v3M20 12v2.5",
  calendar: "M4.5 6h15v14h-15zM4.5 10.5h15M8.5 3.5V8M15.5 3.5V8",
  addon: "M9 3.5V8M15 3.5V8M6.5 8h11v3.5a5.5 5.5 0 0 1-11 0zM12 17v4",
  bell: "M6 17h12l-1.6-2.5V10a4.4 4.4 0 0 0-8.8 0v4.5zM10.5 20h3",
  events: "M3.5 12H8l2.5-7 4 14 2-7h4",
  settings: "M4 7.5h8.5M17.5 7.5H20M15 5v5M4 16.5h2.5M11.5 16.5H20M9 14v5",
  more: "M5 12v.2M12 12v.2M19 12v.2",
  keys: "M3.5 7h17v10h-17zM7 10.3v.1M10.3 10.3v.1M13.7 10.3v.1M17 10.3v.1M8 13.7h8",
  bin: "M5 7h14M9.5 7V4.5h5V7M7 7l1 12.5h8L17 7",
  pen: "M5 19l1-4L16 5l3 3L9 18z",
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
