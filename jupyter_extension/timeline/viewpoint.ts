// From where somebody looks at a run: what is shared by the list and the lanes, and outlives a change between them.

import { WHOLE } from "./scale.js";
import type { Zoom } from "./scale.js";

export type Mode = "list" | "lanes";

export class Viewpoint {
  mode: Mode = "list";
  /** The number of the step that is chosen; -1: none. */
  selected = -1;
  /** Whether the list stays at its end when steps come. */
  follow = true;
  zoom: Zoom = WHOLE;

  /** That step, and no longer whatever comes. */
  choose(n: number): void {
    this.selected = n;
    this.follow = false;
  }
}
