"""`%durable approve | reject | answer | signal | waits`: what runs wait for, and what to say about it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from jupyter_durable.kernel import display, magics
from jupyter_durable.kernel.choosing import short
from jupyter_durable.model import RunRecord, WaitInfo
from jupyter_durable.session.deciding import from_text
from jupyter_durable.timeline.waits import ways

if TYPE_CHECKING:
    from jupyter_durable.kernel.host import KernelHost

USAGE = {
    "approve": "approve RUN STEP [--arguments JSON]",
    "reject": "reject RUN STEP [WHY]",
    "answer": "answer RUN STEP VALUE, where VALUE is JSON or text",
    "signal": "signal RUN NAME [VALUE], where VALUE is JSON or text",
}


def say(host: KernelHost, verb: str, rest: str) -> None:
    """Execute one of the verbs in `USAGE`."""
    parts = rest.split(None, 2)  # the value keeps its quotes and spaces
    if len(parts) < 2 or (verb == "answer" and len(parts) < 3):
        magics._wrong("something is missing", f"%durable {USAGE[verb]}")
    record, key, value = magics._run(host, parts[0]), parts[1], parts[2].strip() if len(parts) > 2 else ""
    store, by = host.store(), magics._person()
    there = store.waits(record.id)
    if verb == "approve":
        item = store.approve(record.id, key, arguments=_arguments(host, value), by=by)
    elif verb == "reject":
        item = store.reject(record.id, key, value.strip("\"'"), by=by)
    elif verb == "answer":
        item = store.answer(record.id, key, from_text(_schema(there, key), value), by=by)
    else:
        item = store.signal(record.id, key, from_text(_schema(there, key), value) if value else None, by=by)
    goes_on = (
        "goes on"
        if store.run(record.id).status == "running" or _alive(host, record)
        else "run its cell again"
    )
    done = {"approve": "approved", "reject": "rejected", "answer": "answered", "signal": "sent"}[verb]
    host.say(f"{record.name}: {key} is {done} by {item.by}; the run {goes_on}".replace("the run run", "run"))


def _alive(host: KernelHost, record: RunRecord) -> bool:
    return bool(host.store()._session.alive(record))


def _schema(waits: list[WaitInfo], key: str) -> Any:
    return next((wait.schema for wait in waits if key in (wait.key, wait.step, wait.name)), None)


def _arguments(host: KernelHost, text: str) -> dict[str, Any] | None:
    option, _, given = text.partition(" ")
    if not option:
        return None
    if option != "--arguments" or not given.strip():
        magics._wrong(f"what is {option}?", f"%durable {USAGE['approve']}")
    try:
        value = json.loads(given)
    except ValueError:
        value = host.shell.ev(given)  # as Python writes it
    if not isinstance(value, dict):
        magics._wrong("arguments are given by name", "--arguments {'name': value}")
    return value


def show(host: KernelHost, rest: str) -> None:
    """`%durable waits [RUN]`."""
    words = magics._words(rest, "waits [RUN]", least=0, most=1)
    store = host.store()
    waits = store.waits(magics._run(host, words[0]).id if words else None)
    rows = [(short(w.run), w.run_name, w.step or "", w.what, w.call or "", _state(w)) for w in waits]
    after = "\n".join(
        line for wait in waits if not wait.ready for line in ways(wait, "%durable", short(wait.run))
    )
    host.publish(
        display.table(
            ("RUN", "NAME", "STEP", "WAITS FOR", "CALL", ""),
            [tuple(display.one_line(text, 80) for text in row) for row in rows],
            before="" if rows else "nothing waits",
            after=after,
        )
    )


def _state(wait: WaitInfo) -> str:
    if wait.decided_by is not None:
        return f"decided by {wait.decided_by}"
    return "ready" if wait.ready else ""
