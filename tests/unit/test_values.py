"""Readings of one scope: recorded, replayed in order, live past the end."""

from __future__ import annotations

import json
import threading
from itertools import count
from typing import Any

from jupyter_durable.runtime.values import Cap, Values


def stored(values: Values) -> Any:
    """What a journal gives back of what was drained: JSON data."""
    return json.loads(json.dumps(values.drain()))


def test_recorded_readings_come_back_in_order_and_the_rest_is_live() -> None:
    """Two recorded readings answer two reads; the third is live and is all that is drained."""
    ticks = count(10)
    first = Values()
    assert [first.read("clock", lambda: next(ticks)) for _ in range(2)] == [10, 11]

    again = Values(stored(first))
    assert [again.read("clock", lambda: next(ticks)) for _ in range(3)] == [10, 11, 12]
    assert again.drain() == {"clock": [12]}


def test_sources_have_sequences_of_their_own() -> None:
    """One more reading of a library's source does not shift the user's."""
    again = Values({"os.urandom:4": ["a", "b"], "os.urandom:4@library": ["x"]})
    assert again.read("os.urandom:4@library", lambda: "live") == "x"
    assert again.read("os.urandom:4@library", lambda: "live") == "live"
    assert again.read("os.urandom:4", lambda: "live") == "a"


def test_drain_is_empty_until_something_was_read_live() -> None:
    """Replayed readings are not recorded again, and a drained reading is not drained twice."""
    values = Values({"clock": [1]})
    values.read("clock", lambda: 2)
    assert values.drain() == {}
    values.read("clock", lambda: 2)
    assert values.drain() == {"clock": [2]}
    assert values.drain() == {}


def test_the_first_live_reading_since_a_drain_is_announced() -> None:
    """`on_first` is called once for each drain that will find something, and not for replayed readings."""
    told: list[Values] = []
    values = Values({"clock": [1]}, on_first=told.append)
    values.read("clock", lambda: 0)
    assert told == []
    for _ in range(3):
        values.read("clock", lambda: 0)
    assert told == [values]
    values.drain()
    values.read("clock", lambda: 0)
    assert told == [values, values]


def test_what_was_left_unread_is_forgotten_and_what_was_read_stays() -> None:
    """After a cut, the journal of the fork replays what was read before it and what was live after it."""
    parent = {"clock": [1, 2, 3], "id": ["a"]}
    fork = Values(parent)
    assert fork.read("clock", lambda: 9) == 1
    fork.close_recorded()
    assert fork.read("clock", lambda: 9) == 9
    assert fork.read("id", lambda: "z") == "z"

    # The fork inherits all, or only some, of the parent's entries: it comes to the same.
    for inherited in (parent, {"clock": [1, 2]}, {}):
        again = Values(inherited)
        again.extend({"": [], "clock": [1, 9], "id": ["z"]})
        assert [again.read("clock", lambda: 0) for _ in range(3)] == [1, 9, 0]
        assert again.read("id", lambda: "") == "z"
    assert stored(fork) == {"": [], "clock": [1, 9], "id": ["z"]}


def test_a_cut_repeats_live_readings_committed_before_it() -> None:
    """What was read live and committed between the end of one source and the cut survives the cut."""
    fork = Values({"id": ["a", "b"]})
    fork.read("clock", lambda: 5)
    entries = [stored(fork)]
    fork.read("id", lambda: "z")
    fork.close_recorded()
    entries.append(stored(fork))

    again = Values({"id": ["a", "b"]})
    for entry in entries:
        again.extend(entry)
    assert again.read("clock", lambda: 0) == 5
    assert [again.read("id", lambda: "live") for _ in range(2)] == ["a", "live"]


def test_the_frontier_of_a_scope_that_read_everything_costs_nothing() -> None:
    """Without a cut, and with nothing unread, closing records nothing."""
    values = Values({"clock": [1]})
    values.read("clock", lambda: 0)
    values.close_recorded(cut=False)
    assert values.drain() == {}
    assert values.read("clock", lambda: 7) == 7


def test_the_cap_is_told_once_and_leaves_no_gap() -> None:
    """Past the limit readings are live, the user is told once, and replay gives exactly the recorded ones."""
    told: list[str] = []
    cap = Cap(told.append, limit=100)
    ticks = count()
    values = Values(cap=cap)
    for _ in range(50):
        values.read("time.time", lambda: next(ticks))
    recorded = stored(values)["time.time"]
    assert recorded == [0, 1, 2, 3]
    assert len(told) == 1
    assert "time.time" in told[0]
    assert "durable.step" in told[0]

    again = Values({"time.time": recorded}, cap=cap)
    for _ in range(5):
        again.read("time.time", lambda: -1)
    assert again.drain() == {}


def test_threads_that_share_a_scope_share_out_the_readings() -> None:
    """No recorded reading is given twice, and none is lost, when four threads read at once."""
    values = Values({"id": list(range(4000))})
    seen: list[int] = []
    threads = [
        threading.Thread(target=lambda: seen.extend([values.read("id", lambda: -1) for _ in range(1000)]))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == list(range(4000))
