"""`replay_cassette`: a recorded run as a regression test of the agent that made it.

The agent is executed again as it is now, offline, and every call it makes is answered from the cassette. It
passes if the calls are those that were recorded, and it ends as it did.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import inspect
import json
import os
import pprint
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jupyter_durable.capture.wire import formats
from jupyter_durable.capture.wire.talk import messages
from jupyter_durable.codec import Codec
from jupyter_durable.codec.display import difference, show, show_call
from jupyter_durable.codec.redaction import mask, masked
from jupyter_durable.errors import DivergenceError, DurableError
from jupyter_durable.export.cassette import Cassette, load
from jupyter_durable.journal.engine import Diverged
from jupyter_durable.journal.index import RecordedStep
from jupyter_durable.kernel import arguments
from jupyter_durable.runtime.context import SCOPE
from jupyter_durable.runtime.run import LiveRun
from jupyter_durable.session import Session, blocks
from jupyter_durable.testing import notebooks
from jupyter_durable.testing.network import Blocked, offline
from jupyter_durable.testing.proving import execute

__all__ = ["CassetteMismatch", "Replayed", "replay_cassette"]

_PLACEHOLDERS = {
    **{
        f"{name}_API_KEY": "replayed"
        for name in (
            *(
                "ANTHROPIC",
                "AZURE_OPENAI",
                "CEREBRAS",
                "COHERE",
                "DEEPSEEK",
                "FIREWORKS",
                "GEMINI",
                "GOOGLE",
                "GROQ",
            ),
            *("MISTRAL", "OPENAI", "OPENROUTER", "PERPLEXITY", "TOGETHER", "XAI"),
        )
    },
    **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN"), "replayed"),
    "AWS_DEFAULT_REGION": "us-east-1",
}
"""What clients refuse to be made without, though nobody will see it."""
_WIDTH = 100  # of what is printed
_BEFORE = 3  # calls shown before the one that differs


class CassetteMismatch(AssertionError):  # noqa: N818 - reads as what it says
    """The agent does something else than was recorded. The message is the difference."""


@dataclass
class Replayed:
    """What a replay came to: the cell's last expression or what the function returned (`result`), the variables
    that the cell left (`names`), how many calls were answered, and in how many seconds.
    """

    result: Any
    names: dict[str, Any] = field(default_factory=dict, repr=False)
    calls: int = 0
    seconds: float = 0.0


def replay_cassette(
    cassette: str | Path,
    agent: Callable[..., Any] | None = None,
    /,
    *args: Any,
    notebook: str | Path | None = None,
    inputs: Mapping[str, Any] | None = None,
    live: str | Iterable[str] = (),
    compare_result: bool = True,
    **kwargs: Any,
) -> Replayed:
    """Execute the agent, answer its calls from a cassette, and compare. Raises `CassetteMismatch`.

    What is executed: `agent(*args, **kwargs)`, a function, sync or async, also one with `@durable.run`; else the durable
    cell of `notebook`, with what it needs of the cells above it, as they are now; else the cell as it was recorded.
    `inputs`: names of the cell's to set, whatever the notebook makes of them. `live`: patterns of names of tools that are really
    called, and whose results must be the recorded ones. `compare_result`: whether what comes out in the end (the cell's
    last expression, or what the function returned) must look as it did; False for what never does.

    Sockets are blocked meanwhile: a test that passes has needed no network. Keys of model providers that are not in the
    environment have a placeholder: clients want one.
    """
    tape = load(cassette)
    patterns = (live,) if isinstance(live, str) else tuple(live)
    replay = _Replay(tape, patterns, compare_result=compare_result)
    with offline() as wanted, _environment():
        if agent is not None:
            plain = _plain(agent)
            return replay.go(functools.partial(plain, *args, **kwargs), plain.__globals__, wanted, plain)
        with contextlib.ExitStack() as stack:
            ns = stack.enter_context(notebooks.main_module())
            source, tools = _prepare(tape, notebook, dict(inputs or {}), ns, stack)
            fn, wrapped = notebooks.agent_of(source, ns, tools, f"%%durable {tape.about['name']}")
            try:
                made = replay.go(fn, ns, wanted)
            finally:
                wrapped.put_back()
            made.names = {name: value for name, value in ns.items() if not name.startswith("__")}
            return made


def _plain(agent: Any) -> Any:
    """The function inside `@durable.run`: here, the run is the cassette's."""
    while getattr(getattr(agent, "__code__", None), "co_filename", "") == blocks.__file__:
        agent = agent.__wrapped__
    return agent


