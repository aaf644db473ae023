"""Scripts as real processes on a real file, killed, paused, taken over, and out of disk: nothing is lost or repeated."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from jupyter_durable.journal.keys import idempotency_key, parse_step_id
from jupyter_durable.session import open_store

AGENTS = Path(__file__).parent / "lives"
CALLS = 31  # lines that an undisturbed execution leaves
TWICE = "flaky once"  # fails at first, on purpose: two lines belong to it


class Run:
    """One run of an agent script, in however many processes."""

    def __init__(self, directory: Path, agent: str = "mixed.py", *arguments: str) -> None:
        self.store = directory / "journal.db"
        self.lines = directory / "lines"
        self.command = [sys.executable, str(AGENTS / agent), str(self.store), str(self.lines)]
        self.arguments = list(arguments)

    def start(self, *arguments: str, crash: str = "") -> subprocess.Popen[str]:
        environment = {**os.environ, "JUPYTER_DURABLE_CRASH_AT": crash}
        command = [*self.command, *(arguments or self.arguments)]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )

    def finish(self, *arguments: str) -> str:
        """A fresh process goes on to the end; what it prints."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        return out

    def left(self) -> list[list[str]]:
        """The lines outside: [idempotency key, what]."""
        if not self.lines.exists():
            return []
        return [json.loads(line) for line in self.lines.read_text().splitlines()]

    def wait_for_lines(self, number: int, process: subprocess.Popen[str]) -> None:
        while process.poll() is None and self._count() < number:
            time.sleep(0.0005)

    def _count(self) -> int:
        return self.lines.read_bytes().count(b"\n") if self.lines.exists() else 0

    def finished(self) -> set[str]:
        """The idempotency keys of the steps that have an outcome."""
        if not self.store.exists():
            return set()
        with open_store(self.store) as store:
            runs = store.journal.runs()
            if not runs:
                return set()
            assert len(runs) == 1, "one run, however often it was killed"
            root = runs[0].root_id or runs[0].id
            done = [step.id for step in store.steps(runs[0].id) if step.status in ("completed", "failed")]
            return {idempotency_key(store.journal.key, root, *parse_step_id(step)) for step in done}

    def status(self) -> str:
        if not self.store.exists():
            return ""
        with open_store(self.store) as store:
            runs = store.runs()
            return runs[0].status if runs else ""


