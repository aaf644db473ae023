// Where keys lead in the lanes: along one in time, and to what went on at that time in another.

import type { Row } from "../src/types.js";

/** What there is to go to. */
export interface Ways {
  rows: (Row | undefined)[];
  inLane: Map<number, number[]>;
  order: number[];
}

const MOVES = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"];

/** The step a key leads to from `row`; -1: there is none; undefined: the key means nothing. */
export function laneMove(key: string, row: Row | undefined, { rows, inLane, order }: Ways): number | undefined {
  if (!MOVES.includes(key)) return undefined;
  const full = order.filter((id) => inLane.get(id)?.length);
  if (!full.length) return -1;
  if (!row) return inLane.get(full[0]!)![0];
  const steps = inLane.get(row.lane)!;
  const at = steps.indexOf(row.n);
  if (key === "ArrowLeft") return steps[Math.max(0, at - 1)];
  if (key === "ArrowRight") return steps[Math.min(steps.length - 1, at + 1)];
  if (key === "Home") return steps[0];
  if (key === "End") return steps[steps.length - 1];
  const next = full.indexOf(row.lane) + (key === "ArrowUp" ? -1 : 1);
  const there = inLane.get(full[Math.max(0, Math.min(full.length - 1, next))]!)!;
  const apart = (n: number): number => Math.abs(rows[n]!.at - row.at);
  return there.reduce((best, n) => (apart(n) < apart(best) ? n : best), there[0]!);
}
