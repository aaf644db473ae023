"""Forks that people make: a run that goes on from a step of another one, with something else there.

Every surface (magic, command line, Python, REST) makes them by `fork`. The fork is there at once, and is executed by
whoever resumes it: its cell, `%durable resume`, a job. What does not fit is refused here, where somebody can correct it.
"""

from __future__ import annotations

import ast
import contextlib
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jupyter_durable.codec.redaction import mask
from jupyter_durable.errors import DurableError
from jupyter_durable.journal.edits import cut_at
from jupyter_durable.journal.index import Index, RecordedStep
from jupyter_durable.model import RunRecord
from jupyter_durable.session import deciding
from jupyter_durable.session.change import EXCHANGES, UNSET, Change, is_stream
from jupyter_durable.timeline import inert

if TYPE_CHECKING:
    from jupyter_durable.runtime.forms import Form
    from jupyter_durable.session.reading import Store

_GIVEN = frozenset({"tool", "mcp", "ask", "signal", "run"})
"""Kinds of steps whose result can be given."""
_EDITED = frozenset({"tool", "mcp"})


@dataclass(frozen=True, slots=True)
class Forked:
    """A fork that was made. `how`: `result`, `arguments` or `again`; `at` is the step, `step` its name.

    `replayed` steps are taken over; `repeats` are those left behind that had an effect, by name and number: they happen
    once more if the fork comes to them. `unmade`: arguments that the step had changed in place, and that stay as they are
    where its result was given.
    """

    id: str
    name: str
    parent: str
    at: str
    step: str
    how: str
    replayed: int
    repeats: Mapping[str, int]
    unmade: tuple[str, ...] = ()

    @property
    def head(self) -> str:
        """What was made, in a line."""
        what = {"result": " with another result", "arguments": " with other arguments", "again": ""}[self.how]
        said = f"{self.name} forked at step {self.at} {self.step}{what}"
        if self.unmade:
            said += f" (it had changed {' and '.join(self.unmade)} in place, which is not done here: it is not made)"
        return said

    def __str__(self) -> str:
        return f"{self.head}: {outlook(self.replayed, self.repeats)}"


def outlook(replayed: int, repeats: Mapping[str, int]) -> str:
    """What a fork will do, as a few words: before it does.

    >>> outlook(3, {"send_email": 30})
    '3 steps replayed; 30 whose effects have already happened may be made again (send_email x30)'
    """
    said = f"{replayed} step{'s' if replayed != 1 else ''} replayed"
    if not repeats:
        return f"{said}; no effect is repeated"
    count = sum(repeats.values())
    names = ", ".join(f"{name} x{n}" if n > 1 else name for name, n in repeats.items())
    return f"{said}; {count} whose effects have already happened may be made again ({names})"


def look_ahead(index: Index, at: tuple[int, int], *, keep: bool = False) -> tuple[int, Counter[str]]:
    """How many steps a fork there replays, and what it leaves behind that had an effect; `index` is spent."""
    before = len(index.abandoned)
    index.preview(cut_at(index, *at, keep=keep))
    left = index.abandoned[before:]
    return _count(index, left)


def _count(index: Index, left: list[RecordedStep]) -> tuple[int, Counter[str]]:
    replayed = sum(
        step.outcome is not None
        for scope in index.scopes.values()
        if scope.steps and index.active(scope)
        for step in scope.steps
    )
    done = [step.name for step in left if step.status == "completed" and step.effect != "pure"]
    return replayed, Counter(done)


