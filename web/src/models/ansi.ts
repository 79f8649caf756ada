// The output of programs, as text with the sixteen colours of a terminal; everything else that would steer one goes.

export interface Part {
  text: string;
  /** Classes of the style sheet, "" for plain text. */
  look: string;
}

export interface Pen {
  bold: boolean;
  /** 0 to 7, or -1 for the colour of the text. */
  colour: number;
}

export function newPen(): Pen {
  return { bold: false, colour: -1 };
}

// ESC [ … letter, ESC ] … BEL or ESC \, other strings up to ESC \, and two- or three-byte escapes.
const ESCAPE =
  /\u001b(?:\[([0-9;:?<=>!]*)[ -/]*([@-~])|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[PX^_][^\u001b]*(?:\u001b\\)?|[ -/]*[0-~])?/g;
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** One line as parts of one look each. `pen` goes on from line to line, as in a terminal. */
export function parts(line: string, pen: Pen): Part[] {
  const found: Part[] = [];
  let at = 0;
  for (const match of line.matchAll(ESCAPE)) {
    put(found, line.slice(at, match.index), pen);
    at = match.index + match[0].length;
    if (match[2] === "m") turn(pen, match[1] ?? "");
  }
  put(found, line.slice(at), pen);
  return found;
}

/** What a carriage return has left of a line: a progress bar shows its last state. */
export function overwritten(line: string): string {
  const text = line.replace(/\r+$/, "");
  return text.slice(text.lastIndexOf("\r") + 1);
}

function put(found: Part[], raw: string, pen: Pen): void {
  const text = raw.replace(UNSEEN, "");
  if (!text) return;
  const look = [pen.colour >= 0 ? `ansi-${pen.colour}` : "", pen.bold ? "ansi-bold" : ""].filter(Boolean).join(" ");
  found.push({ text, look });
}

function turn(pen: Pen, codes: string): void {
  const numbers = codes.split(/[;:]/).map(Number);
  for (let at = 0; at < numbers.length; at += 1) {
    const code = numbers[at] ?? 0;
    if (code === 0) Object.assign(pen, newPen());
    else if (code === 1) pen.bold = true;
    else if (code === 22) pen.bold = false;
    else if (code >= 30 && code <= 37) pen.colour = code - 30;
    else if (code >= 90 && code <= 97) pen.colour = code - 90;
    else if (code === 39) pen.colour = -1;
    else if (code === 38 || code === 48) at += numbers[at + 1] === 2 ? 4 : 2; // Other palettes: as plain text.
  }
}