class Ledger:
    """Holds the lines against what the journal had at each kill."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.seen = 0
        self.done: set[str] = set()
        self.lives: Counter[str] = Counter()

    def close_life(self) -> None:
        """A process has ended: what it did is allowed."""
        lines = self.run.left()
        new, self.seen = lines[self.seen :], len(lines)
        again = [what for key, what in new if key in self.done]
        assert not again, f"completed steps were executed again: {again}"
        counts = Counter(key for key, what in new if what != TWICE)
        assert not counts or max(counts.values()) == 1, "a step was executed twice by one process"
        self.lives.update(counts.keys())
        self.done = self.run.finished()

    def check(self, expected: set[str], kills: int) -> None:
        assert {what for _, what in self.run.left()} == expected, "a call is missing, or was never asked for"
        repeated = sum(self.lives.values()) - len(self.lives)
        assert repeated <= kills * 4, "more repeated than can have been under way at once"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, set[str]]:
    """What the agent prints when nobody kills it, and what it does."""
    run = Run(tmp_path_factory.mktemp("undisturbed"))
    printed = run.finish()
    assert len(run.left()) == CALLS
    return printed, {what for _, what in run.left()}


POINTS = [
    *(
        f"{point}:{nth}"
        for point in ("before-start", "after-start", "after-call", "after-outcome")
        for nth in (1, 9, 30)
    ),
    "after-attempt:1",
    "after-chunk:1",
    "after-chunk:3",
    "before-open:1",
    "after-open:1",
    "before-close:1",
]


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(p, marks=() if p in ("after-start:9", "after-call:30") else pytest.mark.slow)
        for p in POINTS
    ],
)
def test_killed_at_a_named_point(point: str, undisturbed: tuple[str, set[str]], tmp_path: Path) -> None:
    """SIGKILL at a named moment: a fresh process gives the undisturbed result and repeats nothing completed."""
    run = Run(tmp_path)
    ledger = Ledger(run)
    process = run.start(crash=point)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, "it never came to that point"
    ledger.close_life()
    assert run.finish() == undisturbed[0]
    ledger.close_life()
    ledger.check(undisturbed[1], kills=1)
    assert run.status() == "completed"


@pytest.mark.slow
def test_killed_after_its_end(undisturbed: tuple[str, set[str]], tmp_path: Path) -> None:
    """Killed when all is committed, before the lease was given back: the run is completed, and another may start."""
    run = Run(tmp_path)
    process = run.start(crash="after-close:1")
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert run.status() == "completed"
    assert len(run.left()) == CALLS
    assert run.finish() == undisturbed[0]
    assert len(run.left()) == 2 * CALLS


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(25))
def test_killed_at_random_moments(seed: int, undisturbed: tuple[str, set[str]], tmp_path: Path) -> None:
    """Four kills at any moment of one run, which is resumed after each: the undisturbed result, nothing completed repeated."""
    rng = random.Random(seed)
    run = Run(tmp_path)
    ledger = Ledger(run)
    kills = 0
    while kills < 4:
        process = run.start()
        run.wait_for_lines(len(run.left()) + rng.randint(0, 12), process)
        time.sleep(rng.random() * 0.006)
        process.kill()
        out = process.communicate(timeout=60)[0]
        if out or run.status() == "completed":  # it was quicker; started again it would be another run
            assert out in ("", undisturbed[0])
            break
        kills += 1
        ledger.close_life()
    else:
        assert run.finish() == undisturbed[0]
    ledger.close_life()
    ledger.check(undisturbed[1], kills)
    assert run.status() == "completed"
    with open_store(run.store) as store:
        assert store.verify() == []


@pytest.mark.slow
def test_a_paused_holder_that_wakes_after_takeover_writes_nothing(tmp_path: Path) -> None:
    """SIGSTOP, lease expired, taken over, SIGCONT: the first process ends with LeaseLost, and the journal is the second's."""
    run = Run(tmp_path, "holder.py", "1")
    first = run.start()
    try:
        run.wait_for_lines(4, first)
        held = subprocess.run([*run.command, "1"], capture_output=True, text=True, timeout=60, check=False)
        assert "LeaseHeldError" in held.stderr
        assert str(first.pid) in held.stderr
        os.kill(first.pid, signal.SIGSTOP)
        wait_until_expired(run.store)
        (tmp_path / "lines.go").touch()
        assert run.finish() == f"{sum(range(8))}\n"
        with open_store(run.store) as store:
            journal = list(store.journal.entries(store.runs()[0].id))
        lines = Counter(run.lines.read_text().split())
    finally:
        os.kill(first.pid, signal.SIGCONT)
    err = first.communicate(timeout=60)[1]
    assert first.returncode != 0
    assert "LeaseLost" in err
    assert "took it over" in err
    with open_store(run.store) as store:
        assert list(store.journal.entries(store.runs()[0].id)) == journal
        assert store.verify() == []
    assert Counter(run.lines.read_text().split()) == lines, "who has lost the run makes no further call"
    assert lines == {str(number): 2 if number == 3 else 1 for number in range(8)}


def wait_until_expired(store: Path) -> None:
    """Return when the only run's lease has run out: its holder is stopped, and renews it no more."""
    deadline = time.monotonic() + 60
    with open_store(store) as opened:
        while (left := opened.journal.runs()[0].expires_at - time.time()) > 0:
            assert time.monotonic() < deadline
            time.sleep(min(left, 0.1))


@pytest.mark.slow
def test_disk_full_in_the_middle_of_a_run(tmp_path: Path) -> None:
    """No room: a StoreError that says what to do; with room again the run goes on where it stood."""
    run = Run(tmp_path, "full.py")
    process = run.start("150000")
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert "StoreError" in err
    assert "hint: " in err
    before = run.lines.read_text().split()
    done = len(run.finished())
    assert 0 < done < 20
    assert run.finish() == "600000\n"
    after = run.lines.read_text().split()[len(before) :]
    assert after == [str(number) for number in range(done, 20)], "what has an outcome is not done again"


SCRIPT = """
import sys
import jupyter_durable as durable

@durable.tool
def call(n):
    print("call", n, file=open(sys.argv[2], "a"))
    return n

@durable.run("plain", store=sys.argv[1])
def main():
    return [call(n) for n in range(3)]

print(main())
"""


def test_a_plain_script_dies_where_the_environment_says(tmp_path: Path) -> None:
    """Nobody needs to arm anything."""
    lines = tmp_path / "lines"
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "journal.db"), str(lines)]
    dying = subprocess.run(
        command, env={**os.environ, "JUPYTER_DURABLE_CRASH_AT": "after-outcome:2"}, check=False, timeout=60
    )
    assert dying.returncode == -signal.SIGKILL
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[0, 1, 2]\n"
    assert lines.read_text().splitlines() == ["call 0", "call 1", "call 2"]
