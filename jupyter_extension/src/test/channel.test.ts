import assert from "node:assert/strict";
import { test } from "node:test";

import type { SocketLike } from "../logic/channel.js";
import { Channel } from "../logic/channel.js";
import type { Page } from "../types.js";

/** A network in which time passes when it is told to. */
class Net {
  sockets: (SocketLike & { last: string; sent: Record<string, unknown>[] })[] = [];
  timers: { ms: number; then: () => void }[] = [];
  readonly channel = new Channel({
    open: (last) => {
      const made = {
        last,
        sent: [] as Record<string, unknown>[],
        send: (text: string) => void made.sent.push(JSON.parse(text) as Record<string, unknown>),
        close: () => made.onclose?.({} as never),
        onopen: null,
        onmessage: null,
        onclose: null,
      } as Net["sockets"][number];
      this.sockets.push(made);
      return made;
    },
    later: (ms, then) => this.timers.push({ ms, then }),
    cancel: () => (this.timers = []),
  });

  get now(): Net["sockets"][number] {
    const socket = this.sockets.at(-1);
    assert.ok(socket);
    return socket;
  }

  open(): void {
    this.now.onopen?.({} as never);
  }

  tell(event: object): void {
    this.now.onmessage?.({ data: JSON.stringify(event) });
  }

  drop(): void {
    this.now.onclose?.({} as never);
  }

  wait(): number {
    const timer = this.timers.shift();
    timer?.then();
    return timer?.ms ?? -1;
  }
}

const page = (feed: string, mark: number): Page => ({ feed, mark, rows: [] }) as unknown as Page;

void test("it comes back with what it has seen, later and later, and at once when the page is looked at", () => {
  const net = new Net();
  const states: boolean[] = [];
  net.channel.onState = (open) => states.push(open);
  net.channel.connect();
  net.open();
  net.tell({ type: "runs", id: "e-7", runs: [] });
  net.drop();
  assert.equal(net.wait(), 500);
  assert.equal(net.now.last, "e-7");
  net.drop();
  assert.equal(net.wait(), 1000);
  net.drop();
  assert.deepEqual(
    net.timers.map((timer) => timer.ms),
    [2000],
  );
  net.channel.hurry();
  net.open();
  assert.deepEqual(states, [true, false, true]);
  assert.equal(net.sockets.length, 4);
  net.channel.close();
  assert.deepEqual(net.timers, []);
});

void test("a run is followed from where it was, after a break too; from the beginning for one more", () => {
  const net = new Net();
  const seen: number[] = [];
  const end = net.channel.follow("r", { page: (one) => seen.push(one.mark) });
  net.channel.connect();
  net.open();
  assert.deepEqual(net.now.sent, [{ type: "follow", run: "r", feed: "", mark: 0 }]);
  net.tell({ type: "page", run: "r", page: page("f", 3) });
  net.tell({ type: "page", run: "other", page: page("f", 9) });
  net.drop();
  net.wait();
  net.open();
  assert.deepEqual(net.now.sent, [{ type: "follow", run: "r", feed: "f", mark: 3 }]);
  const more: number[] = [];
  const endOther = net.channel.follow("r", { page: (one) => more.push(one.mark) });
  assert.deepEqual(net.now.sent.at(-1), { type: "follow", run: "r", feed: "", mark: 0 });
  net.tell({ type: "page", run: "r", page: page("f", 4) });
  assert.deepEqual([seen, more], [[3, 4], [4]]);
  end();
  assert.equal(net.now.sent.length, 2);
  endOther();
  assert.deepEqual(net.now.sent.at(-1), { type: "unfollow", run: "r" });
  net.channel.again("r", "f", 1); // nobody follows it any more
  assert.equal(net.now.sent.length, 3);
});

void test("a run that is lost is said once, and not asked for again", () => {
  const net = new Net();
  const said: string[] = [];
  net.channel.follow("r", { page: () => undefined, lost: (message) => said.push(message) });
  net.channel.connect();
  net.open();
  net.tell({ type: "lost", run: "r", message: "no run" });
  net.drop();
  net.wait();
  net.open();
  assert.deepEqual(said, ["no run"]);
  assert.deepEqual(net.now.sent, []);
});
