"""The event stream: in order, nothing lost, whoever writes and however often the connection breaks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from serving import Served


class Ear:
    """A listener that keeps what a panel would: the runs, and the rows of what it follows."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.last = ""
        self.runs: dict[str, dict[str, Any]] = {}
        self.rows: dict[str, dict[int, dict[str, Any]]] = {}
        self.at: dict[str, tuple[str, int]] = {}
        self.lags: list[float] = []
        self.received = 0
        self.socket: Any = None
        self.connect()

    def connect(self) -> None:
        """Come (back): from what was seen."""
        self.socket = self.served.socket(self.last)
        for run in list(self.at):
            self.follow(run)

    def follow(self, run: str) -> None:
        """Take its pages, too."""
        feed, mark = self.at.setdefault(run, ("", 0))
        self.socket.send(json.dumps({"type": "follow", "run": run, "feed": feed, "mark": mark}))

    def take(self, timeout: float = 30) -> dict[str, Any]:
        """The next event."""
        event: dict[str, Any] = json.loads(self.socket.recv(timeout))
        now = time.time()
        if event["type"] == "runs":
            if event.get("all"):
                self.runs.clear()
            self.last = event["id"]
            for item in event["runs"]:
                self.runs[item["id"]] = item
            for gone in event.get("gone", ()):
                del self.runs[gone]
        elif event["type"] == "page":
            page = event["page"]
            feed, mark = self.at[event["run"]]
            if page["feed"] != feed:
                self.rows.pop(event["run"], None)
            else:
                assert page["since"] == mark, "a page is missing"
            self.at[event["run"]] = (page["feed"], page["mark"])
            rows = self.rows.setdefault(event["run"], {})
            for row in page["rows"]:
                before = rows.get(row["n"])
                if before is None:
                    assert row["n"] == len(rows), "rows come in order"
                    self.lags.append(now - row["at"])
                if "end" in row and (before is None or "end" not in before):
                    self.lags.append(now - row["end"])
                rows[row["n"]] = row
                self.received += 1
        return event

    def until(self, what: Callable[[], Any], timeout: float = 60) -> None:
        """Listen until that is so."""
        deadline = time.monotonic() + timeout
        while not what():
            assert time.monotonic() < deadline
            self.take()

    def named(self, name: str) -> dict[str, Any]:
        """The newest run of that name, or nothing."""
        return max(
            (run for run in self.runs.values() if run["name"] == name), key=lambda r: r["id"], default={}
        )


STEPS = (
    "with durable.run('{name}'):\n    import time\n    for n in range({count}): fetch(n); time.sleep({pause})"
)


def test_runs_and_steps_of_another_process_arrive(served: Served) -> None:
    """The run when it begins, its steps while it goes on, its end; and the list again for who comes later."""
    ear = Ear(served)
    child = served.life(STEPS.format(name="seen", count=20, pause=0.05))
    ear.until(lambda: ear.named("seen"))
    run = ear.named("seen")["id"]
    ear.follow(run)
    ear.until(lambda: len(ear.rows.get(run, ())) > 3)
    assert ear.named("seen")["status"] == "running"
    ear.until(lambda: ear.named("seen")["status"] == "completed")
    ear.until(lambda: len([row for row in ear.rows[run].values() if row["status"] == "completed"]) == 20)
    child.wait(60)
    late = Ear(served)
    late.until(lambda: late.named("seen"))
    assert late.named("seen")["counts"]["completed"] == 20


def test_a_dropped_connection_misses_nothing(served: Served) -> None:
    """Dropped again and again in the middle of it: what was seen is not sent again, what was not is."""
    ear = Ear(served)
    child = served.life(STEPS.format(name="dropped", count=150, pause=0.01))
    ear.until(lambda: ear.named("dropped"))
    run = ear.named("dropped")["id"]
    ear.follow(run)
    for _ in range(8):
        seen = len(ear.rows.get(run, ()))
        ear.until(lambda seen=seen: len(ear.rows.get(run, ())) > seen)  # type: ignore[misc]
        ear.socket.close()
        time.sleep(0.1)  # it goes on meanwhile
        ear.connect()
    ear.until(lambda: ear.named("dropped")["status"] == "completed")
    ear.until(lambda: sum(row["status"] == "completed" for row in ear.rows[run].values()) == 150)
    child.wait(60)
    assert sorted(ear.rows[run]) == list(range(150))
    assert ear.received < 3 * 150
    # A change of the list while nobody was there, and a mark of it that is old.
    ear.socket.close()
    served.lives(STEPS.format(name="meanwhile", count=1, pause=0))
    ear.connect()
    event = ear.take()
    assert [item["name"] for item in event["runs"]] == ["meanwhile"]
    assert "all" not in event


