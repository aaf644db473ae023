"""The code behind the golden journals. Never edit what a released journal was made with: add to it.

`python tests/golden/golden_agents.py NAME` makes `NAME.gz` anew, for a release that adds one.
"""

from __future__ import annotations

import asyncio
import datetime
import gzip
import sys
import tempfile
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import jupyter_durable as durable
from jupyter_durable.codec.secret import StoreKey
from jupyter_durable.session import Session
from jupyter_durable.store.sqlite import SqliteStore
from jupyter_durable.testing import Crash, crash_at, execute

KEY = StoreKey(bytes(range(32)))
CALLS: list[str] = []


@dataclass
class Hit:
    """A typed result."""

    title: str
    price: Decimal
    when: datetime.datetime


@durable.tool
async def fetch(name: str) -> Hit:
    """An async call with a typed result."""
    CALLS.append(f"fetch {name}")
    return Hit(name, Decimal("1.50"), datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC))


@durable.tool
def extend(messages: list[str]) -> int:
    """Changes its argument in place."""
    CALLS.append(f"extend {len(messages)}")
    messages.append("answer")
    return len(messages)


@durable.tool
async def fail(n: int) -> None:
    """Raises."""
    CALLS.append(f"fail {n}")
    raise LookupError("gone", n)


async def branch(name: str) -> tuple[str, str]:
    """A strand with an error that it catches."""
    hit = await fetch(name)
    try:
        await fail(len(name))
    except LookupError as error:
        return hit.title, str(error)
    return hit.title, ""


async def agent() -> tuple[object, ...]:
    """Strands, typed values, an error, a changed argument, an id."""
    messages = ["question"]
    first = await fetch("first")
    rest = await asyncio.gather(*(branch(name) for name in ("a", "bb", "bb")))
    length = extend(messages)
    return first, rest, length, messages, durable.uuid4()


def make(path: Path) -> None:
    """One run that completed, one that was cut off after six steps."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "journal.db"
        store = SqliteStore(file, key=KEY)
        session = Session(store)
        execute(session, session.new("complete"), agent)
        with crash_at("after-outcome", 6):
            try:
                execute(session, session.new("cut off"), agent)
            except Crash:
                store.release(store.acquire(store.runs(name="cut off")[0].id, session.owner, 1.0))
        store.close()
        path.write_bytes(gzip.compress(file.read_bytes(), mtime=0))


if __name__ == "__main__":
    import golden_agents as agents  # under the name that the tests import it by: types are stored by their module

    agents.make(Path(__file__).with_name(f"{sys.argv[1]}.gz"))