def fork(
    store: Store,
    run: str,
    *,
    at: str,
    result: Any = UNSET,
    arguments: Mapping[str, Any] | None = None,
    by: str = "",
    as_json: bool = False,
    line: str = "",
    job_id: str | None = None,
) -> Forked:
    """Make a fork of a run which goes on from step `at` (an id or a name), where it is resumed.

    `result`: what that step gives in the fork, without being made. `arguments`: those to be changed when it is made,
    by name, as JSON data. Neither: it is made again. `as_json`: `result` is JSON data, and becomes a value of the
    type that the step gave. `line`: kept with the fork, to tell it by. `job_id`: the job that makes it.

    Raises `RunNotFoundError`; `DurableError` for what does not fit, and for a run that is being executed.
    """
    session = store._session
    record = store._record(run)
    if session.alive(record):
        raise DurableError(
            f"run {record.name!r} is being executed by {record.owner}",
            hint=f"stop its cell first, or `jupyter durable cancel {record.id[:13]}`, and fork it then",
        )
    index = session.index(record.id)
    place = session.place(index, at, record)
    step = index.step(*place)
    assert step is not None
    if result is not UNSET and arguments is not None:
        raise DurableError(
            "a step whose result is given is not made, so it needs no arguments", hint="give one of the two"
        )
    if result is not UNSET:
        _check_place(index, step, record)
        result = _fitting(store, record, step, result, as_json=as_json)
    elif arguments is not None:
        _check_place(index, step, record)
        arguments = {
            **_changed_before(store, record, step),
            **_checked(store, record, index, step, arguments),
        }
    unmade = _changed_in_place(store, record, step) if result is not UNSET else ()
    who = mask(by or str(session.owner))
    change = Change(result, arguments, who)
    meta = {"by": who, **({"line": line} if line else {})}
    made = session.prepare(record, place, change, job_id=job_id, meta=meta)
    index = session.index(made.id)
    left = session.left_behind(made, index)
    replayed, repeats = _count(index, left)
    return Forked(
        made.id, made.name, record.id, step.id, step.name, change.how, replayed, dict(repeats), unmade
    )


def _check_place(index: Index, step: RecordedStep, record: RunRecord) -> None:
    if step.history or any(step is left for left in index.abandoned):
        raise DurableError(
            f"step {step.id} {step.name} of {record.name!r} is history: a retry or a fork has left it behind",
            hint=f"%durable show {record.id[:13]} lists the steps; choose one that counts, or fork the run before it",
        )


# -- results ---------------------------------------------------------------------------------------


def _fitting(store: Store, record: RunRecord, step: RecordedStep, value: Any, *, as_json: bool) -> Any:
    if step.kind in EXCHANGES:
        from jupyter_durable.session.answering import made_up  # here: few runs have any

        return made_up(step, store._session.decoder(record), value)
    if step.kind not in _GIVEN:
        raise DurableError(
            f"the result of step {step.id} {step.name} ({step.kind}) cannot be given",
            hint=f"fork it at the tool call that follows, or have it made again: --rerun-from {step.id}",
        )
    if is_stream(step):
        if not isinstance(value, list | tuple):
            raise DurableError(
                f"step {step.id} {step.name} is a generator: its result is a list of its items",
                hint="--set 'result=[...]'",
            )
        return list(value)
    if step.kind == "ask" and step.wait is not None and as_json:
        value = deciding.fit(step.wait.get("schema"), value, "the answer")
    return _typed(store, record, step, value) if as_json else value


def _changed_in_place(store: Store, record: RunRecord, step: RecordedStep) -> tuple[str, ...]:
    """The arguments that a call had changed in place, by name where its tool is at hand."""
    if step.mutation is None:
        return ()
    changed = store._session.decoder(record)(step.mutation.payload, step.mutation.seq) or {}
    form = form_of(step.name, record) if step.kind == "tool" else None
    known = list(((form.schema() if form is not None else None) or {}).get("properties", ()))
    return tuple(
        name
        if not name.isdigit()
        else known[int(name)]
        if int(name) < len(known)
        else f"argument {int(name) + 1}"
        for name in changed
    )


def _typed(store: Store, record: RunRecord, step: RecordedStep, value: Any) -> Any:
    """JSON data as a value of the type that the step gave, if that is another one."""
    outcome = step.outcome
    if outcome is None or outcome.payload is None or outcome.meta["s"] != "completed":
        return value
    session = store._session
    bind = next((run for run, upto in session._lineage(record) if outcome.seq <= upto), record.id)
    load = store.journal.chunk
    payload = outcome.payload
    shown = inert.glance(lambda: inert.look(session.codec, payload, bind=bind, load=load))
    if not isinstance(shown, inert.Shown | inert.Named):
        return value
    from pydantic import TypeAdapter, ValidationError
    from pydantic.errors import PydanticUserError

    hint = f"in its notebook: %durable fork {record.id[:13]} --at {step.id} --set result=EXPR, a Python expression"
    try:
        was = session.codec.decode(payload, bind=bind, load=load)
        return TypeAdapter(type(was)).validate_python(value)
    except ValidationError as error:
        said = "; ".join(
            f"{'.'.join(map(str, p['loc'])) or 'it'}: {p['msg']}" for p in error.errors(include_url=False)
        )
        raise DurableError(f"that is no {shown!r:.80}, as step {step.id} gives: {said}", hint=hint) from None
    except (DurableError, PydanticUserError, TypeError):
        raise DurableError(
            f"what step {step.id} {step.name} gave cannot be made of JSON here: {shown!r:.80}",
            hint=hint,
        ) from None


