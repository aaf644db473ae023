// The connection that tells what changes: it comes back by itself, and says where it was.

import type { LostEvent, Page, PageEvent, RunsEvent } from "../types.js";

export interface SocketLike {
  send(text: string): void;
  close(): void;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: never) => void) | null;
}

export interface Needs {
  /** A connection; `last` is the id of the last event that was seen. */
  open(last: string): SocketLike;
  later(ms: number, then: () => void): unknown;
  cancel(timer: unknown): void;
}

export type Teller = { page: (page: Page) => void; lost?: (message: string) => void };

const LEAST = 500;
const MOST = 30_000;

interface Followed {
  feed: string;
  mark: number;
  tellers: Set<Teller>;
}

/** One connection for everything on a page. Pages come in order and without a gap, whatever the network does. */
export class Channel {
  onRuns: (event: RunsEvent) => void = () => undefined;
  onState: (open: boolean) => void = () => undefined;
  private socket: SocketLike | null = null;
  private isOpen = false;
  private last = "";
  private pause = LEAST;
  private timer: unknown = null;
  private ended = false;
  private followed = new Map<string, Followed>();

  constructor(private readonly needs: Needs) {}

  connect(): void {
    if (this.socket || this.ended) return;
    const socket = (this.socket = this.needs.open(this.last));
    socket.onopen = () => {
      this.isOpen = true;
      this.onState(true);
      for (const run of this.followed.keys()) this.ask(run);
    };
    socket.onmessage = (event) => {
      this.pause = LEAST;
      if (typeof event.data === "string") this.take(JSON.parse(event.data) as RunsEvent | PageEvent | LostEvent);
    };
    socket.onclose = () => {
      if (this.socket !== socket) return;
      this.socket = null;
      if (this.isOpen) this.onState(false);
      this.isOpen = false;
      if (this.ended) return;
      this.timer = this.needs.later(this.pause, () => this.connect());
      this.pause = Math.min(this.pause * 2, MOST);
    };
  }

  /** Try now what would be tried later: the network is back, or the page is looked at. */
  hurry(): void {
    if (this.socket || this.ended) return;
    this.needs.cancel(this.timer);
    this.pause = LEAST;
    this.connect();
  }

  close(): void {
    this.ended = true;
    this.needs.cancel(this.timer);
    this.socket?.close();
  }

  /** Be told a run's pages, from the first on; what ends it. */
  follow(run: string, teller: Teller): () => void {
    let found = this.followed.get(run);
    if (!found) this.followed.set(run, (found = { feed: "", mark: 0, tellers: new Set() }));
    else {
      // Somebody has seen some of it already: the newcomer needs all of it, and the others mind nothing twice.
      found.feed = "";
      found.mark = 0;
    }
    found.tellers.add(teller);
    this.ask(run);
    return () => {
      found.tellers.delete(teller);
      if (found.tellers.size || this.followed.get(run) !== found) return;
      this.followed.delete(run);
      this.say({ type: "unfollow", run });
    };
  }

  /** Have pages sent again, from that mark on. */
  again(run: string, feed: string, mark: number): void {
    const found = this.followed.get(run);
    if (!found) return;
    found.feed = feed;
    found.mark = mark;
    this.ask(run);
  }

  private ask(run: string): void {
    const found = this.followed.get(run);
    if (found) this.say({ type: "follow", run, feed: found.feed, mark: found.mark });
  }

  private say(message: object): void {
    if (this.socket && this.isOpen) this.socket.send(JSON.stringify(message));
  }

  private take(event: RunsEvent | PageEvent | LostEvent): void {
    if (event.type === "runs") {
      this.last = event.id;
      this.onRuns(event);
      return;
    }
    const found = this.followed.get(event.run);
    if (!found) return;
    if (event.type === "lost") {
      this.followed.delete(event.run);
      for (const teller of found.tellers) teller.lost?.(event.message);
      return;
    }
    found.feed = event.page.feed;
    found.mark = event.page.mark;
    for (const teller of [...found.tellers]) teller.page(event.page);
  }
}
