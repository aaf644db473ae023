// Lines under each other of which only those in sight are there: they are filled again and again.

import { h } from "./nodes.js";
import { ROW, TALL } from "./sizes.js";

/** What a grid shows: the steps, or the lanes. */
export interface Lines {
  /** What they are, for those who do not see them. */
  readonly label: string;
  /** The height of each. */
  readonly height: number;
  readonly length: number;
  /** Whether the end is to stay in sight. */
  readonly atEnd: boolean;
  /** An empty line. */
  make(): HTMLElement;
  /** Before lines are filled. */
  begin(): void;
  /** Put the line at that place into `line`; `anew`: also what depends on nothing in it. */
  fill(line: HTMLElement, place: number, anew: boolean): void;
  /** After the last one. */
  end(): void;
  /** The place of the line in which a step is; -1: none. */
  placeOf(n: number): number;
  /** The step a key leads to; -1: the key has done something else; undefined: it means nothing. */
  key(key: string): number | undefined;
}

export class Grid {
  readonly el: HTMLElement;
  private readonly fill = h("div", { class: "fill", role: "presentation" });
  private readonly pool = h("div", { class: "pool", role: "rowgroup" });
  private made: HTMLElement[] = [];
  private lines: Lines | null = null;

  /** select: a key has led to a step. */
  constructor(select: (n: number) => void) {
    const onkeydown = (event: KeyboardEvent): void => {
      if (event.target !== this.el) return;
      const step = this.lines?.key(event.key);
      if (step === undefined) return;
      event.preventDefault();
      if (step >= 0) select(step);
    };
    const props = { class: "grid", role: "grid", tabindex: "0", onkeydown };
    this.el = h("div", props, this.fill, this.pool);
  }

  /** scrolled: somebody has; whether to the end. */
  watch(scrolled: (end: boolean) => void): void {
    const { el } = this;
    const onscroll = (): void => scrolled(el.scrollTop + el.clientHeight >= el.scrollHeight - ROW);
    el.addEventListener("scroll", onscroll, { passive: true });
  }

  /** Other lines than before. */
  show(lines: Lines): void {
    this.lines = lines;
    this.pool.replaceChildren();
    this.made = [];
    this.el.setAttribute("aria-label", lines.label);
  }

  draw(anew: boolean): void {
    const { lines, el } = this;
    if (!lines) return;
    const { height, length } = lines;
    this.resize(length, height);
    if (lines.atEnd) el.scrollTop = length * height;
    const first = Math.max(0, Math.floor(el.scrollTop / height) - 2);
    const sight = Math.min(el.clientHeight || TALL, TALL);
    const last = Math.min(length, Math.ceil((el.scrollTop + sight) / height) + 2);
    while (this.made.length < last - first) {
      const line = lines.make();
      this.made.push(line);
      this.pool.append(line);
    }
    lines.begin();
    this.made.forEach((line, at) => {
      const place = first + at;
      line.hidden = place >= last;
      if (place >= last) return;
      line.style.transform = `translateY(${place * height}px)`;
      line.setAttribute("aria-rowindex", String(place + 1));
      lines.fill(line, place, anew);
    });
    lines.end();
  }

  /** Scroll as far as it takes to see a step. */
  reveal(n: number): void {
    const { lines, el } = this;
    if (!lines) return;
    const top = lines.placeOf(n) * lines.height;
    if (top < el.scrollTop) el.scrollTop = top;
    else if (top + lines.height > el.scrollTop + el.clientHeight) {
      el.scrollTop = top + lines.height - el.clientHeight + 2;
    }
  }

  private resize(length: number, height: number): void {
    const whole = `${length * height}px`;
    if (this.fill.style.height !== whole) this.fill.style.height = whole;
    const tall = `${Math.min(Math.max(length, 1) * height + 2, TALL)}px`;
    if (this.el.style.height !== tall) this.el.style.height = tall;
    this.el.hidden = !length;
    this.el.setAttribute("aria-rowcount", String(length));
  }
}
