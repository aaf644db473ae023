// A timeline wherever there is an element for it.

import type { Source, View } from "../src/timeline.js";
import type { Page } from "../src/types.js";
import { Timeline } from "./timeline.js";

/** Draw a timeline into `el` (its shadow root); `dispose` takes it out again. */
export function mount(el: HTMLElement, source: Source): View & { timeline: Timeline } {
  const timeline = new Timeline(el, source);
  return { timeline, dispose: () => timeline.dispose() };
}

/** A page that nobody follows: what a notebook file has of a run. */
export function still(page: Page): Source {
  return {
    subscribe: (tell) => {
      tell(page);
      return () => {};
    },
  };
}
