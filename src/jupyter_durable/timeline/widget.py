"""The live timeline: an anywidget whose rows come from the store, whichever process advances the run.

A thread reads what is new and sends it in pages; front ends ask for values, and say what a person has decided. A
cell that runs keeps the kernel from answering some of them (which, depends on the version of ipykernel), but
never from showing what happens.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Protocol

import anywidget
import traitlets

from jupyter_durable.codec.redaction import mask
from jupyter_durable.timeline.bundle import STATES, bundle, summary
from jupyter_durable.timeline.rows import Detail, Page, Row

SNAPSHOT = 300
"""Rows of what a saved notebook has."""

_PAUSE, _IDLE = 0.1, 1.0  # seconds between looks at the store: while a process advances the run, and else
_APART = 0.05  # seconds between two messages: front ends drop more than 1,000 a second
_RENEW = 5.0  # seconds after which a late view is given a newer snapshot


class Watched(Protocol):
    """What the widget shows: `session.watching.Watch`."""

    @property
    def live(self) -> bool:
        """Whether a process advances the run."""
        ...

    def read(self) -> bool:
        """Take up what is new; whether anything is."""
        ...

    def pages(self, since: int = 0) -> list[Page]:
        """What changed after that mark."""
        ...

    def excerpt(self, most: int) -> Page:
        """One page of so many rows."""
        ...

    def texts(self, numbers: list[int]) -> list[Row]:
        """Rows with their texts."""
        ...

    def value(self, step_id: str, what: str, offset: int = 0) -> Detail:
        """A value of a step."""
        ...

    def decide(
        self,
        key: str,
        action: str,
        *,
        step: str | None = None,
        value: Any = None,
        message: str = "",
        by: str = "",
    ) -> None:
        """What a person has decided."""
        ...

    def cancel(self, *, by: str = "") -> None:
        """End the run."""
        ...


class Timeline(anywidget.AnyWidget):  # type: ignore[misc]  # it has no types
    """A run's timeline as a widget: a `DOMWidget`, with layout, `observe` and `link` as any other.

    run: its id. status: as the store has it, kept current. snapshot: the last rows, current to a few seconds
    while the run goes on and exactly when it stops; a saved notebook shows them. `by` names the person who decides.
    """

    _esm = Path(__file__).with_name("timeline.js")

    run = traitlets.Unicode("").tag(sync=True)
    status = traitlets.Unicode("").tag(sync=True)
    snapshot = traitlets.Dict().tag(sync=True)

    def __init__(self, watched: Watched, *, by: str = "", **how: Any) -> None:
        self._watched = watched
        self._by = by
        self._stop = threading.Event()
        watched.read()
        page = watched.excerpt(SNAPSHOT)
        self._since = page["mark"]  # a view that needs what came before asks for it
        super().__init__(run=page["run"]["id"], status=page["run"]["status"], snapshot=page, **how)
        self.on_msg(self._asked)
        self._thread = threading.Thread(
            target=_follow, args=(weakref.ref(self), self._stop), daemon=True, name="jupyter-durable-timeline"
        )
        self._thread.start()

    def close(self) -> None:
        """Stop following and take the widget away."""
        self._stop.set()
        super().close()

    def stop(self) -> None:
        """Stop following; what is shown stays."""
        self._stop.set()

    # -- what is new -----------------------------------------------------------------------------

    def _tell(self) -> None:
        for page in self._watched.pages(self._since):
            self.send({"type": "page", "page": page})
            self._since = page["mark"]
            if page.get("more") and self._stop.wait(_APART):
                return

    def _renew(self) -> None:
        page = self._watched.excerpt(SNAPSHOT)
        self.status = page["run"]["status"]
        self.snapshot = page

    # -- what is asked ---------------------------------------------------------------------------

    def _asked(self, _: Any, content: Any, buffers: Any) -> None:
        """A message of a view. It comes from a browser: everything in it is checked."""
        if not isinstance(content, dict):
            return
        kind, number = content.get("type"), content.get("id")
        action = self._ANSWERS.get(kind) if isinstance(kind, str) else None
        if action is None:
            return
        answer: dict[str, Any] = {"type": "reply", "id": number}
        try:
            answer["value"] = action(self, content)
        except Exception as error:  # noqa: BLE001 - it is the view that must be told
            message, _, hint = mask(str(error)).partition("\n  hint: ")
            answer["error"] = f"{message} ({hint})" if hint else message
        self.send(answer)

    def _answer_since(self, asked: dict[str, Any]) -> None:
        page = self._watched.excerpt(0)
        since = int(asked.get("mark") or 0) if asked.get("feed") == page["feed"] else 0
        for page in self._watched.pages(since):
            self.send({"type": "page", "page": page})

    def _answer_texts(self, asked: dict[str, Any]) -> dict[str, Any]:
        numbers = [int(n) for n in list(asked.get("ns") or ())[:200]]
        return {"rows": self._watched.texts(numbers)}

    def _answer_value(self, asked: dict[str, Any]) -> Detail:
        return self._watched.value(
            str(asked.get("step")), str(asked.get("what")), int(asked.get("offset") or 0)
        )

    def _answer_decide(self, asked: dict[str, Any]) -> dict[str, Any]:
        step = asked.get("step")
        self._watched.decide(
            str(asked.get("key")),
            str(asked.get("action")),
            step=str(step) if step is not None else None,
            value=asked.get("value"),
            message=str(asked.get("message") or ""),
            by=self._by,
        )
        return {"says": "Recorded. If the run does not go on by itself, run its cell again."}

    def _answer_cancel(self, asked: dict[str, Any]) -> None:
        self._watched.cancel(by=self._by)

    _ANSWERS: ClassVar[dict[str, Callable[..., Any]]] = {
        "since": _answer_since,
        "texts": _answer_texts,
        "value": _answer_value,
        "decide": _answer_decide,
        "cancel": _answer_cancel,
    }

    # -- elsewhere -------------------------------------------------------------------------------

    def _repr_mimebundle_(self, **how: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        made = super()._repr_mimebundle_(**how)
        if made is None:
            return None
        data, metadata = made if isinstance(made, tuple) else (made, {})
        page = self._watched.excerpt(60)
        run = page["run"]
        icon, word = STATES[run["status"]]
        plain = bundle(page, f"{icon} {run['name']} {word}: {summary(run)}")
        return {**data, "text/html": plain["text/html"], "text/plain": plain["text/plain"]}, metadata


def _follow(ref: weakref.ref[Timeline], stop: threading.Event) -> None:
    """Until `stop`, or nobody holds the widget any more."""
    turns = 0.0
    stale = False
    while not stop.is_set():
        widget = ref()
        if widget is None:
            return
        pause = _IDLE
        # A store that cannot be read for a moment, or a kernel that shuts down, must not end in a traceback.
        with contextlib.suppress(Exception):
            watched = widget._watched
            if watched.read():
                stale = True
                widget._tell()
            live = watched.live
            pause = _PAUSE if live else _IDLE
            turns += pause
            if stale and (not live or turns >= _RENEW):
                widget._renew()
                stale, turns = False, 0.0
        del widget
        stop.wait(pause)
