"""The contract of an instrument, as a test that anybody's instrument can run.

What follows is a whole one: for a library `weather` whose `Client.forecast(city)` is to be a step. Its module is
named by the entry point `weather = "weather_durable:INSTRUMENT"` of the group `jupyter_durable.instruments`.

    import functools

    from jupyter_durable.runtime.context import SCOPE
    from jupyter_durable.runtime.step import Spec
    from jupyter_durable.runtime.steps import perform      # perform_async where the call is a coroutine

    class Weather:
        name = "Weather"                                   # in notices
        captures = "tools"                                 # the word of --capture that switches it on
        supported = {"weather": ">=2,<3"}                  # other versions get a notice
        modules = ("weather.client",)                      # each is patched once it is imported

        def patch(self, module):
            before = module.Client.forecast

            @functools.wraps(before)
            def forecast(client, city):
                scope = SCOPE.get()
                if scope is None or self.captures not in scope.run.options.capture:
                    return before(client, city)            # outside a run, or switched off: as ever
                # The client says nothing about the call: the city does. What is raised is the call's outcome, too.
                return perform(Spec("forecast", kind="tool"), lambda city: before(client, city), (city,), {})

            module.Client.forecast = forecast

            def undo():
                module.Client.forecast = before

            return undo

    INSTRUMENT = Weather()

And its test:

    def test_contract():
        server = weather.testing.Server()
        check_instrument(
            INSTRUMENT,
            calls=[lambda: weather.Client(server.url).forecast("Oslo")],
            raises=[lambda: weather.Client(server.url).forecast("nowhere")],
            made=lambda: server.hits,
        )
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import inspect
import sys
from collections.abc import Callable, Sequence
from contextvars import Context
from types import ModuleType
from typing import Any, get_args

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from jupyter_durable.capture.instruments import Captures, Instrument, Instruments
from jupyter_durable.model import StepInfo
from jupyter_durable.runtime.run import LiveRun, Options
from jupyter_durable.session import Session, Store
from jupyter_durable.store.memory import MemoryStore
from jupyter_durable.testing.proving import Crash, crash_at, execute

__all__ = ["BrokenInstrument", "check_instrument"]

Calls = Sequence[Callable[[], Any]]


class BrokenInstrument(AssertionError):  # noqa: N818 - reads as what it says
    """The instrument does not keep its contract; the message says which part."""


def check_instrument(
    instrument: Instrument, calls: Calls, *, made: Callable[[], int], raises: Calls = ()
) -> None:
    """Prove that `instrument` keeps the contract of `capture.instruments.Instrument`. Raises `BrokenInstrument`.

    calls: functions (sync or async) that each make one call which the instrument captures, and return something
    that can be compared. raises: the same, of calls that raise. made: how often calls were really made so far,
    counted outside (a server's hits, lines in a file).

    Checked: what the instrument declares; that all it patched is what it was when the run has ended; that calls
    outside the run's scope, and in a run that does not capture them, are made as ever and are no steps; that
    results and errors replay, equal and of the same type, without a call; that a call whose outcome is in the journal
    when the process dies is not made again.
    """
    _Check(instrument, calls, raises, made).all()


class _Check:
    def __init__(self, instrument: Instrument, calls: Calls, raises: Calls, made: Callable[[], int]) -> None:
        self.instrument = instrument
        self.calls = calls
        self.raises = raises
        self.made = made
        self.notices: list[str] = []
        self.modules = [importlib.import_module(name) for name in self._declared() if _exists(name)]
        self._expect(bool(self.modules), f"none of its modules can be imported: {instrument.modules}")

    def all(self) -> None:
        """Every part of the contract."""
        self._expect(bool(self.calls), "there is no call to check it with")
        bare = [(call, self._bare(call)) for call in (*self.calls, *self.raises)]
        before = self._attributes()
        self._run(MemoryStore(), lambda: None)
        self._expect(not self.notices, f"a run has something to say: {self.notices}")
        self._put_back(before)
        for call, result in bare:
            self._inert(call, result)
            self._replays(call, result)
        for call in self.calls:
            self._survives(call)
        self._put_back(before)

    # -- the parts -------------------------------------------------------------------------------------

    def _declared(self) -> tuple[str, ...]:
        its = self.instrument
        self._expect(isinstance(its.name, str) and bool(its.name), "it has no name")
        self._expect(
            its.captures in get_args(Captures), f"captures={its.captures!r} is none of {get_args(Captures)}"
        )
        self._expect(isinstance(its.modules, tuple), "modules is no tuple of names")
        for distribution, versions in its.supported.items():
            try:
                wanted = SpecifierSet(versions)
            except InvalidSpecifier:
                raise BrokenInstrument(
                    f"{its.name}: {versions!r} is no range of versions of {distribution}"
                ) from None
            try:
                installed = importlib.metadata.version(distribution)
            except importlib.metadata.PackageNotFoundError:
                continue
            here = f"{distribution} {installed} is installed, which it does not support ({versions})"
            self._expect(wanted.contains(installed, prereleases=True), here)
        return its.modules

    def _bare(self, call: Callable[[], Any]) -> Any:
        before = self.made()
        result = _outcome(call)
        self._expect(
            self.made() == before + 1, f"`made` counts {self.made() - before} for the one call of {call}"
        )
        self._expect((result[0] == "raised") == (call in self.raises), f"{call} came to {result!r}")
        return result

    def _put_back(self, before: dict[str, Any]) -> None:
        now = self._attributes()
        changed = [name for name, value in before.items() if now.get(name) is not value]
        self._expect(not changed, f"after the run {', '.join(changed)} is not what it was before")

    def _inert(self, call: Callable[[], Any], bare: Any) -> None:
        store, before = MemoryStore(), self.made()

        async def later() -> Any:
            return await asyncio.get_running_loop().create_task(_settled(call), context=Context())

        def now() -> Any:
            return Context().run(_outcome, call)

        outside = later if inspect.iscoroutinefunction(call) else now
        same = _same(self._run(store, outside)[1], bare)
        self._expect(
            same and self.made() == before + 1, "while a run is live, a call outside its scope is not as ever"
        )
        self._expect(not self._steps(store), "a call outside the run's scope has become a step of it")
        store = MemoryStore()
        same = _same(self._run(store, call, capture=frozenset()), bare)
        self._expect(
            same and self.made() == before + 2, "a call in a run that captures nothing is not as ever"
        )
        self._expect(
            not self._steps(store), f"a run that does not capture {self.instrument.captures} has its call"
        )

    def _replays(self, call: Callable[[], Any], bare: Any) -> None:
        store, before = MemoryStore(), self.made()
        live = self._run(store, call)
        steps = self._steps(store)
        self._expect(_same(live, bare), f"a captured call came to {live!r}, a bare one to {bare!r}")
        self._expect(self.made() == before + 1, f"a captured call was made {self.made() - before} times")
        self._expect(bool(steps), "the call is no step")
        status = "failed" if call in self.raises else "completed"
        wrong = [f"{s.name} {s.status}" for s in steps if s.status != status]
        self._expect(len(wrong) < len(steps), f"no step is {status}: {', '.join(wrong)}")
        again = self._run(store, call, replay=True)
        self._expect(_same(again, bare), f"a replayed call came to {again!r}, a bare one to {bare!r}")
        self._expect(self.made() == before + 1, "a replay makes the call")

    def _survives(self, call: Callable[[], Any]) -> None:
        store, before = MemoryStore(), self.made()
        with crash_at("after-outcome"):
            try:
                self._run(store, call)
            except Crash:
                pass
            else:
                raise BrokenInstrument(f"{self.instrument.name}: the outcome of {call} was never stored")
        self._run(store, call, resume=True)
        self._expect(self.made() == before + 1, "a call whose outcome was stored is made again after a crash")

    # -- the means -------------------------------------------------------------------------------------

    def _run(self, store: MemoryStore, call: Callable[[], Any], *, replay: bool = False, resume: bool = False, **options: Any) -> Any:  # fmt: skip
        session = Session(store, on_notice=self.notices.append)
        run: LiveRun
        if replay:
            run = session.replay(store.runs()[0])
        elif resume:
            run = session.resume(store.runs()[0], options=Options(**options))
        else:
            run = session.new("instrument", options=Options(**options))
        run.instruments = Instruments({}, lambda: [self.instrument])
        return execute(session, run, call)

    def _steps(self, store: MemoryStore) -> list[StepInfo]:
        return Store(store).steps(store.runs()[0].id)

    def _attributes(self) -> dict[str, Any]:
        """What can be called in the modules and in their classes, by name; state may change with every call."""
        found: dict[str, Any] = {}
        for module in self.modules:
            for name, value in list(vars(module).items()):
                found[f"{module.__name__}.{name}"] = value
                if isinstance(value, type) and _root(value.__module__) == _root(module.__name__):
                    for inner, member in list(vars(value).items()):
                        if not _volatile(inner):
                            found[f"{module.__name__}.{name}.{inner}"] = member
        return {name: value for name, value in found.items() if callable(value) or hasattr(value, "__get__")}

    def _expect(self, held: bool, else_say: str) -> None:
        if not held:
            raise BrokenInstrument(f"{self.instrument.name}: {else_say}")


def _exists(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return isinstance(sys.modules.get(name), ModuleType)


def _root(module: str) -> str:
    return module.partition(".")[0]


def _volatile(name: str) -> bool:
    return name in ("__dict__", "__weakref__", "__abstractmethods__") or name.startswith(
        ("_abc_", "__pydantic")
    )


def _outcome(call: Callable[[], Any]) -> tuple[str, Any]:
    if inspect.iscoroutinefunction(call):
        return asyncio.run(_settled(call))
    try:
        return "returned", call()
    except Exception as error:  # noqa: BLE001 - what the call comes to
        return "raised", error


async def _settled(call: Callable[[], Any]) -> tuple[str, Any]:
    try:
        return "returned", await call()
    except Exception as error:  # noqa: BLE001
        return "raised", error


def _same(one: Any, other: Any) -> bool:
    if one[0] != other[0] or type(one[1]) is not type(other[1]):
        return False
    return str(one[1]) == str(other[1]) if one[0] == "raised" else bool(one[1] == other[1])
