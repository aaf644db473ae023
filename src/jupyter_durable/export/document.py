"""`json`: a run as data, by a schema that is published with it.

`schema()` (`jupyter durable export --schema`) is the schema; `Document.model_validate_json(text)` reads a document
back, and what it then dumps is the same again. Times are POSIX seconds, durations seconds, money USD.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from jupyter_durable.export import Exported, slug
from jupyter_durable.export.reading import Reading, made_by
from jupyter_durable.journal import spend
from jupyter_durable.model import Effect, RunStatus, StepKind, StepStatus
from jupyter_durable.timeline.rows import Row

if TYPE_CHECKING:
    from jupyter_durable.session.reading import Store

MOST = 1_000_000
"""Characters of one value; of a larger one the beginning is kept, as text."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Value(_Model):
    """A value as JSON data, secrets as •••. `cut`: it was too large, and `data` is the beginning of its JSON text."""

    data: Any
    cut: bool = False


class Error(_Model):
    """An exception: its class, its message, its traceback as text."""

    type: str
    message: str = ""
    traceback: str = ""


class Attempt(_Model):
    """An attempt that failed and was followed by another one."""

    at: float
    error: str


class Message(_Model):
    """One message of a model call's conversation."""

    role: str
    text: str


class Usage(_Model):
    """What a model call used: tokens (`input` holds `cached`, `output` holds `reasoning`; None: not told)."""

    provider: str | None = None
    model: str | None = None
    input: int | None = None
    output: int | None = None
    cached: int | None = None
    reasoning: int | None = None
    finish: str | None = None


class Log(_Model):
    """A line of `durable.log`."""

    at: float
    text: str


class Step(_Model):
    """One journaled call.

    `parent`: the step inside whose attempt it was made. `old`: left behind by a retry, an edit or a fork. `taken`:
    made by the run this one was forked from. `arguments` is `[args, kwargs]`. `seconds`: what its last attempt took.
    """

    id: str
    scope: int
    parent: str | None = None
    kind: StepKind
    name: str
    status: StepStatus
    effect: Effect = "retryable"
    started_at: float
    ended_at: float | None = None
    seconds: float | None = None
    attempts: int = 1
    failed_attempts: list[Attempt] = Field(default_factory=list)
    replays: int = 0
    old: bool = False
    taken: bool = False
    arguments: Value | None = None
    result: Value | None = None
    error: Error | None = None
    messages: list[Message] = Field(default_factory=list)
    usage: Usage | None = None
    cost: float | None = None
    saved: float = 0.0
    output: str = ""
    log: list[Log] = Field(default_factory=list)


class Scope(_Model):
    """One sequential strand: the cell (depth 0), a task or thread, or the inside of an attempt of `step`."""

    id: int
    parent: int
    name: str
    depth: int
    step: str | None = None


class Run(_Model):
    """The run. `sessions`: from when to when processes advanced it. `cost` is its own, not that of its parent run."""

    id: str
    name: str
    status: RunStatus
    notebook: str | None = None
    cell_id: str | None = None
    created_at: float
    updated_at: float
    sessions: list[tuple[float, float | None]] = Field(default_factory=list)
    parent_run: str | None = None
    forked_from: str | None = None
    forked_at: int | None = None
    cost: float = 0.0
    saved: float = 0.0
    model_calls: int = 0
    unpriced: int = 0
    error: str | None = None


class Document(_Model):
    """A run, whole. `left_out` says in words what is not in it."""

    format: Literal["jupyter-durable.run"] = "jupyter-durable.run"
    version: Literal[1] = 1
    made_by: str
    run: Run
    scopes: list[Scope]
    steps: list[Step]
    left_out: list[str] = Field(default_factory=list)


def schema() -> dict[str, Any]:
    """The JSON schema of a document.

    >>> schema()["properties"]["version"]["const"]
    1
    """
    found = Document.model_json_schema(mode="serialization")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:jupyter-durable:run:1",
        **found,
    }


def export(store: Store, run_id: str) -> Exported:
    """See `jupyter_durable.export.export`."""
    made = document(store, run_id)
    # Not pydantic's JSON, which refuses strings that are no Unicode.
    data = json.dumps(made.model_dump(), indent=1, ensure_ascii=False).encode("utf-8", "replace")
    return Exported("json", made.run.id, {f"{slug(made.run.name)}.json": data}, tuple(made.left_out))


def document(store: Store, run_id: str) -> Document:
    """The run as a document. Raises `RunNotFoundError`."""
    found = Reading(store, run_id)
    head, record = found.head, found.record
    run = Run(
        id=head["id"],
        name=head["name"],
        status=head["status"],
        notebook=head.get("notebook"),
        cell_id=record.cell_id,
        created_at=head["created"],
        updated_at=head["updated"],
        sessions=head["sessions"],
        parent_run=record.parent_id,
        forked_from=record.forked_from,
        forked_at=record.base_seq if record.forked_from is not None else None,
        cost=head["cost"],
        saved=head["saved"],
        model_calls=head["calls"],
        unpriced=head["unpriced"],
        error=head.get("error"),
    )
    left: list[str] = []
    steps = [_step(found, row, left) for row in found.rows]
    scopes = [
        Scope(
            id=lane["id"],
            parent=lane["parent"],
            name=lane["name"],
            depth=lane["depth"],
            step=lane.get("step"),
        )
        for lane in found.lanes
    ]
    return Document(made_by=made_by(), run=run, scopes=scopes, steps=steps, left_out=left)


def _step(found: Reading, row: Row, left: list[str]) -> Step:
    step = found.step(row)
    error = found.error(row)
    used = spend.used(step)
    output = found.watch.value(row["id"], "output").get("text", "") if row.get("output") else ""
    completed = row["status"] == "completed"
    return Step(
        id=row["id"],
        scope=row["lane"],
        parent=found.parent(row),
        kind=step.kind,
        name=row["name"],
        status=row["status"],
        effect=step.effect,
        started_at=row["at"],
        ended_at=row.get("end"),
        seconds=row.get("took"),
        attempts=row.get("attempts", 1),
        failed_attempts=[Attempt(at=at, error=said) for at, said in found.attempts.get(row["id"], ())],
        replays=row.get("replays", 0),
        old=row.get("old", False),
        taken=row.get("taken", False),
        arguments=_value(found.arguments(row), f"arguments of step {row['id']}", left) if step.args else None,
        result=_value(found.result(row), f"result of step {row['id']}", left) if completed else None,
        error=Error(type=error[0], message=error[1], traceback=error[2]) if error else None,
        messages=[Message(role=role, text=text) for role, text in found.messages(row)],
        usage=Usage(**{name: used.get(name) for name in Usage.model_fields}) if used else None,
        cost=row.get("cost"),
        saved=row.get("saved", 0.0),
        output=output,
        log=[Log(at=at, text=text) for at, text in found.log(row)],
    )


def _value(data: Any, what: str, left: list[str]) -> Value:
    text = json.dumps(data, ensure_ascii=False)
    if len(text) <= MOST:
        return Value(data=data)
    left.append(f"{what}: the first {MOST:,} of {len(text):,} characters are kept")
    return Value(data=text[:MOST], cut=True)
