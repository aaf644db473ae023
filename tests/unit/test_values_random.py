"""The global generators: code draws again what it drew, though the process is fresh and tools are not executed."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import jupyter_durable
from jupyter_durable.runtime.randoms import RandomWatch, _Python
from jupyter_durable.runtime.values import Values

AGENT = Path(__file__).with_name("randoms_agent.py")
SOURCE = str(Path(jupyter_durable.__file__).parent.parent)
NUMPY = pytest.param(
    ("--numpy",),
    marks=pytest.mark.skipif(importlib.util.find_spec("numpy") is None, reason="numpy is optional"),
    id="numpy",
)


def run(recorded: Values | dict[str, Any], replay: int, flags: tuple[str, ...]) -> Any:
    """One fresh process of the agent that replays its first steps."""
    done = subprocess.run(
        [sys.executable, str(AGENT), *flags],
        input=json.dumps({"values": recorded, "replay": replay}),
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": SOURCE},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def merged(entries: list[dict[str, list[Any]]]) -> dict[str, list[Any]]:
    """What a scope's `values` entries amount to."""
    values: dict[str, list[Any]] = {}
    for entry in entries:
        for source, readings in entry.items():
            values.setdefault(source, []).extend(readings)
    return values


@pytest.mark.slow
@pytest.mark.parametrize("flags", [pytest.param((), id="python"), NUMPY])
def test_a_fresh_process_draws_what_the_first_one_drew(flags: tuple[str, ...]) -> None:
    """Whole replays and ones cut off at every kind of step draw the same numbers up to what was committed."""
    first = run({}, 0, flags)
    whole = run(merged(first["journal"]), 6, flags)
    assert whole["drawn"] == first["drawn"]
    assert whole["ran"] == 0

    for cut in (1, 3, 5):
        # Killed in step `cut`: its start, and all readings before it, are in the journal.
        resumed = run(merged(first["journal"][: cut + 1]), cut, flags)
        assert resumed["drawn"][: cut + 1] == first["drawn"][: cut + 1]
        # ... and the resumed run's journal replays the resumed run.
        journal = merged([*first["journal"][: cut + 1], *resumed["journal"]])
        assert run(journal, 6, flags)["drawn"] == resumed["drawn"]

    assert run({}, 6, flags)["drawn"] != first["drawn"], "without a record nothing is the same"


def test_two_strands_that_draw_in_turn_replay_in_turn() -> None:
    """Gathered code that draws after each of its calls gets other numbers from each, and the same on replay."""
    watch, root, other = RandomWatch(), Values(), Values()
    watch.begin(root)
    random.random()
    tokens = watch.before_step(), watch.before_step()
    watch.after_step(root, 0, tokens[0])
    drawn = [random.random()]
    watch.after_step(other, 0, tokens[1])
    drawn.append(random.random())

    watch, root, other = RandomWatch(), Values(root.drain()), Values(other.drain())
    random.seed(5)  # the fresh process
    watch.begin(root)
    random.random()
    watch.replayed(root, 0)
    again = [random.random()]
    watch.replayed(other, 0)
    again.append(random.random())
    assert again == drawn
    assert len(set(drawn)) == 2


def test_nothing_is_recorded_when_nobody_draws() -> None:
    """A run that leaves the generators alone keeps no byte of them."""
    watch, root = RandomWatch(), Values()
    watch.begin(root)
    for pos in range(3):
        watch.after_step(root, pos, watch.before_step())
    assert root.drain() == {}


def test_a_tool_that_draws_a_little_costs_bytes_not_kilobytes() -> None:
    """The generator's 2.5 KB are written once for some hundred draws."""
    watch, root = RandomWatch(), Values()
    random.seed(1)
    random.random()
    watch.begin(root)
    for pos in range(100):
        token = watch.before_step()
        random.random()
        watch.after_step(root, pos, token)
    assert len(json.dumps(root.drain())) < 12_000


def test_a_cut_keeps_the_states_before_it() -> None:
    """A fork whose scope went live after step 1 restores step 0's state from what it repeats."""
    watch, parent = RandomWatch(), Values()
    watch.begin(parent)
    after = []
    for pos in range(3):
        token = watch.before_step()
        random.random()
        watch.after_step(parent, pos, token)
        after.append(random.random())

    fork = Values(parent.drain())
    watch.replayed(fork, 0)
    watch.replayed(fork, 1)
    fork.close_recorded()
    again = Values(fork.drain())
    for pos in (0, 1):
        watch.replayed(again, pos)
        assert random.random() == after[pos]
    assert again.peek("random") is None


def test_reading_the_generators_memory_agrees_with_getstate() -> None:
    """The fast copy of the state is believed because it is what `getstate` says, now and after draws."""
    generator = _Python()
    for _ in range(3):
        random.gauss(0, 1)
        random.getrandbits(32 * 500)
        data, words = generator.split(generator.snapshot())
        before = random.getstate()
        random.seed(0)
        generator.restore(data, words)
        assert random.getstate() == before


def test_another_layout_falls_back_to_getstate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the memory is not laid out as expected, the slow way gives the same result."""
    slow = _Python()
    slow._memory = None
    random.random()
    assert slow.snapshot() == _Python().snapshot()
    random.random()
    assert slow.snapshot() == _Python().snapshot()


def test_a_generator_numpy_was_given_is_left_alone() -> None:
    """`numpy.random.set_bit_generator` to one we cannot restore: no error, nothing recorded of it."""
    numpy = pytest.importorskip("numpy")
    before = numpy.random.get_bit_generator()
    watch, root = RandomWatch(), Values()
    watch.begin(root)
    try:
        numpy.random.set_bit_generator(numpy.random.PCG64(3))
        token = watch.before_step()
        numpy.random.rand()
        watch.after_step(root, 0, token)
        assert root.drain() == {}
    finally:
        numpy.random.set_bit_generator(before)
