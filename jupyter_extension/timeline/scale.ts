// Time on a line, and what part of the line is in sight.

/** What lies between two sessions takes this much of the width. */
const GAP = 0.04;

/** From when to when a process advanced the run; null: it still does. */
export type Session = [from: number, to: number | null];

interface Part {
  from: number;
  to: number;
  x: number;
  w: number;
}

/** Time on a line of length 1 on which times without a process are short. */
export class Scale {
  readonly gaps: { x: number; seconds: number }[];
  private readonly parts: Part[] = [];

  constructor(sessions: Session[], now: number) {
    const given: Session[] = sessions.length ? sessions : [[now, now]];
    const whole = given.reduce((sum, [a, b]) => sum + Math.max((b ?? now) - a, 0.001), 0);
    const room = 1 - Math.min(GAP * (given.length - 1), 0.5);
    const gap = given.length > 1 ? (1 - room) / (given.length - 1) : 0;
    let x = 0;
    for (const [from, end] of given) {
      const to = Math.max(end ?? now, from + 0.001);
      const w = ((to - from) / whole) * room;
      this.parts.push({ from, to, x, w });
      x += w + gap;
    }
    this.gaps = this.parts
      .slice(1)
      .map((part, at) => ({ x: part.x - gap / 2, seconds: part.from - this.parts[at]!.to }));
  }

  /** Where a time is on the line. */
  x(t: number): number {
    const parts = this.parts;
    for (let at = parts.length - 1; at >= 0; at--) {
      const part = parts[at]!;
      if (t >= part.from || at === 0) {
        return part.x + Math.max(0, Math.min(1, (t - part.from) / (part.to - part.from))) * part.w;
      }
    }
    return 0;
  }

  /** Seconds of work from the beginning to there. */
  worked(x: number): number {
    let sum = 0;
    for (const part of this.parts) {
      if (x < part.x + part.w) return sum + (Math.max(0, x - part.x) / part.w) * (part.to - part.from);
      sum += part.to - part.from;
    }
    return sum;
  }

  /** Where so many seconds of work are over. */
  at(seconds: number): number {
    for (const part of this.parts) {
      const length = part.to - part.from;
      if (seconds <= length) return part.x + (seconds / length) * part.w;
      seconds -= length;
    }
    return 1;
  }
}

/** The part of the line that is in sight. */
export type Zoom = [from: number, to: number];

export const WHOLE: Zoom = [0, 1];

/** `by` times as much of the line in sight; what is at `at` of the width stays there. */
export function zoomed([a, b]: Zoom, by: number, at: number): Zoom {
  const middle = a + (b - a) * at;
  const size = Math.min(1, Math.max((b - a) * by, 1e-5));
  const from = Math.max(0, Math.min(1 - size, middle - size * at));
  return [from, from + size];
}

/** Moved by so many widths, no further than there is something. */
export function panned([a, b]: Zoom, by: number): Zoom {
  const from = Math.max(0, Math.min(1 - (b - a), a + by * (b - a)));
  return [from, from + b - a];
}

/** How many seconds ticks are apart: what people count in, and no more than `most` of them. */
export function tickFor(seconds: number, most: number): number {
  return TICKS.find((tick) => seconds / tick <= most) || Math.ceil(seconds / most / 86400) * 86400;
}

const TICKS = [
  0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600,
  86400,
];
