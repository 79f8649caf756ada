// From figures to what people read.

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const clockSeconds = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});
const dayClock = new Intl.DateTimeFormat(undefined, {
  weekday: "short",
  hour: "2-digit",
  minute: "2-digit",
});
const dateClock = new Intl.DateTimeFormat(undefined, {
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
});
const DAY_MS = 86_400_000;

/** 14:05, with the weekday where that is another one, and with the date where it is not of this week. */
export function timeOf(ms: number, now = Date.now()): string {
  const far = Math.abs(ms - now);
  if (far < DAY_MS && new Date(ms).getDate() === new Date(now).getDate()) return clock.format(ms);
  return (far < 6 * DAY_MS ? dayClock : dateClock).format(ms);
}

const day = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });

/** Thursday 26 November */
export function dayOf(ms: number): string {
  return day.format(ms);
}

/** 14:05:09 */
export function secondOf(ms: number): string {
  return clockSeconds.format(ms);
}

/** 8 s, 12 min, 3 h 05 min, 2 d 4 h: two units at most. */
export function durationOf(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  const min = Math.floor(s / 60);
  if (min < 10) return `${min} min ${String(s % 60).padStart(2, "0")} s`;
  if (min < 60) return `${min} min`;
  const h = Math.floor(min / 60);
  if (h < 24) return `${h} h ${String(min % 60).padStart(2, "0")} min`;
  return `${Math.floor(h / 24)} d ${h % 24} h`;
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** 512 MiB, 3.4 GiB */
export function bytesOf(bytes: number): string {
  let unit = 0;
  let left = bytes;
  while (left >= 1000 && unit < UNITS.length - 1) {
    left /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || left >= 100 ? 0 : 1;
  return `${left.toFixed(digits).replace(/\.0$/, "")} ${UNITS[unit]}`;
}

/** 1.5 cores */
export function coresOf(millicores: number): string {
  const cores = millicores / 1000;
  return `${Number(cores.toFixed(cores < 10 ? 1 : 0))} ${cores === 1 ? "core" : "cores"}`;
}

/** A figure of the capacity, by the name of its dimension. */
export function amountOf(dimension: string, amount: number): string {
  if (dimension.endsWith("_bytes")) return bytesOf(amount);
  if (dimension.endsWith("_millicores")) return coresOf(amount);
  return String(amount);
}

/** 45 %, 1.2 MB/s; without one, a dash. */
export function figureOf(value: number | null, unit: string): string {
  if (value === null) return "–";
  const text = Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toFixed(1)));
  return unit === "%" ? `${text} %` : `${text}${unit}`;
}

const ISO_TIME = /\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)/g;

/** A sentence of the server, with times and spans as people read them. */
export function readable(sentence: string): string {
  const text = sentence
    .replace(ISO_TIME, (time) => timeOf(Date.parse(time)))
    .replace(/\b(\d+) s left\b/g, (_, sec) => `${durationOf(Number(sec) * 1000)} left`)
    .replace(
      /^Capacity exceeded: used=(\d+), requested=(\d+), capacity=(\d+)/,
      (_, used, asked, all) => `No room: ${used} of ${all} units are held, and it asks for ${asked}`,
    );
  return capitalised(text);
}

/** One, or many. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** A principal without what only machines need: `user:ada` is ada. */
export function personOf(principal: string): string {
  return principal.replace(/^(user|token):/, "");
}

export function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** `40 units, 2 cores, 3 GiB of memory, gpu:0 (1)`: what is asked for, or held. */
export function chargeOf(charge: object, gang = 1): string {
  const parts: string[] = [];
  for (const [name, amount] of Object.entries(charge)) {
    if (name === "units" && typeof amount === "number") parts.push(counted(amount, "unit"));
    else if (typeof amount === "number" && amount) parts.push(amountOf(name, amount) + sort(name));
    else if (amount !== null && typeof amount === "object") {
      for (const [device, count] of Object.entries(amount)) parts.push(`${device} (${count})`);
    }
  }
  return parts.join(", ") + (gang > 1 ? `, for each of ${gang} at once` : "");
}

function sort(name: string): string {
  return name === "memory_bytes" ? " of memory" : name === "disk_bytes" ? " of disk" : "";
}
