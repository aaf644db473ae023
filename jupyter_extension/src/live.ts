// What this page knows of runs: kept current by one connection, told by one signal.

import type { ServerConnection } from "@jupyterlab/services";
import { Signal } from "@lumino/signaling";

import { Client } from "./client.js";
import { Channel } from "./logic/channel.js";
import { Runs } from "./logic/runs.js";
import type { Request, Source } from "./timeline.js";
import type { Decision, Page, Status } from "./types.js";

/** Whether the server extension is there: not asked yet, not there, there but not reached now, there. */
export type Reach = "unknown" | "absent" | "lost" | "open";

export class Live {
  readonly client: Client;
  readonly runs = new Runs();
  readonly channel: Channel;
  /** The ids of runs that are different now. */
  readonly changed = new Signal<this, ReadonlySet<string>>(this);
  readonly reached = new Signal<this, Reach>(this);
  reach: Reach = "unknown";
  status: Status | null = null;
  /** Runs a command of the front end; false: there is none of that id. */
  command: (id: string, args: Record<string, unknown>) => boolean = () => false;

  constructor(settings: ServerConnection.ISettings) {
    this.client = new Client(settings);
    this.channel = new Channel({
      open: (last) => this.client.socket(last) as never,
      later: (ms, then) => window.setTimeout(then, ms),
      cancel: (timer) => window.clearTimeout(timer as number),
    });
    this.channel.onRuns = (event) => this.changed.emit(this.runs.take(event));
    this.channel.onState = (open) => this.setReach(open ? "open" : "lost");
  }

  /** Ask whether the extension is there, and listen if it is. */
  async start(): Promise<void> {
    this.status = await this.client.status();
    if (!this.status) {
      this.setReach("absent");
      return;
    }
    this.channel.connect();
    window.setInterval(() => this.changed.emit(new Set()), 30_000); // "1 min. ago" must not stay so
    window.addEventListener("online", () => this.channel.hurry());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.channel.hurry();
    });
  }

  /** Whether something can be asked of the server, or told it. */
  get there(): boolean {
    return this.status !== null;
  }

  /** A run as the timeline's renderer takes it. `first`: what there is before the server has answered. */
  source(run: string, first?: Page, lost?: (message: string) => void): Source {
    return {
      subscribe: (tell) => {
        if (first) tell(first);
        return this.channel.follow(run, lost ? { page: tell, lost } : { page: tell });
      },
      ask: (request) => this.ask(run, request),
      command: (id, args) => this.command(id, args),
    };
  }

  /** What the renderer asks, answered by the server: the kernel may be busy, or dead. */
  async ask(run: string, request: Request): Promise<unknown> {
    switch (request.type) {
      case "since":
        this.channel.again(run, request.feed, request.mark);
        return undefined;
      case "texts":
        return this.client.texts(run, request.ns);
      case "value":
        return this.client.value(run, request.step, request.what, request.offset);
      case "decide":
        return this.client.decide(run, {
          key: request.key,
          action: request.action as Decision["action"],
          value: request.value ?? null,
          message: request.message ?? "",
        });
      case "cancel":
        return this.client.cancel(run);
    }
  }

  private setReach(reach: Reach): void {
    this.reach = reach;
    this.reached.emit(reach);
  }
}
