"""The tests' side of `nursery`: lives of agents, a provider that outlives them, and the account of who called what."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from jupyter_durable.session import open_store
from jupyter_durable.testing import ProviderProcess

_HERE = Path(__file__).parent


@dataclass
class Life:
    """How one life of an agent ended: by SIGKILL (`killed`), or with its `answer`; `requests` are those of this life.

    `said` are the SDK's answers as they came to the agent, `points` the kill points that it passed.
    """

    killed: bool
    requests: list[str]
    answer: Any = None
    said: list[str] = field(default_factory=list)
    points: list[str] = field(default_factory=list)


class Nursery:
    """A `nursery` process, and the runs of its children in one store."""

    def __init__(self, family: str, name: str, provider: ProviderProcess, place: Path) -> None:
        self.name = name
        self.provider = provider
        self.store = place / f"{name}.db"
        command = [sys.executable, str(_HERE / "nursery.py"), family, name, provider.url]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.available = bool(self._heard()["available"])

    def _heard(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the nursery of {self.name} has ended; see its stderr"
        return json.loads(line)  # type: ignore[no-any-return]

    def live(
        self,
        agent: str,
        run: str,
        *,
        crash: str = "",
        provider: ProviderProcess | None = None,
        kill_at_token: int = 0,
        tokens: Path | None = None,
        again: bool = False,
    ) -> Life:
        """One life, to its end. `again`: the provider remembers what it refused in the last one. `kill_at_token`: SIGKILL from outside when `tokens` has so many."""
        provider = provider or self.provider
        before = len(provider.requests) if again else 0
        if not again:
            provider.reset()  # few requests are quicker to look at than all there ever were
        wanted = {"agent": agent, "url": provider.url, "store": str(self.store), "run": run, "crash": crash}
        assert self._process.stdin is not None
        print(json.dumps({**wanted, "tokens": str(tokens or "")}), file=self._process.stdin, flush=True)
        pid = self._heard()["pid"]
        if kill_at_token:
            assert tokens is not None
            deadline = time.monotonic() + 30
            while not tokens.exists() or tokens.stat().st_size < kill_at_token:
                assert time.monotonic() < deadline, "the tokens did not come"
                time.sleep(0.0005)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        ended = self._heard()
        assert "error" not in ended, ended["error"]
        code = ended.pop("code")
        assert code in (0, -signal.SIGKILL), code
        return Life(code != 0, settled(provider)[before:], **ended)

    def committed(self, run: str) -> Counter[str]:
        """How many steps of the newest run of that name have an outcome, by kind."""
        with open_store(self.store) as store:
            found = store.runs(name=run)
            return (
                Counter(
                    step.kind for step in store.steps(found[0].id) if step.status in ("completed", "failed")
                )
                if found
                else Counter()
            )

    def status(self, run: str) -> str:
        """The newest run's; empty if there is none."""
        with open_store(self.store) as store:
            found = store.runs(name=run)
            assert len(found) <= 1, "one run, however often it was killed"
            return found[0].status if found else ""

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def settled(provider: ProviderProcess) -> list[str]:
    """Every model call that came in, as text that is the same for the same call; none is still being answered."""
    deadline = time.monotonic() + 30
    while True:
        seen = [request for request in provider.requests if request["api"] or not request["outcome"]]
        if all(request["outcome"] for request in seen):
            return [f"{'' if r['outcome'] == 'answered' else r['outcome'] + ' '}{_call(r)}" for r in seen]
        assert time.monotonic() < deadline, "a request is never answered"
        time.sleep(0.002)


def _call(request: dict[str, Any]) -> str:
    return f"{request['path']} {json.dumps(request['body'], sort_keys=True)}"


def calls(requests: list[str]) -> list[str]:
    """Without how they ended."""
    return [request[request.index("/") :] for request in requests]


class Yard:
    """The providers and nurseries of a module, made when they are first asked for. `scripts` are by name."""

    def __init__(self, family: str, place: Path, scripts: dict[str, str]) -> None:
        self._family = family
        self._place = place
        self._scripts = scripts
        self._stack = contextlib.ExitStack()
        self._providers: dict[str, ProviderProcess] = {}
        self._nurseries: dict[str, Nursery] = {}

    def __enter__(self) -> Yard:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def provider(self, name: str) -> ProviderProcess:
        """The one with that script."""
        if name not in self._providers:
            path = self._place / f"{name}.py"
            path.write_text(
                f"from jupyter_durable.testing import call, fault, reply, slow\n\n{self._scripts[name]}"
            )
            self._providers[name] = self._stack.enter_context(ProviderProcess(path))
        return self._providers[name]

    def nursery(self, name: str) -> Nursery:
        """The one of that SDK or framework; skips if it is not installed."""
        if name not in self._nurseries:
            made = self._nurseries[name] = Nursery(self._family, name, self.provider("plain"), self._place)
            self._stack.callback(made.close)
        if not self._nurseries[name].available:
            pytest.skip(f"{name} is not installed")
        return self._nurseries[name]


def moments(passed: list[str], *, every: bool) -> list[tuple[str, int]]:
    """Where to kill an agent that passed those points: everywhere, or at each class of point early and late."""
    counts = Counter(passed)
    counts.pop("after-close")  # then there is nothing to resume
    if every:
        return [(point, nth) for point, count in counts.items() for nth in _some(count)]
    return [
        (point, nth)
        for point, count in counts.items()
        for nth in sorted({max(1, count - 1), (count + 2) // 3})
    ]


def goes_on(life: Life, undisturbed: Life, done: int) -> bool:
    """Whether a life made exactly the calls that were left when `done` of them had an outcome, in their order.

    A stream that a kill found with its last event on disk, and no outcome yet, need not be asked for again, either.
    """
    skipped = len(undisturbed.requests) - len(life.requests)
    whole = int("after-chunk" in undisturbed.points)
    return life.requests == undisturbed.requests[skipped:] and done <= skipped <= done + whole


def _some(count: int) -> list[int]:
    """Every occurrence of a point, or of very many (chunks) some."""
    every = list(range(1, count + 1))
    return every if count <= 8 else [*every[:2], every[count // 2], *every[-2:]]
