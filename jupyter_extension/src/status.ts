// What waits for a person, where it is seen without looking for it: the status bar, and the browser's notifications.

import type { TranslationBundle } from "@jupyterlab/translation";
import { Signal } from "@lumino/signaling";
import { Widget } from "@lumino/widgets";

import { h, icon } from "./dom.js";
import type { Live } from "./live.js";
import type { Preferences } from "./settings.js";

/** The status bar's item; not there while nothing waits. */
export class Waiting extends Widget {
  readonly activeChanged = new Signal<this, void>(this);
  private readonly text = h("span");

  constructor(
    private readonly live: Live,
    private readonly trans: TranslationBundle,
    show: () => void,
  ) {
    super();
    this.addClass("jp-durable-waiting");
    this.node.append(
      h("button", { type: "button", class: "jp-durable-waiting-button", onclick: show }, icon("‖"), this.text),
    );
    live.changed.connect(this.draw, this);
    this.draw();
  }

  /** How many. */
  get count(): number {
    return this.live.runs.waiting().length;
  }

  override dispose(): void {
    this.live.changed.disconnect(this.draw, this);
    super.dispose();
  }

  private draw(): void {
    const { count } = this;
    this.text.textContent = ` ${this.trans._n("%1 waits for you", "%1 wait for you", count)}`;
    this.node.title = this.live.runs
      .waiting()
      .slice(0, 10)
      .map(({ run, wait }) => `${run.name}: ${wait.prompt}`)
      .join("\n");
    this.activeChanged.emit();
  }
}

/** Tell the browser of what has begun to wait while nobody looks, if the user wants that. */
export function notify(
  live: Live,
  preferences: Preferences,
  trans: TranslationBundle,
  show: (run: string) => void,
): void {
  const known = new Set<string>();
  let begun = false;
  preferences.changed.connect(() => {
    if (preferences.browserNotification && "Notification" in window && Notification.permission === "default") {
      void Notification.requestPermission();
    }
  });
  live.changed.connect(() => {
    for (const { run, wait } of live.runs.waiting()) {
      const key = `${run.id} ${wait.key}`;
      if (known.has(key)) continue;
      known.add(key);
      if (!begun || !preferences.browserNotification || !document.hidden) continue;
      if (!("Notification" in window) || Notification.permission !== "granted") continue;
      const told = new Notification(trans.__("%1 waits for you", run.name), { body: wait.prompt, tag: key });
      told.onclick = () => {
        window.focus();
        show(run.id);
        told.close();
      };
    }
    begun = true;
  });
}
