"""Agents of other people's frameworks, killed at every kill point and taken up again."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runs import Bench

_POINTS = ("before-start", "after-start", "after-call", "after-outcome")


def hit(tool: str, **arguments: Any) -> None:
    """A tool's effect in the world: one line in the file that `EFFECTS` names."""
    said = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    with Path(os.environ["EFFECTS"]).open("a") as file:
        file.write(json.dumps(f"{tool}({said})") + "\n")


def effects() -> Counter[str]:
    """What was done since `forget`, by call."""
    path = Path(os.environ["EFFECTS"])
    return Counter(json.loads(line) for line in path.read_text().splitlines()) if path.exists() else Counter()


def forget() -> None:
    """Nothing has been done."""
    Path(os.environ["EFFECTS"]).unlink(missing_ok=True)


def survives_kills(agent: Callable[[], Any], *, steps: list[str]) -> tuple[Any, Bench]:
    """Prove it: the undisturbed result (of an agent that makes `steps`, in any order) whenever it is killed.

    What had an outcome when it was killed is not executed again.
    """
    forget()
    bench = Bench()
    result = bench.new(agent)
    done = effects()
    assert sorted(step.name for step in bench.steps()) == sorted(steps)
    assert not bench.notices
    assert bench.execute_replay(agent) == result
    assert effects() == done, "a replay executes nothing"
    for point in _POINTS:
        for nth in range(1, len(steps) + 1):
            forget()
            killed = Bench()
            killed.crash(point, nth, agent)
            # What the resume does counts; but a thread that a simulated kill leaves alive may do its part meanwhile.
            before = effects()
            had = Counter(s.arguments for s in killed.steps() if s.status in ("completed", "failed"))
            zombies = Counter(s.arguments for s in killed.steps() if s.status not in ("completed", "failed"))
            assert killed.resume(agent) == result, f"killed {point}:{nth}"
            again = effects() - before
            assert again <= done - had + zombies, (
                f"killed {point}:{nth}: {again} executed, {had} had their outcome"
            )
            assert not killed.notices
    return result, bench
