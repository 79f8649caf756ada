// Lines of output in the page: appended as text, never as markup, and bounded whatever a program prints.
import { newPen, overwritten, parts, type Pen } from "../models/ansi";

export const LINES_MAX = 2_000;
const LINE_MAX = 4_000;

export type Stream = "out" | "err" | "note";

interface Open {
  raw: string;
  element: HTMLElement;
  /** The pen as it was where the line began. */
  pen: Pen;
}

export class LogPane {
  private readonly open = new Map<Stream, Open>();
  private readonly pens = new Map<Stream, Pen>();
  private readonly decoders = new Map<Stream, TextDecoder>();
  private lines = 0;

  /** `onCut` is told when the oldest lines go. */
  constructor(
    private readonly box: HTMLElement,
    private readonly onCut: () => void,
  ) {}

  clear(): void {
    this.box.replaceChildren();
    this.open.clear();
    this.pens.clear();
    this.decoders.clear();
    this.lines = 0;
  }

  add(stream: Stream, bytes: Uint8Array<ArrayBuffer>): void {
    const text = this.decoder(stream).decode(bytes, { stream: true });
    const pieces = text.split("\n");
    // Of what would be cut at once, nothing is drawn.
    const first = Math.max(0, pieces.length - 1 - LINES_MAX);
    if (first > 0) {
      this.open.delete(stream);
      this.onCut();
    }
    for (let at = first; at < pieces.length; at += 1) {
      const piece = pieces[at] ?? "";
      const isLast = at === pieces.length - 1;
      if (piece || !isLast) this.write(stream, piece, !isLast);
    }
    this.trim();
  }

  private write(stream: Stream, piece: string, isWhole: boolean): void {
    const line = this.open.get(stream) ?? this.begun(stream);
    if (line.raw.length < LINE_MAX) line.raw = (line.raw + piece).slice(0, LINE_MAX + 1);
    const pen = { ...line.pen };
    this.draw(line, pen);
    if (isWhole) {
      this.pens.set(stream, pen);
      this.open.delete(stream);
    } else {
      this.open.set(stream, line);
    }
  }

  private begun(stream: Stream): Open {
    const element = document.createElement("span");
    element.className = `log-line log-${stream}`;
    this.box.append(element);
    this.lines += 1;
    return { raw: "", element, pen: { ...(this.pens.get(stream) ?? newPen()) } };
  }

  private draw(line: Open, pen: Pen): void {
    const isCut = line.raw.length > LINE_MAX;
    const found = parts(overwritten(line.raw.slice(0, LINE_MAX)), pen).map(({ text, look }) => {
      if (!look) return document.createTextNode(text);
      const part = document.createElement("span");
      part.className = look;
      part.textContent = text;
      return part;
    });
    line.element.replaceChildren(...found, isCut ? "…" : "");
  }

  private trim(): void {
    if (this.lines <= LINES_MAX) return;
    while (this.lines > LINES_MAX) {
      this.box.firstElementChild?.remove();
      this.lines -= 1;
    }
    this.onCut();
  }

  private decoder(stream: Stream): TextDecoder {
    const known = this.decoders.get(stream) ?? new TextDecoder();
    this.decoders.set(stream, known);
    return known;
  }
}
