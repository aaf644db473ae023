"""The kit for testing your own agents: the one this project tests itself with.

    prove(agent, schedules=50)     shuffled timings and crashes at every kind of moment; the result must not change
    crash_at("after-call", nth=3)  one crash, where you want it
    replay_cassette(file, ...)     a recorded run as a regression test of the agent; see `jupyter durable export`
    offline()                      a block without a network
    MemoryStore(), ManualClock()   a store without files, a clock that moves when you say so
    check_instrument(mine, calls)  the contract of an instrument (`jupyter_durable.testing.instruments` shows how to write one)
    FakeProvider(script)           a model server on loopback that says what you tell it to, in every wire format
    reply, call, fault, cut, ...   what a script is made of (`jupyter_durable.testing.provider` has the tour)

A simulated crash ends the run in this process as a power cut would: whatever is not in the store is
gone, nothing more gets into it, and no handler of yours gets to journal anything. (To kill a whole process instead,
set the environment variable `JUPYTER_DURABLE_CRASH_AT="after-call:3"`.)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jupyter_durable.runtime.kill_points import KILL_POINTS
    from jupyter_durable.store.memory import MemoryStore
    from jupyter_durable.testing.cassettes import CassetteMismatch, Replayed, replay_cassette
    from jupyter_durable.testing.instruments import BrokenInstrument, check_instrument
    from jupyter_durable.testing.network import offline
    from jupyter_durable.testing.provider import (
        FakeProvider,
        ProviderProcess,
        call,
        cut,
        drop,
        echo,
        fault,
        in_order,
        reply,
        slow,
        turns,
        usage,
    )
    from jupyter_durable.testing.proving import (
        Crash,
        ManualClock,
        NotProven,
        Proof,
        crash_at,
        execute,
        prove,
    )

__all__ = [
    "KILL_POINTS",
    "BrokenInstrument",
    "CassetteMismatch",
    "Crash",
    "FakeProvider",
    "ManualClock",
    "MemoryStore",
    "NotProven",
    "Proof",
    "ProviderProcess",
    "Replayed",
    "call",
    "check_instrument",
    "crash_at",
    "cut",
    "drop",
    "echo",
    "execute",
    "fault",
    "in_order",
    "offline",
    "prove",
    "replay_cassette",
    "reply",
    "slow",
    "turns",
    "usage",
]

# Looked up on first use: the server needs none of the engine, and the engine no HTTP server.
_PROVING = ("Crash", "ManualClock", "NotProven", "Proof", "crash_at", "execute", "prove")
_HOMES = {
    "KILL_POINTS": "jupyter_durable.runtime.kill_points",
    "MemoryStore": "jupyter_durable.store.memory",
    **dict.fromkeys(("CassetteMismatch", "Replayed", "replay_cassette"), "jupyter_durable.testing.cassettes"),
    "offline": "jupyter_durable.testing.network",
    **dict.fromkeys(("BrokenInstrument", "check_instrument"), "jupyter_durable.testing.instruments"),
    **dict.fromkeys(_PROVING, "jupyter_durable.testing.proving"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES.get(name, "jupyter_durable.testing.provider")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
