"""Instruments: what makes calls of other people's libraries steps, without a change to the code that makes them.

    Instrument ── says which modules it patches, for which versions, and how to undo it
    Instruments ─ those that are known; patched in while at least one run is live, taken out with the last

A module that is imported while a run is live is patched then; one that is never imported costs nothing.
Third parties add an instrument by an entry point of the group `jupyter_durable.instruments` that names an
object with the attributes of `Instrument`; `jupyter_durable.testing.instruments` shows a whole one, and tests yours.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
import threading
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Literal, Protocol

import wrapt

if TYPE_CHECKING:
    from jupyter_durable.runtime.run import LiveRun

Undo = Callable[[], None]
Captures = Literal["tools", "models", "http", "mcp"]
GROUP = "jupyter_durable.instruments"

_OURS: Mapping[str, tuple[str, ...]] = {
    "mcp": ("mcp",),
    "httpx": ("httpx", "httpx2"),
    "urllib3": ("urllib3",),
    "aiohttp": ("aiohttp",),
    "websockets": ("websockets",),
    "langchain": ("langchain_core", "langgraph"),
    "pydantic_ai": ("pydantic_ai",),
    "openai_agents": ("agents",),
    "smolagents": ("smolagents",),
}
"""Modules of this package that have an `INSTRUMENT`, and the packages these patch: imported when one of them is."""


class Instrument(Protocol):
    """How the calls of one library become steps.

    name: what people call the library, in notices and `--no-capture`.
    captures: the word of `--capture` that switches it on.
    supported: distribution name -> version range (PEP 440) it was tested with; others get a notice.
    modules: names of the modules to patch; each is patched by itself, once it is imported.
    """

    name: str
    captures: Captures
    supported: Mapping[str, str]
    modules: tuple[str, ...]

    def patch(self, module: ModuleType) -> Undo:
        """Patch `module`, which has just been imported or was before; returns what takes the patch out again.

        A patched call must do what it did where `runtime.context.SCOPE` has no live scope.
        """
        ...


def of_others() -> list[Instrument]:
    """The instruments that other distributions bring."""
    return [point.load() for point in importlib.metadata.entry_points(group=GROUP)]


class Instruments:
    """The instruments of this process. Safe to use from several threads.

    ours: as `_OURS`. others: gives the instruments of other distributions, when the first run goes live.
    """

    def __init__(
        self,
        ours: Mapping[str, tuple[str, ...]] = _OURS,
        others: Callable[[], list[Instrument]] = of_others,
    ) -> None:
        self._ours = ours
        self._others = others
        self._known: dict[str, Instrument] | None = None
        self._users: list[LiveRun] = []
        self._undo: dict[tuple[int, str], Undo] = {}
        self._hooked: set[str] = set()
        self._checked: dict[str, str] = {}
        self._unsupported: dict[str, str] = {}
        self._lock = threading.RLock()

    def install(self, run: LiveRun) -> None:
        """A run goes live."""
        with self._lock:
            if self._known is None:
                self._known = {f"{GROUP}:{n}": other for n, other in enumerate(self._others())}
            self._users.append(run)
            for name, packages in self._ours.items():
                for package in packages:
                    if package in sys.modules:
                        self._load(name)
                    else:
                        self._hook(package)
            for instrument in self._known.values():
                self._attach(instrument)
            for text in self._unsupported.values():
                run.notice(text)

    def remove(self, run: LiveRun) -> None:
        """It has ended."""
        with self._lock:
            if run in self._users:
                self._users.remove(run)
            if not self._users:
                for undo in reversed(self._undo.values()):
                    undo()
                self._undo.clear()

    def _load(self, name: str) -> None:
        assert self._known is not None
        if name not in self._known:
            self._known[name] = importlib.import_module(f"jupyter_durable.capture.{name}").INSTRUMENT

    def _hook(self, module: str) -> None:
        if module not in self._hooked:
            self._hooked.add(module)
            wrapt.register_post_import_hook(self._imported, module)

    def _imported(self, module: ModuleType) -> None:
        with self._lock:
            if not self._users or self._known is None:
                return
            for name, packages in self._ours.items():
                if module.__name__ in packages:
                    self._load(name)
                    self._attach(self._known[name])
            for instrument in self._known.values():
                if module.__name__ in instrument.modules:
                    self._patch(instrument, module)

    def _attach(self, instrument: Instrument) -> None:
        for name in instrument.modules:
            if name in sys.modules:
                self._patch(instrument, sys.modules[name])
            else:
                self._hook(name)

    def _patch(self, instrument: Instrument, module: ModuleType) -> None:
        place = (id(instrument), module.__name__)
        if place in self._undo:
            return
        if instrument.name not in self._checked:  # reading a distribution's metadata takes milliseconds
            self._checked[instrument.name] = _unsupported(instrument)
        unsupported = self._checked[instrument.name]
        try:
            self._undo[place] = instrument.patch(module)
        except (AttributeError, TypeError, ImportError) as error:
            unsupported = (
                f"{instrument.name} is not captured: {unsupported or type(error).__name__}: {error}; its calls are "
                f"made again when the run is resumed, unless a @durable.tool makes them"
            )
        if unsupported and instrument.name not in self._unsupported:
            self._unsupported[instrument.name] = unsupported
            for run in self._users:
                run.notice(unsupported)


def _unsupported(instrument: Instrument) -> str:
    """What to say about an installed version outside the tested range; empty if there is nothing to say."""
    from packaging.specifiers import SpecifierSet  # here: only a live run pays for it

    for distribution, versions in instrument.supported.items():
        try:
            installed = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
        if not SpecifierSet(versions).contains(installed, prereleases=True):
            return (
                f"{distribution} {installed} is outside the versions that its instrument was tested with ({versions}): "
                f"its {instrument.captures} may not be journaled"
            )
    return ""


instruments = Instruments()
"""The process' own."""
