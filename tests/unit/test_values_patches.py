"""Clocks, ids and random bytes of real processes, replayed in fresh ones, on every Python that is here."""

from __future__ import annotations

import datetime
import json
import os
import random
import shutil
import subprocess
import sys
import time
import types
import uuid
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

import jupyter_durable
from jupyter_durable.runtime.values import Patches, Values

AGENT = Path(__file__).with_name("values_agent.py")
SOURCE = str(Path(jupyter_durable.__file__).parent.parent)


def interpreters() -> Iterator[str]:
    """This Python, and one of each other supported version that pyenv or the search path has."""
    yield sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser() / "versions"
    for version in ("3.11", "3.12", "3.13", "3.14"):
        here = [*map(str, sorted(pyenv.glob(f"{version}.*/bin/python"))), shutil.which(f"python{version}")]
        if not sys.version.startswith(version) and (found := next(filter(None, here), None)):
            probe = subprocess.run(
                [found, "-c", "import sys; print(sys.version)"], capture_output=True, text=True
            )
            if probe.returncode == 0 and probe.stdout.startswith(version):
                yield found


def run(python: str, recorded: Any, **environment: str) -> Any:
    """One fresh process of the agent."""
    done = subprocess.run(
        [python, "-W", "ignore", str(AGENT)],
        input=json.dumps(recorded),
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": SOURCE, **environment},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("python", list(interpreters()), ids=lambda path: path.split("/")[-3])
def test_a_fresh_process_reads_what_the_first_one_read(python: str) -> None:
    """Every reading of the notebook's code comes back, typed and exact; without a record all would differ."""
    first = run(python, {}, TZ="Europe/Berlin")
    again = run(python, first["values"], TZ="America/New_York")
    other = run(python, {})

    assert again["got"] == first["got"]
    assert again["values"] == {}
    constant = sum(a == b for a, b in zip(first["got"], other["got"], strict=True))
    assert constant <= 8, "readings that are equal anyway prove nothing"
    for result in (first, again):
        assert result["left"] == [], "patches must leave nothing behind"
        assert {"time.time", "datetime.now", "date.today", "os.urandom", "uuid1"} <= set(result["during"])
        assert result["told"] == []
        assert result["ok"] == [True, True, True]
    # A library's clock stays live, its ids are the run's; the kernel's own are neither.
    assert again["library"] > first["library"]
    assert any(source.endswith("@library") for source in first["values"])
    assert not any("zmq" in source for source in first["values"])


CURRENT: ContextVar[Values | None] = ContextVar("CURRENT", default=None)
NOTEBOOK = types.ModuleType("notebook")
exec("import datetime, time, uuid", vars(NOTEBOOK))


@pytest.fixture
def patches() -> Iterator[Patches]:
    """Installed patches; `NOTEBOOK` is the user's code."""
    made = Patches(CURRENT.get, lambda names: names is vars(NOTEBOOK))
    made.install()
    yield made
    while made.installed:
        made.remove()


def cell(source: str, values: Values) -> Any:
    """Evaluate the user's expression in a durable scope."""
    token = CURRENT.set(values)
    try:
        return eval(source, vars(NOTEBOOK))
    finally:
        CURRENT.reset(token)


def test_outside_a_durable_scope_nothing_is_recorded_or_replayed(patches: Patches) -> None:
    """The same code in another cell of the kernel reads the real clock while a run is live."""
    values = Values({"time.time": [1.0]})
    assert eval("time.time()", vars(NOTEBOOK)) > 1e9
    assert cell("time.time()", values) == 1.0


def test_installs_are_counted(patches: Patches) -> None:
    """Two live runs: the end of the first changes nothing for the second."""
    patches.install()
    patches.remove()
    assert cell("time.time()", Values({"time.time": [1.0]})) == 1.0
    patches.remove()
    assert not isinstance(vars(datetime.datetime)["now"], classmethod)
    assert cell("time.time()", Values({"time.time": [1.0]})) > 1e9


def test_each_run_swaps_the_names_of_its_own_modules(patches: Patches) -> None:
    """A second run, of another module, finds `from time import time` there too; all get the original back."""
    patches.remove()
    script = types.ModuleType("script")
    exec("from time import time\nfrom datetime import datetime\nnow = datetime.now", vars(script))
    patches.install()
    before = dict(vars(script))
    sys.modules["script"] = script
    try:
        patches.install(lambda names: names is vars(script))
        assert vars(script)["time"] is time.time is not before["time"]
        exec("from time import monotonic as late", vars(script))
        patches.remove()
        patches.remove()
        assert all(vars(script)[name] is value for name, value in before.items())
        assert vars(script)["late"] is time.monotonic
    finally:
        del sys.modules["script"]


def test_a_steady_clock_goes_on_from_its_last_recorded_reading(patches: Patches) -> None:
    """A fresh machine's clock starts anew; the run's never goes back."""
    ahead = time.monotonic() + 1e6
    values = Values({"time.monotonic": [ahead]})
    assert cell("time.monotonic()", values) == ahead
    later = cell("time.monotonic()", values)
    assert ahead <= later < ahead + 60
    assert time.monotonic() < ahead, "the library's clock is the machine's"


def test_a_thread_without_a_scope_and_libraries_read_the_real_thing(patches: Patches) -> None:
    """Recording is for the notebook's frames: this module's are a library's to it."""
    values = Values({"time.time": [1.0], "datetime.now": ["2001-01-01T00:00:00"]})
    token = CURRENT.set(values)
    try:
        assert time.time() > 1e9
        assert datetime.datetime.now().year > 2001
    finally:
        CURRENT.reset(token)
    assert values.drain() == {}


def test_user_frames_are_seen_through_pydantic(patches: Patches) -> None:
    """A field's default factory is the user's code although pydantic calls it."""
    pydantic = pytest.importorskip("pydantic")
    NOTEBOOK.__dict__["BaseModel"], NOTEBOOK.__dict__["Field"] = pydantic.BaseModel, pydantic.Field
    exec(
        "class Note(BaseModel):\n"
        "    at: float = Field(default_factory=time.time)\n"
        "    on: datetime.datetime = Field(default_factory=datetime.datetime.now)\n"
        "    id: uuid.UUID = Field(default_factory=uuid.uuid4)\n",
        vars(NOTEBOOK),
    )
    values = Values()
    note = cell("Note()", values)
    assert cell("Note()", Values(values.drain())) == note
    assert cell("Note()", Values()) != note


def test_somebody_elses_patch_survives_ours(patches: Patches, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock frozen by the user during the run is left as it is when the run ends."""
    frozen = lambda: 0.0  # noqa: E731
    monkeypatch.setattr(time, "time", frozen)
    patches.remove()
    assert time.time is frozen
    monkeypatch.undo()


def test_stand_ins_look_like_what_they_stand_for(patches: Patches) -> None:
    """As a class attribute it does not bind, and it has the original's name."""
    holder = type("Holder", (), {"now": time.time})
    assert abs(holder().now() - time.time()) < 5
    assert (time.time.__name__, time.time.__module__, repr(time.time)) == (
        "time",
        "time",
        "<built-in function time>",
    )


def test_a_uuid_function_that_keeps_state_is_recorded_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """uuid7 (Python 3.14) makes later ids from earlier ones: replayed ones come from the record, in any process."""
    source = "def uuid7():\n    return uuid4()"
    space = vars(uuid) if not hasattr(uuid, "uuid7") else {}
    if space:
        exec(source, space)
    try:
        imported_before = uuid.uuid7  # type: ignore[attr-defined]
        patches = Patches(CURRENT.get, lambda names: names is vars(NOTEBOOK))
        patches.install()
        NOTEBOOK.__dict__["uuid7"] = imported_before
        values = Values()
        made = cell("uuid7()", values)
        recorded = values.drain()
        assert list(recorded) == ["uuid.uuid7"]
        assert cell("uuid7()", Values(recorded)) == made
        patches.remove()
        assert cell("uuid7()", Values(recorded)) != made
    finally:
        if space:
            del space["uuid7"]


def test_a_seed_from_the_system_is_recorded_and_one_given_is_not(patches: Patches) -> None:
    """`Random()` replays, `Random(1)` needs nothing."""
    NOTEBOOK.__dict__["random"] = random
    values = Values()
    drawn = cell("random.Random().random()", values)
    assert cell("random.Random(1).random()", values) == random.Random(1).random()
    recorded = values.drain()
    assert list(recorded) == ["random.seed"]
    assert cell("random.Random().random()", Values(recorded)) == drawn


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="degrades by design elsewhere")
def test_a_python_that_forbids_it_degrades_with_one_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a C type cannot be changed, datetime stays live, the user is told once, the rest works."""
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    told: list[str] = []
    patches = Patches(CURRENT.get, lambda names: names is vars(NOTEBOOK), told.append)
    for _ in range(2):
        patches.install()
        assert cell("time.time()", Values({"time.time": [1.0]})) == 1.0
        assert cell("datetime.datetime.now()", Values({"datetime.now": ["2001-01-01"]})).year > 2001
        patches.remove()
    assert len(told) == 1
    assert "datetime.now" in told[0]
    assert "durable.now()" in told[0]
