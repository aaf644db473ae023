// A lane as a line: its name, how many steps it has, and the canvas they are drawn on.

import type { Lane, Row } from "../src/types.js";
import { fresh, h, put } from "./nodes.js";
import { stateOf } from "./states.js";
import { figure, span } from "./words.js";

/** What a lane needs: `at`, the step at `x` of a canvas so wide, and `open`, which shows it. */
export interface LaneHost {
  at: (lane: number, x: number, width: number) => Row | undefined;
  open: (n: number) => void;
}

/** An empty line. */
export function makeLane({ at, open }: LaneHost): HTMLElement {
  const line = h("div", { class: "lane", role: "row" });
  const canvas = h("canvas", { "aria-hidden": "true" });
  const label = h("span", { class: "label", role: "rowheader" }, h("span"), h("small"));
  line.append(label, h("span", { class: "track", role: "gridcell" }, canvas, h("span", { class: "away" })));
  const under = ({ clientX }: MouseEvent): Row | undefined => {
    const { left, width } = canvas.getBoundingClientRect();
    return at(Number(line.dataset.lane), clientX - left, width);
  };
  canvas.addEventListener("click", (event) => {
    const row = under(event);
    if (row) open(row.n);
  });
  canvas.addEventListener("mousemove", (event) => {
    const row = under(event);
    canvas.style.cursor = row ? "pointer" : "";
    canvas.title = row ? `${row.id} ${(row.call || row.name).slice(0, 120)}\n${saying(row)}` : "";
  });
  line.id = fresh("r");
  return line;
}

/** Put a lane into a line; `chosen`: the step that is chosen, if it is in this lane. */
export function fillLane(line: HTMLElement, lane: Lane, steps: number, chosen: Row | null): void {
  line.dataset.lane = String(lane.id);
  const [label, track] = line.children as unknown as [HTMLElement, HTMLElement];
  label.style.paddingLeft = `${6 + Math.min(lane.depth, 8) * 10}px`;
  put(label.children[0]!, `${lane.depth ? "↳ " : ""}${lane.name.split("/").pop()}`);
  put(label.children[1]!, figure(steps));
  label.title = lane.name + (lane.step ? ` (inside step ${lane.step})` : "");
  line.setAttribute("aria-selected", String(Boolean(chosen)));
  put(track.children[1]!, chosen ? `step ${chosen.id} ${chosen.name}, ${saying(chosen)}` : `${steps} steps`);
}

/** The canvas in a lane. */
export const trackOf = (line: HTMLElement): HTMLCanvasElement => line.children[1]!.children[0] as HTMLCanvasElement;

const saying = ({ status, took }: Row): string => `${stateOf(status)[1]}${took !== undefined ? `, ${span(took)}` : ""}`;
