// The steps of a lane as bars, and as columns where they are too narrow for that.

import type { Row } from "../src/types.js";
import type { Colours, Pen } from "./canvas.js";
import { LANE } from "./sizes.js";
import { ORDER, stateOf, TEXT } from "./states.js";
import type { Track } from "./track.js";
import { span } from "./words.js";

const HIGH = LANE - 12;
/** The number of states that even a single step shows: all that need somebody. */
const URGENT = 4;
const UNLIT = ORDER.length;

/** What bars are drawn with. `lit`: the steps that match; null: all do. */
export interface Easel {
  pen: Pen;
  colours: Colours;
  track: Track;
  lit: Set<number> | null;
  selected: number;
}

interface Bar {
  row: Row;
  x: number;
  end: number;
}

export function drawSteps(easel: Easel, steps: number[], rows: (Row | undefined)[]): void {
  const { pen, colours, track, lit, selected } = easel;
  const { width } = track;
  pen.font = colours.font;
  pen.textBaseline = "middle";
  drawGaps(easel);
  const columns = new Map<number, number[]>();
  const wide: Bar[] = [];
  for (const n of steps) {
    const row = rows[n];
    if (!row) continue;
    const [x, end] = track.bar(row);
    if (end < 0 || x > width) continue;
    if (end - x < 4 && n !== selected) {
      const at = Math.floor(x / 2);
      let shares = columns.get(at);
      if (!shares) columns.set(at, (shares = [0, 0, 0, 0, 0, 0, 0]));
      shares[!lit || lit.has(n) ? ORDER.indexOf(row.status) : UNLIT]!++;
    } else wide.push({ row, x, end });
  }
  for (const [at, shares] of columns) drawColumn(easel, at, shares);
  for (const { row, x, end } of wide) {
    const from = Math.max(x, -4);
    drawBar(easel, row, from, Math.min(Math.max(end - from, 3), width + 8));
  }
}

/** Where no process was there. */
function drawGaps({ pen, colours, track }: Easel): void {
  pen.strokeStyle = colours.line!;
  for (const gap of track.scale.gaps) {
    const x = Math.round(track.x(gap.x)) + 0.5;
    if (x < 0 || x > track.width) continue;
    pen.setLineDash([2, 3]);
    pen.beginPath();
    pen.moveTo(x, 0);
    pen.lineTo(x, LANE);
    pen.stroke();
    pen.setLineDash([]);
  }
}

/** Bars too narrow to tell apart: every state has its share of the column, and the rare bad one 3 px. */
function drawColumn({ pen, colours }: Easel, at: number, shares: number[]): void {
  const sum = shares.reduce((a, b) => a + b, 0);
  let y = 3;
  shares.forEach((share, state) => {
    if (!share) return;
    const tall = state < URGENT ? Math.max(3, (share / sum) * HIGH) : HIGH + 3 - y;
    pen.fillStyle = colours[ORDER[state] ?? "line"]!;
    pen.fillRect(at * 2, y, sum > 1 ? 2 : 1.5, Math.min(tall, HIGH + 3 - y));
    y += tall;
  });
}

function drawBar({ pen, colours, lit, selected }: Easel, row: Row, x: number, w: number): void {
  const seen = !lit || lit.has(row.n);
  const chosen = row.n === selected;
  const tint = colours[row.status] || colours.quiet!;
  const hollow = Boolean(row.taken || row.old || row.status === "cancelled");
  pen.save();
  pen.globalAlpha = seen ? (row.old ? 0.55 : 1) : 0.15;
  pen.beginPath();
  pen.roundRect(x + 0.5, 3.5, Math.max(w - 1, 2), HIGH - 1, 3);
  pen.fillStyle = pen.strokeStyle = tint;
  if (!hollow) pen.fill();
  pen.lineWidth = chosen ? 2 : 1;
  if (chosen) pen.strokeStyle = colours.fg!;
  pen.stroke();
  pen.clip();
  if (row.status === "in_doubt" || row.status === "waiting") {
    drawStripes(pen, hollow ? tint : colours.bg!, x, w);
    pen.globalAlpha = seen ? 1 : 0.15;
  }
  if (row.progress !== undefined) {
    pen.fillStyle = colours.bg!;
    pen.globalAlpha *= 0.35;
    pen.fillRect(x + w * row.progress, 3, w, HIGH);
    pen.globalAlpha = seen ? 1 : 0.15;
  }
  if (w > 22) {
    pen.fillStyle = hollow ? colours.fg! : colours.on!;
    pen.fillText(fitting(pen, row, w - (Math.max(x, 0) - x) - 10), Math.max(x, 0) + 6, 3 + HIGH / 2);
  }
  pen.restore();
}

function drawStripes(pen: Pen, colour: string, x: number, w: number): void {
  pen.strokeStyle = colour;
  pen.globalAlpha *= 0.45;
  pen.lineWidth = 3;
  for (let at = x - HIGH; at < x + w; at += 9) {
    pen.beginPath();
    pen.moveTo(at, HIGH + 4);
    pen.lineTo(at + HIGH, 2);
    pen.stroke();
  }
}

/** As much of a step's name and time as there is room for. */
function fitting(pen: Pen, row: Row, room: number): string {
  const mark = row.status === "completed" ? (row.replays ? "↻ " : "") : `${stateOf(row.status)[0]}${TEXT} `;
  const says = `${mark}${row.name}`;
  const whole = says + (row.took !== undefined ? `  ${span(row.took)}` : "");
  const most = Math.floor((room / pen.measureText(whole).width) * whole.length); // about so many letters fit
  if (most >= whole.length) return whole;
  if (most >= says.length) return says;
  return most > 3 ? `${says.slice(0, most - 1)}…` : "";
}