# -- arguments -------------------------------------------------------------------------------------


def _checked(
    store: Store, record: RunRecord, index: Index, step: RecordedStep, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Arguments that the step can be made with, as JSON data."""
    if step.kind not in _EDITED:
        raise DurableError(
            f"the arguments of step {step.id} {step.name} ({step.kind}) cannot be changed",
            hint=f"change the code that makes the call: %durable fork {record.id[:13]} --at {step.id}",
        )
    if not isinstance(given, Mapping) or not given:
        raise DurableError("arguments are given by name", hint="""--arguments '{"name": value}'""")
    form = form_of(step.name, record) if step.kind == "tool" else None
    said: dict[str, Any]
    if form is None:
        said = deciding.fit(None, dict(given), f"what is given for {step.name}")
        known = _parameters(store, record, index, step.name)
        wrong = [name for name in said if known is not None and name not in known]
        if wrong and known is not None:
            raise DurableError(
                f"{step.name} has no argument {wrong[0]!r}", hint=f"it has {', '.join(known) or 'none'}"
            )
        return said
    schema = form.schema()
    partial = {**schema, "required": []} if schema is not None else None
    said = deciding.fit(partial, dict(given), f"what is given for {step.name}")
    try:
        if step.args is not None:
            with contextlib.suppress(DurableError):  # it is checked again when the call is made
                recorded = store._session.decoder(record)(step.args, step.seq)
                if isinstance(recorded, list | tuple) and len(recorded) == 2:
                    form.bind(tuple(recorded[0]), dict(recorded[1]), said)
    except ValueError as error:
        known = list((schema or {}).get("properties", ()))
        raise DurableError(
            f"{step.name} cannot be made with that: {error}",
            hint=f"its arguments are {', '.join(known)}" if known else "look at its signature",
        ) from None
    return said


def _changed_before(store: Store, record: RunRecord, step: RecordedStep) -> dict[str, Any]:
    """What a person had changed about the call that is changed now."""
    if step.edit is None:
        return {}
    return dict(store._session.decoder(record)(step.edit.payload, step.edit.seq) or {})


def form_of(name: str, record: RunRecord | None = None) -> Form | None:
    """How the arguments of the tool of that name may be changed, if it is in this notebook or script."""
    fn = tool_named(name)
    if fn is None:
        return None
    spec = getattr(fn, "__durable__", None)
    if spec is not None:
        return spec.form  # type: ignore[no-any-return]
    from jupyter_durable.capture.forms import SignatureForm

    return SignatureForm(fn)


def tool_named(name: str, names: Mapping[str, Any] | None = None) -> Any:
    """The tool of that name in `names` (default: this notebook's, or script's), or the plain function; None: not there."""
    if names is None:
        main = sys.modules.get("__main__")
        names = vars(main) if main is not None else {}
    plain = None
    for value in list(names.values()):
        for fn in (value, *(vars(value).values() if isinstance(value, type) else ())):
            spec = getattr(fn, "__durable__", None)
            if spec is not None and getattr(spec, "name", None) == name:
                return fn
            if callable(fn) and getattr(fn, "__qualname__", None) == name and fn is value:
                plain = fn
    return plain


def _parameters(store: Store, record: RunRecord, index: Index, name: str) -> list[str] | None:
    """The names of a tool's parameters, from the source that the run has kept; None: not there, or it takes any."""
    try:
        kept = store._session.snapshot(record, index)
    except DurableError:
        return None
    for source in _sources(kept):
        try:
            tree = ast.parse(source)
        except SyntaxError:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and name in _names(node):
                args = node.args
                if args.kwarg is not None:
                    return None
                found = [arg.arg for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs)]
                return found[1:] if found[:1] in (["self"], ["cls"]) else found
    return None


def _names(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    yield node.name
    for decorator in node.decorator_list:
        for keyword in decorator.keywords if isinstance(decorator, ast.Call) else ():
            if keyword.arg == "name" and isinstance(keyword.value, ast.Constant):
                yield str(keyword.value.value)


def _sources(kept: Any) -> Iterator[str]:
    """The statements of a snapshot, whatever its form."""
    if isinstance(kept, str):
        yield kept
    elif isinstance(kept, Mapping):
        for value in kept.values():
            yield from _sources(value)
    elif isinstance(kept, list | tuple):
        for value in kept:
            yield from _sources(value)
