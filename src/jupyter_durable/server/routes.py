"""Every operation of the REST interface, once: the handlers, the OpenAPI document and the tests go through this list.

`does` is called in a thread, with what was checked before: path parameters by their pattern, the query and the
body by their types. What it raises becomes a fault (see `handlers`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from jupyter_durable.errors import DurableError
from jupyter_durable.model import RunStatus
from jupyter_durable.server import shapes
from jupyter_durable.server.backend import Backend, is_inside
from jupyter_durable.server.shapes import RUN_ID, STEP_ID, WHAT, Body

PREFIX = "jupyter-durable"
PARAMETERS = {"run": RUN_ID, "step": STEP_ID, "what": WHAT}
"""What may stand for `{run}` in a path, and so on: anything else is not found."""
_MOST = 200


class Query(Body):
    """Parameters after the `?`: text that becomes numbers where numbers are asked for."""

    model_config = ConfigDict(strict=False)


class RunsQuery(Query):
    """Which runs; `path` is a notebook's, as the file browser has it."""

    path: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    name: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    status: RunStatus | None = None
    before: Annotated[str, Field(pattern=f"^{RUN_ID}$")] | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = _MOST


class StepsQuery(Query):
    """Rows that changed after `mark` of `feed`; another feed, or none: all of them, beginning with the first."""

    feed: Annotated[str, Field(max_length=40)] = ""
    mark: Annotated[int, Field(ge=0, le=2**53)] = 0


class TextsQuery(Query):
    """Numbers of rows, with commas between."""

    n: Annotated[str, Field(pattern=r"^[0-9]{1,9}(,[0-9]{1,9}){0,199}$")]


class ValueQuery(Query):
    """From where on."""

    offset: Annotated[int, Field(ge=0, le=2**53)] = 0


class ExportQuery(Query):
    """As what: a report to look at, data by a published schema, or OpenTelemetry's spans."""

    format: Literal["html", "json", "otel"] = "html"


class NoQuery(Query):
    """None at all."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was let through. `by`: who makes it, for the journal."""

    backend: Backend
    path: dict[str, str]
    query: Any
    body: Any
    by: str

    @property
    def run(self) -> str:
        """The run's id."""
        return self.path["run"]


@dataclass(frozen=True, slots=True)
class Download:
    """A file, instead of JSON: to be saved, not to be looked at where cookies are."""

    name: str
    kind: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Operation:
    """One verb of one path. `answer` names one of `shapes.OUT`, or nothing for a file; `faults`: what may be wrong beside the usual."""

    method: str
    path: str
    name: str
    says: str
    does: Callable[[Call], Any]
    answer: str
    query: type[Query] = NoQuery
    body: type[Body] | None = None
    faults: tuple[int, ...] = ()


def _runs(call: Call) -> shapes.RunList:
    query: RunsQuery = call.query
    if query.path is not None and not is_inside(query.path):
        raise DurableError(
            "this is no path of the file browser", hint="give it relative to the server's root"
        )
    found = call.backend.items(
        path=query.path, name=query.name, status=query.status, before=query.before, limit=query.limit
    )
    made: shapes.RunList = {"runs": found}
    if len(found) == query.limit:
        made["next"] = found[-1]["id"]
    return made


def _steps(call: Call) -> Any:
    watch = call.backend.watch(call.run)
    since = call.query.mark if call.query.feed == watch.feed.id else 0
    return watch.pages(since)[0]


def _texts(call: Call) -> shapes.Rows:
    return {"rows": call.backend.watch(call.run).texts([int(n) for n in call.query.n.split(",")])}


def _value(call: Call) -> Any:
    return call.backend.watch(call.run).value(call.path["step"], call.path["what"], call.query.offset)


_GOES_ON = "If the run does not go on by itself, resume it."


def _recorded(call: Call) -> shapes.Recorded:
    return {"recorded": True, "by": call.by, "says": f"Recorded. {_GOES_ON}"}


def _decide(call: Call) -> shapes.Recorded:
    said: shapes.Decision = call.body
    call.backend.watch(call.run).decide(
        said.key, said.action, value=said.value, message=said.message, by=call.by
    )
    return _recorded(call)


def _signal(call: Call) -> shapes.Recorded:
    said: shapes.Signal = call.body
    call.backend.store.signal(call.run, said.name, said.value, by=call.by, once=said.once)
    return _recorded(call)


