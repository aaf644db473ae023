"""What people say about runs: every surface writes it by `decide`, as a row in the run's inbox.

The row's key is the wait's (`journal.waits`), and unique in the run: the first decision stands, and whoever comes
second is told who decided. What does not fit is refused here, where somebody can still correct it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jupyter_durable.codec.redaction import mask
from jupyter_durable.errors import AlreadyDecidedError, DurableError
from jupyter_durable.journal.index import Index, RecordedStep
from jupyter_durable.journal.keys import parse_step_id
from jupyter_durable.journal.waits import ACTIONS, Wait, describe, doubt_key, waits
from jupyter_durable.model import FINAL, InboxItem, Payload, RunRecord, WaitInfo, new_id

if TYPE_CHECKING:
    from jupyter_durable.session.reading import Store

_DOUBT = ACTIONS["doubt"]


def decide(
    store: Store,
    run: str,
    key: str,
    action: str,
    *,
    value: Any = None,
    arguments: Mapping[str, Any] | None = None,
    message: str = "",
    by: str = "",
    once: str = "",
) -> InboxItem:
    """Say something about what a run waits for. `key` is the wait's, or the step's id or name; a signal's name.

    `action`: `approve` (`arguments`: those to be changed, as JSON data), `reject` (`message`), `answer` (`value`), `retry`,
    `supply` (`value`), `fail` (`message`), `signal` (`value`; two with the same `once` are one). `by`: who says it.

    Raises `AlreadyDecidedError`, which says who was first; `DurableError` for what does not fit, or where
    nothing waits; `RunNotFoundError`.
    """
    record = store._record(run)
    who = mask(by or str(store._session.owner))
    index = store._session.index(record.id)
    if action == "signal":
        if record.status in FINAL:
            raise DurableError(
                f"run {record.name!r} is {record.status}: it receives nothing any more",
                hint="%durable list shows the others",
            )
        return _signal(store, record, index, key, value, who, once)
    if action in _DOUBT:
        step = _in_doubt(store, record, index, key)
        said = {"action": action, **({"message": mask(message)} if message else {})}
        payload = _payload(store, record, value) if action == "supply" else None
        return store.journal.post(record.id, "decision", doubt_key(step), said, by=who, payload=payload)
    wait = _wait(store, record, index, key)
    if action not in ACTIONS[wait.kind]:
        other = " or ".join(ACTIONS[wait.kind]) or "nothing: it ends by itself"
        raise DurableError(
            f"run {record.name!r} waits for {describe(wait)}, which {action} does not end", hint=other
        )
    if action == "answer":
        given = fit(wait.schema, value, "the answer")
        return store.journal.post(
            record.id,
            "answer",
            wait.key,
            {"action": action},
            by=who,
            payload=_payload(store, record, given, wait.schema),
        )
    payload = None
    if arguments:
        if not wait.editable:
            raise DurableError(
                f"the arguments of {wait.step.name if wait.step else key} cannot be changed",
                hint="approve or reject it",
            )
        partial = {**wait.schema, "required": []} if wait.schema is not None else None
        payload = _payload(store, record, fit(partial, dict(arguments), "the arguments"), wait.schema)
    said = {"action": action, **({"message": mask(message)} if message else {})}
    return store.journal.post(record.id, "decision", wait.key, said, by=who, payload=payload)


def _payload(store: Store, record: RunRecord, value: Any, schema: Any = None) -> Payload:
    # Nothing here says that a text is a secret but the schema of what was asked for: pydantic's secrets have this format.
    secret = '"format": "password"' in json.dumps(schema, default=str)
    return store._session.codec.encode(
        value,
        bind=record.id,
        has_chunk=lambda digest: False,
        what="the value given",
        seal=secret,
        wrap=not secret,
    )


def _signal(
    store: Store, record: RunRecord, index: Index, name: str, value: Any, who: str, once: str
) -> InboxItem:
    schema = next(
        (w.schema for w in waits(index) if w.kind == "signal" and w.step and w.step.name == name), None
    )
    given = fit(schema, value, f"the signal {name}")
    key = f"signal:{name}:{once or new_id(store._session.clock.now())}"
    said = {"action": "signal", "name": name}
    return store.journal.post(
        record.id, "signal", key, said, by=who, payload=_payload(store, record, given, schema)
    )


# -- which wait ------------------------------------------------------------------------------------


def _in_doubt(store: Store, record: RunRecord, index: Index, key: str) -> RecordedStep:
    for wait in waits(index):
        if wait.kind == "doubt" and wait.key == key and wait.step is not None:
            return wait.step
    found = index.step(*store._session.place(index, key.split(":")[1] if ":" in key else key, record))
    assert found is not None
    if found.outcome is not None or found.wait is not None:
        what = found.status if found.outcome is not None else "waiting"
        raise DurableError(
            f"step {found.id} {found.name} is {what}, not in doubt",
            hint=f"%durable fork {record.id[:13]} --at {found.id} makes the call again in a new run",
        )
    return found


def _wait(store: Store, record: RunRecord, index: Index, key: str) -> Wait:
    """The wait of that key, or of the step of that id or (only) name."""
    there = list(waits(index)) if record.status not in FINAL else []
    steps = [(wait, wait.step) for wait in there if wait.step is not None]
    for found in (
        [wait for wait in there if wait.key == key],
        [wait for wait, step in steps if step.id == key],
        [wait for wait, step in steps if step.name == key],
    ):
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(wait.step.id for wait in found if wait.step is not None)
            raise DurableError(f"several steps {key!r} wait", hint=f"say which: {ids}")
    # Nothing waits there: was it decided, and by whom?
    for item in store.journal.inbox(record.id):
        if item.key == key:
            raise _already(key, item.by)
    try:
        step = index.step(*parse_step_id(key.split(":")[1] if ":" in key else key))
    except ValueError:
        step = None
    if step is not None:
        place = step.scope, step.pos
        made = [entry for entry in index.decisions.values() if (entry.scope, entry.pos) == place]
        if made and ":" not in key:
            raise _already(f"step {step.id} {step.name}", str(max(made, key=lambda e: e.seq).meta["by"]))
        state = "running" if step.outcome is None else step.status
        raise DurableError(
            f"step {step.id} {step.name} is {state}: it does not wait for that",
            hint=f"jupyter durable show {record.id[:13]} says what the run waits for",
        )
    raise DurableError(
        f"nothing in run {record.name!r} waits for {key!r}",
        hint=f"jupyter durable show {record.id[:13]} says what it waits for",
    )


def _already(what: str, by: str) -> AlreadyDecidedError:
    return AlreadyDecidedError(
        f"{what} was decided already, by {by}", decided_by=by, hint="the first decision stands"
    )


# -- values ----------------------------------------------------------------------------------------


def fit(schema: Mapping[str, Any] | None, value: Any, what: str) -> Any:
    """A value as JSON data. Raises `DurableError` if it is none, or does not fit the schema, and says why.

    >>> fit({"type": "integer"}, 3, "the answer")
    3
    """
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    try:
        given = to_jsonable_python(value)
    except PydanticSerializationError as error:
        raise DurableError(f"{what} cannot be sent: {error}", hint="give plain JSON data") from None
    said = complaints(schema, given) if schema is not None else []
    if said:
        raise DurableError(f"{what} does not fit: {'; '.join(said)}", hint=f"it must fit {brief(schema)}")
    return given


def complaints(schema: Mapping[str, Any] | None, value: Any) -> list[str]:
    """What is wrong with JSON data by its schema."""
    if schema is None:
        return []
    from jsonschema.validators import validator_for  # here: it takes a while

    said = []
    for problem in validator_for(schema)(schema).iter_errors(value):
        where = ".".join(map(str, problem.absolute_path))
        said.append(f"{where}: {problem.message}" if where else problem.message)
    return said


def brief(schema: Mapping[str, Any] | None) -> str:
    """A schema in a line."""
    import json

    text = json.dumps(schema)
    return text if len(text) <= 300 else f"{text[:299]}…"


def from_text(schema: Mapping[str, Any] | None, text: str) -> Any:
    """What somebody typed, as JSON or as plain text, whichever fits.

    >>> from_text({"type": "string"}, "42"), from_text({"type": "integer"}, "42"), from_text(None, "yes")
    ('42', 42, 'yes')
    """
    import json

    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if complaints(schema, value) and not complaints(schema, text) else value


# -- all of them -----------------------------------------------------------------------------------


def waiting(store: Store, record: RunRecord) -> list[WaitInfo]:
    """What a run waits for."""
    session = store._session
    if record.status in FINAL:
        return []
    index = session.index(record.id)
    render = session.renderer(record)
    rows = {item.key: item for item in store.journal.inbox(record.id)}
    sent = [r.value.get("name") for r in rows.values() if r.kind == "signal" and r.key not in index.decisions]
    now = session.clock.now()
    found = []
    for wait in waits(index, doubts=record.status == "waiting" or not session.alive(record)):
        step, row = wait.step, rows.get(wait.key)
        call = None
        if wait.kind in ("approval", "doubt") and step is not None and step.args is not None:
            call = render(step.args, step.seq, step.name)
        due = wait.until is not None and wait.until <= now
        found.append(
            WaitInfo(
                run=record.id,
                run_name=record.name,
                key=wait.key,
                kind=wait.kind,
                step=step.id if step is not None else None,
                name=step.name if step is not None else "",
                prompt=wait.prompt,
                what=describe(wait),
                actions=ACTIONS[wait.kind],
                since=wait.since,
                until=wait.until,
                schema=wait.schema,
                editable=wait.editable,
                call=call,
                decided_by=row.by if row is not None else None,
                ready=row is not None
                or due
                or (wait.kind == "signal" and step is not None and step.name in sent),
            )
        )
    return found


def all_waiting(store: Store) -> list[WaitInfo]:
    """What all runs of a store wait for, those left aside that a fork goes on with."""
    records = store.journal.runs()
    left = {record.forked_from for record in records if record.fork_kind == "edit"}
    return [
        wait
        for record in records
        if record.status in ("waiting", "running", "interrupted") and record.id not in left
        for wait in waiting(store, record)
    ]
