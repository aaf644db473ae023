// The timeline as an anywidget: pages come as messages, and so do answers.

import type { Request, Source } from "../src/timeline.js";
import type { Page } from "../src/types.js";
import { mount } from "./mount.js";

/** What we use of an anywidget's model. */
interface WidgetModel {
  get(name: string): unknown;
  on(name: string, heard: (message: unknown) => void): void;
  off(name: string, heard: (message: unknown) => void): void;
  send(message: unknown): void;
}

type Message = { type: "page"; page: Page } | { type: "reply"; id: number; value?: unknown; error?: string };

interface Open {
  resolve: (value: unknown) => void;
  reject: (error: Error) => void;
}

/** anywidget's entry; returns what ends it. */
export function render({ model, el }: { model: WidgetModel; el: HTMLElement }): () => void {
  const place = el.appendChild(document.createElement("div"));
  const view = mount(place, sourceOf(model, place));
  return () => view.dispose();
}

function sourceOf(model: WidgetModel, place: HTMLElement): Source {
  const open = new Map<number, Open>();
  let last = 0;
  let tell: (page: Page) => void = () => {};
  const heard = (given: unknown): void => {
    const message = given as Message | null;
    if (message?.type === "page") tell(message.page);
    else if (message?.type === "reply") {
      const waiting = open.get(message.id);
      open.delete(message.id);
      if (message.error) waiting?.reject(new Error(message.error));
      else waiting?.resolve(message.value);
    }
  };
  // The trait is what a saved notebook and a late view have.
  const snap = (): void => {
    const page = model.get("snapshot") as Page | null;
    if (page && page.run) tell(page);
  };
  return {
    subscribe: (to) => {
      tell = to;
      model.on("msg:custom", heard);
      model.on("change:snapshot", snap);
      snap();
      model.send({ type: "since", id: ++last, feed: "", mark: 0 });
      return () => {
        model.off("msg:custom", heard);
        model.off("change:snapshot", snap);
      };
    },
    ask: (request: Request) => {
      // Our extension asks the server, which answers while a cell keeps the kernel busy; without it, the kernel.
      const detail = { run: model.get("run"), request, result: undefined as unknown };
      if (request.type !== "since" && told(place, "jupyter-durable:ask", detail)) return Promise.resolve(detail.result);
      return new Promise((resolve, reject) => {
        const id = ++last;
        open.set(id, { resolve, reject });
        model.send({ ...request, id });
      });
    },
    command: (id, args) => told(place, "jupyter-durable:command", { id, args }),
  };
}

/** Tell whoever is around `place`; true: somebody (our extension) does it, and so has prevented the default. */
function told(place: HTMLElement, name: string, detail: unknown): boolean {
  const event = new CustomEvent(name, { bubbles: true, composed: true, cancelable: true, detail });
  return !place.dispatchEvent(event);
}