def _prepare(
    tape: Cassette,
    notebook: str | Path | None,
    given: dict[str, Any],
    ns: dict[str, Any],
    stack: contextlib.ExitStack,
) -> tuple[str, tuple[str, ...]]:
    """Fill the namespace; the source of the cell, and the patterns of its tools."""
    cell = tape.cell
    name = tape.about["name"]
    recorded = cell["inputs"] if cell is not None else {}
    if notebook is not None:
        path = Path(notebook).resolve()
        cells = notebooks.cells_of(path)
        found = notebooks.durable_cell(cells, name, tape.about.get("cell_id"), path.name)
        stack.enter_context(_inside(path.parent))
        ns |= given
        source = found.source
        failed = notebooks.set_up(cells[: found.number - 1], source, ns, path.name)
        tools = arguments.parse(found.header or "").tools
    elif cell is not None:
        failed = notebooks.define(cell["definitions"], ns, name)
        source = cell["source"]
        tools = tuple(cell["line"].get("tools", ()))
    else:
        raise DurableError(
            f"{name!r} was a run of a script, and no cell",
            hint="replay_cassette(cassette, function, ...), with the arguments that it was called with",
        )
    for key in recorded:
        if "." not in key and (notebook is None or key not in ns):
            ns[key] = tape.input(key)
    ns |= given
    if left := notebooks.without(failed, {**recorded, **given}):
        one = left[0]
        raise DurableError(
            f"the set-up `{one.source.strip().splitlines()[0]}` cannot be executed in this test "
            f"({type(one.error).__name__}: {one.error}), and the cassette has no value for {', '.join(one.names)}",
            hint=f"replay_cassette(..., inputs={{{one.names[0] if one.names else 'name'!r}: ...}})",
        ) from one.error
    return source, tools


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Where a notebook's kernel is: its files and modules are found."""
    before = Path.cwd()
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        os.chdir(before)
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder))


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    added = [name for name in _PLACEHOLDERS if name not in os.environ]
    os.environ.update({name: _PLACEHOLDERS[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


class _Replay:
    """One replay, and what is wrong with it."""

    def __init__(self, tape: Cassette, live: tuple[str, ...], *, compare_result: bool) -> None:
        self._tape = tape
        self._compare_result = compare_result
        self._live = live
        self._found: Diverged | None = None
        self._arguments: Any = None
        self._compared: Callable[[Any], Any] = _named  # what of (args, kwargs) tells two calls apart
        self._conceal: Callable[[tuple[Any, ...]], tuple[Any, ...]] = tuple  # marks secrets among arguments
        self._wrong: list[str] = []

    def go(self, fn: Callable[[], Any], ns: dict[str, Any], wanted: list[Any], agent: Any = None) -> Replayed:
        """Execute `fn` with the namespace `ns`; raise what is to be raised about it."""
        tape = self._tape
        if agent is not None and agent.__module__ != "__main__":
            tape.rename("__main__", agent.__module__)
        session = Session(tape)
        session.codec = Codec(tape.key, pickle="never", namespace=lambda: ns)
        run = session.replay(tape.run())
        run.user_code = lambda names: names is ns
        run.rehearsal = functools.partial(self._rehearse, run)
        explain = run.divergence
        run.divergence = functools.partial(self._note, explain)  # type: ignore[method-assign]
        fn = _function(fn)
        run.blocking = not _is_async(fn)
        began = time.perf_counter()
        try:
            how, value = execute(session, run, fn)
        except DivergenceError as error:
            raise CassetteMismatch(self._text(run, str(error.args[0]))) from None
        if how == "raised" and isinstance(value, Blocked) and wanted:
            raise CassetteMismatch(
                self._titled(f"it wants to reach {wanted[-1][0]} outside of any recorded call", run)
            ) from value
        if self._wrong:
            raise CassetteMismatch(self._titled("\n\n".join(self._wrong), run))
        self._compare_end(how, value, run)
        return Replayed(value, {}, run.stats.replayed, time.perf_counter() - began)

    def _note(
        self, explain: Any, found: Diverged, arguments: Any = None, *compared: Any, **how: Any
    ) -> DivergenceError:
        if self._found is None:  # what comes after the first is its consequence
            self._found, self._arguments = found, arguments
            self._compared = compared[0] if compared else _named
            self._conceal = how.get("conceal", tuple)
        error: DivergenceError = explain(found, arguments, *compared, **how)
        return error

    # -- tools that are really called ------------------------------------------------------------

    def _rehearse(self, run: LiveRun, step: Any, recorded: RecordedStep, fn: Any) -> Any:
        outcome = recorded.outcome
        assert outcome is not None
        if recorded.kind in ("tool", "mcp") and any(fnmatchcase(recorded.name, one) for one in self._live):
            return self._really(run, step, recorded, fn)
        if gone := outcome.meta.get("gone"):
            self._wrong.append(
                f"the result of step {recorded.id} ({recorded.name}) {gone}, and is not in the cassette: say "
                f"live={recorded.name!r}, so that the test makes this call"
            )
        return step.deliver(recorded)

    def _really(self, run: LiveRun, step: Any, recorded: RecordedStep, fn: Any) -> Any:
        outcome = recorded.outcome
        assert outcome is not None
        known = not outcome.meta.get("gone")

        def compare(value: Any, error: BaseException | None) -> Any:
            try:
                expected: tuple[Any, BaseException | None] = step.deliver(recorded), None
            except Exception as raised:  # noqa: BLE001 - what was recorded
                expected = None, raised
            if known and not _same((value, error), expected):
                self._wrong.append(
                    f"step {recorded.id} has another result: {show_call(recorded.name, step.args, step.kwargs)}\n"
                    + _sides(_shown(*expected), _shown(value, error))
                )
            # What follows is compared with what followed then.
            value, error = expected if known else (value, error)
            if error is not None:
                raise error
            return value

        token = SCOPE.set(None)
        try:
            value = fn(*step.args, **step.kwargs)
        except Exception as error:  # noqa: BLE001 - compared
            SCOPE.reset(token)
            return compare(None, error)
        SCOPE.reset(token)
        if not hasattr(value, "__await__"):
            return compare(value, None)

        async def later() -> Any:
            token = SCOPE.set(None)
            try:
                found, error = await value, None
            except Exception as raised:  # noqa: BLE001 - compared
                found, error = None, raised
            finally:
                SCOPE.reset(token)
            return compare(found, error)

        return later()

    # -- what is said ----------------------------------------------------------------------------

    def _compare_end(self, how: str, value: Any, run: LiveRun) -> None:
        about = self._tape.about
        then = about["error"] if about["status"] == "failed" else ""
        now = mask(f"{type(value).__name__}: {value}") if how == "raised" else ""
        if bool(then) != bool(now) or then.partition(":")[0] != now.partition(":")[0]:
            said = _sides(then or "it came to its end", now or "it comes to its end")
            raise CassetteMismatch(self._titled(f"it ends in another way\n{said}", run)) from (
                value if isinstance(value, BaseException) else None
            )
        if how == "returned" and self._compare_result and about.get("result") is not None:
            shown = mask(show(value))
            if shown != about["result"]:
                said = _sides(about["result"], shown)
                raise CassetteMismatch(self._titled(f"it has another result\n{said}", run))

    def _titled(self, text: str, run: LiveRun) -> str:
        name = self._tape.about["name"]
        return (
            f"{name} does something else than was recorded: {text}\n\n"
            f"{run.stats.replayed} of {len(self._tape.calls)} recorded calls were answered from {Path(self._tape.url).name}. "
            f"Is this what you want? Then run it again, and export it again:\n"
            f"  jupyter durable export {name} --format pytest -o {Path(self._tape.url).parent}"
        )

    def _text(self, run: LiveRun, otherwise: str) -> str:
        found = self._found
        if found is None:
            return self._titled(otherwise, run)
        step, call = found.recorded, found.call
        lines: list[str] = []
        scope = step.scope if step is not None else found.scope if isinstance(found.scope, int) else 0
        recorded = run.index.scopes.get(scope)
        steps = recorded.steps if recorded is not None else []
        pos = steps.index(step) if step in steps else len(steps)
        if pos > _BEFORE:
            lines.append(f"    … {pos - _BEFORE} calls before")
        lines += [f"    {one.id:<6} {self._call(run, one)}" for one in steps[max(0, pos - _BEFORE) : pos]]
        if step is not None:
            lines.append(f"  - {step.id:<6} {self._call(run, step, self._conceal)}")
        if call is not None:
            now = self._arguments if self._arguments is not None else ((), {})
            lines.append(f"  + {'now':<6} {_line(call.kind, call.name, now)}")
        if step is not None and call is None:
            rest = steps[pos + 1 :]
            lines += [f"  - {one.id:<6} {self._call(run, one)}" for one in rest[:5]]
            if len(rest) > 5:
                lines.append(f"  - … and {len(rest) - 5} more")
            return self._titled("\n".join(["calls are missing", *lines]), run)
        if step is None:
            return self._titled("\n".join(["a call that was not recorded", *lines]), run)
        assert call is not None
        then = _decoded(run, step, self._conceal)
        if then is not None and self._arguments is not None and step.name == call.name:
            lines += ["", *_difference(self._compared(then), self._compared(self._arguments))]
        return self._titled("\n".join(["another call", *lines]), run)

    def _call(self, run: LiveRun, step: RecordedStep, conceal: Any = tuple) -> str:
        then = _decoded(run, step, conceal)
        return _line(step.kind, step.name, then) if then is not None else f"{step.name}(…)"


# -- side by side ----------------------------------------------------------------------------------


def _sides(then: str, now: str) -> str:
    if "\n" not in then + now and max(len(then), len(now)) < 2 * _WIDTH:
        return f"  - recorded  {then}\n  + now       {now}"
    return "\n".join(_unified(then.splitlines(), now.splitlines()))


def _unified(then: list[str], now: list[str]) -> list[str]:
    lines = list(difflib.unified_diff(then, now, "recorded", "now", lineterm="", n=2))
    most = 60
    more = [f"  … and {len(lines) - most} more lines"] if len(lines) > most else []
    return [f"  {line}" for line in lines[:most]] + more


def _line(kind: str, name: str, arguments: Any) -> str:
    """A call on one line; of a model call, what was said last."""
    args, kwargs = arguments
    if kind == "model" and (said := _said(kwargs)):
        return mask(f"{name}: {show(said, _WIDTH)}")
    return mask(show_call(name, tuple(args), dict(kwargs), _WIDTH))


def _said(request: Mapping[str, Any]) -> str:
    with contextlib.suppress(Exception):
        body = request.get("body")
        parts = urlsplit(str(request.get("url", "")))
        found = formats.recognise(str(request.get("method", "")), parts, body)
        return messages(found.api if found is not None else None, body)[-1].text
    return ""


def _difference(before: Any, after: Any) -> list[str]:
    """What differs between the arguments of two calls: in a word, or line by line."""
    before, after = masked(before), masked(after)
    if max(len(show(one, 500)) for one in (before, after)) < 2 * _WIDTH:
        found = difference(before, after)
        return [f"  differs: {mask(found)}"] if found else []
    texts = [mask(json.dumps(one, indent=1, ensure_ascii=False, default=show)) for one in (before, after)]
    return _unified(*(one.replace("\\n", "\\n\n").splitlines() for one in texts))


def _named(arguments: Any) -> Any:
    args, kwargs = arguments
    return {**{f"argument {n}": value for n, value in enumerate(args, 1)}, **kwargs}


def _decoded(run: LiveRun, step: RecordedStep, conceal: Any) -> Any:
    with contextlib.suppress(Exception):
        args, kwargs = run.decode(step.args, step.seq)
        return conceal(tuple(args)), kwargs
    return None


def _shown(value: Any, error: BaseException | None) -> str:
    if error is not None:
        return mask(f"raised {type(error).__name__}: {error}")
    return mask(pprint.pformat(value, width=_WIDTH, sort_dicts=False))


def _same(one: tuple[Any, BaseException | None], other: tuple[Any, BaseException | None]) -> bool:
    if one[1] is not None or other[1] is not None:
        return type(one[1]) is type(other[1]) and str(one[1]) == str(other[1])
    try:
        return bool(one[0] == other[0])
    except Exception:  # noqa: BLE001 - arrays and frames have no truth
        return _shown(one[0], None) == _shown(other[0], None)


def _is_async(fn: Any) -> bool:
    return inspect.iscoroutinefunction(fn)


def _function(fn: Any) -> Any:
    """A partial of a coroutine function as one."""
    if isinstance(fn, functools.partial) and _is_async(fn.func):

        async def call() -> Any:
            return await fn()

        return call
    return fn
