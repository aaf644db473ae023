// The time above the lanes: seconds of work, and how long nothing went on.

import type { Colours, Pen } from "./canvas.js";
import type { Zoom } from "./scale.js";
import { tickFor } from "./scale.js";
import type { Track } from "./track.js";
import { span } from "./words.js";

export const AXIS = 18;

export function drawAxis(pen: Pen, colours: Colours, track: Track, [a, b]: Zoom): void {
  const { scale, width } = track;
  const taken: [from: number, to: number][] = [];
  const free = (from: number, to: number): boolean => !taken.some(([a, b]) => from < b && to > a);
  pen.font = colours.font;
  pen.textBaseline = "middle";
  pen.fillStyle = colours.waiting!;
  for (const gap of scale.gaps) {
    const says = `⋯ ${span(gap.seconds)} later`;
    const long = pen.measureText(says).width;
    const x = Math.min(track.x(gap.x) - long / 2, width - long);
    if (x + long < 0 || gap.seconds < 0.5 || !free(x, x + long)) continue;
    pen.fillText(says, Math.max(0, x), 8);
    taken.push([Math.max(0, x) - 8, Math.max(0, x) + long + 8]);
  }
  pen.fillStyle = colours.quiet!;
  const from = scale.worked(a);
  const to = scale.worked(b);
  const tick = tickFor(Math.max(to - from, 1e-6), Math.max(2, width / 90));
  for (let t = Math.ceil(from / tick) * tick; t <= to + 1e-9; t += tick) {
    const x = track.x(scale.at(t));
    pen.fillRect(Math.round(x), 13, 1, 5);
    const says = t ? span(t).replace(".0 s", " s") : "0";
    const long = pen.measureText(says).width;
    if (x + 3 + long > width || !free(x, x + 3 + long)) continue;
    pen.fillText(says, x + 3, 8);
  }
}