def test_a_restarted_server_goes_on_where_it_was(served: Served) -> None:
    """Its marks mean nothing to its successor, which says so by beginning anew."""
    ear = Ear(served)
    served.lives(STEPS.format(name="before", count=3, pause=0))
    ear.until(lambda: ear.named("before"))
    run = ear.named("before")["id"]
    ear.follow(run)
    ear.until(lambda: len(ear.rows.get(run, ())) == 3)
    served.close()
    served.start()
    ear.connect()
    event = ear.take()
    while event["type"] != "runs":
        event = ear.take()
    assert event["all"] is True
    ear.until(lambda: len(ear.rows.get(run, ())) == 3)


def test_a_kill_and_a_decision_are_told_to_everybody(served: Served) -> None:
    """Two panels say the same: that it waits, that it is cut off, that somebody has decided."""
    ears = [Ear(served), Ear(served)]
    child = served.life("with durable.run('shared', park_after=600):\n    fetch(1); mail('bob')")
    for ear in ears:
        ear.until(lambda ear=ear: ear.named("shared").get("waits"))  # type: ignore[misc]
    child.kill()
    child.wait()
    for ear in ears:
        ear.until(
            lambda ear=ear: ear.named("shared")["status"] != "running" and not ear.named("shared")["live"]
        )  # type: ignore[misc]
    wait = ears[0].named("shared")["waits"][0]
    served.good(
        "POST", f"runs/{ears[0].named('shared')['id']}/decisions", {"key": wait["key"], "action": "approve"}
    )
    for ear in ears:
        ear.until(lambda ear=ear: not ear.named("shared")["waits"])  # type: ignore[misc]
    assert ears[0].named("shared") == ears[1].named("shared")


def test_a_run_that_is_deleted_is_gone(served: Served) -> None:
    """From the list of whoever listens."""
    ear = Ear(served)
    served.lives(STEPS.format(name="doomed", count=2, pause=0))
    ear.until(lambda: ear.named("doomed"))
    served.good("DELETE", f"runs/{ear.named('doomed')['id']}")
    ear.until(lambda: not ear.named("doomed"))


def test_a_run_that_is_not_there_is_said(served: Served) -> None:
    """And the connection stays."""
    ear = Ear(served)
    ear.follow("018f0000-0000-7000-8000-000000000000")
    event = ear.take()
    while event["type"] != "lost":
        event = ear.take()
    assert event["run"].startswith("018f")


@pytest.mark.bench
def test_a_thousand_events_a_second(served: Served) -> None:
    """From a process to a listener, in order: p99 < 300 ms, and less than 10 % of a core of the server.

    Ten strands at once, as an agent's tools are: they share commits, so that a busy machine makes as many events, too.
    """
    ear = Ear(served)
    child = served.life(
        """
        import time
        @durable.tool
        async def tick(strand, n): return n

        async def strand(number, began):
            for n in range(500):
                await tick(number, n)
                await asyncio.sleep(max(0.0, began + (n + 1) / 50 - time.perf_counter()))

        async def agent():
            with durable.run('fast'):
                began = time.perf_counter()
                await asyncio.gather(*(strand(number, began) for number in range(10)))

        asyncio.run(agent())
        """
    )
    ear.until(lambda: ear.named("fast"))
    run = ear.named("fast")["id"]
    ear.follow(run)
    ear.until(lambda: len(ear.rows.get(run, ())) > 500)
    assert served.process is not None
    server = psutil.Process(served.process.pid)
    ear.lags.clear()
    used, began = sum(server.cpu_times()[:2]), time.monotonic()
    ear.until(lambda: len(ear.rows[run]) >= 4900)
    share = (sum(server.cpu_times()[:2]) - used) / (time.monotonic() - began)
    lags = sorted(ear.lags)
    child.wait(60)
    p99 = lags[len(lags) * 99 // 100]
    ear.until(lambda: sum(row["status"] == "completed" for row in ear.rows[run].values()) == 5000)
    stamps = [row[what] for row in ear.rows[run].values() for what in ("at", "end")]
    rate = len(stamps) / (max(stamps) - min(stamps))
    print(
        f"{rate:.0f} events/s, {len(lags)} looked at: p50 {lags[len(lags) // 2] * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, server {share:.1%}"
    )
    assert rate > 970
    assert p99 < 0.3
    assert share < 0.1