def _retry(call: Call) -> shapes.Recorded:
    call.backend.store.retry(call.run, call.path["step"], by=call.by)
    return _recorded(call)


def _supply(call: Call) -> shapes.Recorded:
    call.backend.store.supply(call.run, call.path["step"], call.body.value, by=call.by)
    return _recorded(call)


def _fail(call: Call) -> shapes.Recorded:
    call.backend.store.fail(call.run, call.path["step"], call.body.message, by=call.by)
    return _recorded(call)


def _cancel(call: Call) -> shapes.Recorded:
    call.backend.store.cancel(call.run, by=call.by)
    return {"recorded": True, "by": call.by, "says": "It ends at its next step."}


def _fork(call: Call) -> shapes.Forked:
    said: shapes.Fork = call.body
    given = {name: getattr(said, name) for name in said.model_fields_set - {"at"}}
    made = call.backend.fork(call.run, said.at, given, by=call.by)
    return {"run": made.id, "name": made.name, "replayed": made.replayed, "repeats": dict(made.repeats)}


def _delete(call: Call) -> shapes.Deleted:
    return {"deleted": True, "kept": call.backend.delete(call.run)}


_KINDS = {"html": "text/html", "json": "application/json", "otel": "application/json"}


def _export(call: Call) -> Download:
    kind = call.query.format
    call.backend.item(call.run)  # a whole id only
    made = call.backend.store.export(call.run, format=kind)
    name, data = next(iter(made.files.items()))
    return Download(name, _KINDS[kind], data)


def _status(call: Call) -> shapes.Status:
    from importlib.metadata import version

    return {"version": version("jupyter-durable"), "can": [operation.name for operation in OPERATIONS]}


_DECIDING = (404, 409, 422)

OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "status", "status", "That the extension is there, and what it can do.", _status, "Status"),
    Operation("GET", "runs", "runs", "Runs, newest first.", _runs, "RunList", RunsQuery, faults=(422,)),
    Operation(
        "GET", "runs/{run}", "run", "One run.", lambda call: call.backend.item(call.run), "RunItem", faults=(404,)
    ),
    Operation(
        "GET", "runs/{run}/steps", "steps", "A page of its timeline; `more`: ask again from its `mark` on.",
        _steps, "Page", StepsQuery, faults=(404,),
    ),
    Operation(
        "GET", "runs/{run}/texts", "texts", "Rows with what they say of their values.",
        _texts, "Rows", TextsQuery, faults=(404,),
    ),
    Operation(
        "GET", "runs/{run}/steps/{step}/values/{what}", "value",
        "A value of a step, or a part of it, to look at: nothing stored is imported, unpickled or called.",
        _value, "Detail", ValueQuery, faults=(404,),
    ),
    Operation(
        "POST", "runs/{run}/decisions", "decide", "Say something about what it waits for. The first decision stands.",
        _decide, "Recorded", body=shapes.Decision, faults=_DECIDING,
    ),
    Operation(
        "POST", "runs/{run}/signals", "signal", "Send it a value under a name.",
        _signal, "Recorded", body=shapes.Signal, faults=_DECIDING,
    ),
    Operation(
        "POST", "runs/{run}/cancel", "cancel", "End it for good.",
        _cancel, "Recorded", body=shapes.Nothing, faults=_DECIDING,
    ),
    Operation(
        "POST", "runs/{run}/fork", "fork", "Base another run on it, from a step on. It goes on when its cell is run.",
        _fork, "Forked", body=shapes.Fork, faults=_DECIDING,
    ),
    Operation(
        "GET", "runs/{run}/export", "export", "The run as a file, secrets masked.",
        _export, "", ExportQuery, faults=(404, 422),
    ),
    Operation("DELETE", "runs/{run}", "delete", "Delete it for good.", _delete, "Deleted", faults=_DECIDING),
    Operation(
        "POST", "runs/{run}/steps/{step}/retry", "retry", "A step in doubt did not happen: make the call.",
        _retry, "Recorded", body=shapes.Nothing, faults=_DECIDING,
    ),
    Operation(
        "POST", "runs/{run}/steps/{step}/supply", "supply", "A step in doubt happened, and this is its result.",
        _supply, "Recorded", body=shapes.Supply, faults=_DECIDING,
    ),
    Operation(
        "POST", "runs/{run}/steps/{step}/fail", "fail", "A step in doubt failed.",
        _fail, "Recorded", body=shapes.Fail, faults=_DECIDING,
    ),
)  # fmt: skip
