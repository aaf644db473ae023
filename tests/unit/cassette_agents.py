"""An agent to be replayed from a cassette, and how one is recorded."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs import Bench

import jupyter_durable as durable
from jupyter_durable.export import export
from jupyter_durable.testing import CassetteMismatch, replay_cassette

calls: list[str] = []

SECRET = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCD"


@dataclasses.dataclass
class Page:
    """A result of a class of the user's."""

    url: str
    words: list[str]


class Frozen:
    """What only pickle can keep."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __reduce__(self) -> Any:
        return Frozen, (self.value,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frozen) and other.value == self.value

    __hash__ = None  # type: ignore[assignment]


@durable.tool
async def fetch(url: str) -> Page:
    """A tool that must not be called in a replay."""
    calls.append(url)
    return Page(url, url.split("/"))


@durable.tool
def shorten(text: str, by: int = 2) -> str:
    """The same, sync."""
    calls.append(text)
    return text[:-by]


async def agent(sites: tuple[str, ...] = ("a", "b"), by: int = 2) -> list[str]:
    """The agent as it was recorded."""
    pages = await asyncio.gather(*(fetch(f"https://{site}.example/x") for site in sites))
    return [await asyncio.to_thread(shorten, page.url, by) for page in pages]


def _recorded(folder: Path, fn: Callable[[], Any], left: list[str] | None = None, **how: Any) -> Path:
    bench = Bench()
    try:
        bench.new(fn)
    except ValueError:
        assert how.get("fails")
    made = export(bench.facade, "run", "pytest", folder=folder)
    if left is not None:
        left += made.left_out
    calls.clear()
    return made.write(folder / "tests")[1]


def _refused(cassette: Path, *given: Any, **how: Any) -> str:
    with pytest.raises(CassetteMismatch) as caught:
        replay_cassette(cassette, *given, **how)
    text = str(caught.value)
    assert "jupyter durable export" in text
    return text
