"""Arguments that a person may change: what the runtime needs to know of them, and whom it tells."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Protocol

from jupyter_durable.model import Entry


class Form(Protocol):
    """What may be changed about a call: its arguments, by name."""

    def schema(self) -> Mapping[str, Any] | None:
        """Their JSON schema; None: not known."""
        ...

    def bind(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], edit: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of the call with those of `edit` (JSON data) instead. Raises `ValueError`, which says why."""
        ...


EDITS: ContextVar[list[tuple[Mapping[str, Any], str]] | None] = ContextVar(
    "jupyter_durable_edits", default=None
)
"""A list that an instrument puts here for the time of a call says afterwards what a person changed about it, and who:
it may tell its agent."""


def edited_by(entry: Entry) -> str:
    """Who wanted other arguments: in an approval, or in a fork."""
    return str(entry.meta.get("ok") or entry.meta.get("by", ""))


def tell(edit: Mapping[str, Any], by: str) -> None:
    """A call is made (or was, when it was recorded) with arguments that a person wanted."""
    told = EDITS.get()
    if told is not None:
        told.append((dict(edit), by))
