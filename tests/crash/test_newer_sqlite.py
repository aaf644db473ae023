"""The store over a SQLite that needs no lock around its write-ahead log (3.51.3 and later).

Most systems' Python has an older one, and then the path without the lock is never taken. The package
`pysqlite3` brings a newer one; these tests run others again with it, in processes of their own.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jupyter_durable.store.sqlite import SAFE_SQLITE

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LOCKLESS = """
import sys
import sqlite3
from jupyter_durable.store import connect

store = connect(sys.argv[1])
print(sqlite3.__name__, sqlite3.sqlite_version, store._writer._lock)
"""

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pysqlite3") is None,
    reason="a newer SQLite: pip install --only-binary :all: pysqlite3",
)


def python(*arguments: str, folder: Path) -> str:
    """What a Python says whose `sqlite3` is pysqlite3, in its children too."""
    path = os.pathsep.join(filter(None, (str(HERE / "newer_sqlite"), os.environ.get("PYTHONPATH", ""))))
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_takes_no_lock(tmp_path: Path) -> None:
    """What the other tests here are about is what happens: another module, new enough, and nothing around a write."""
    name, version, lock = python("-c", LOCKLESS, str(tmp_path / "j.db"), folder=tmp_path).split()
    assert name == "pysqlite3"
    assert tuple(map(int, version.split("."))) >= SAFE_SQLITE
    assert lock == "None"


@pytest.mark.slow
@pytest.mark.parametrize(
    "tests",
    [
        ("contract", *(f"unit/test_store_{name}.py" for name in ("opening", "sqlite", "integrity"))),
        ("crash/test_store_processes.py", "crash/test_store_power_loss.py", "crash/test_kill_process.py"),
    ],
    ids=["contract", "processes"],
)
def test_the_store_keeps_its_contract(tests: tuple[str, ...]) -> None:
    """The same tests pass: the contract, and processes that are raced, paused, killed, out of disk and out of power."""
    said = python(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow"),
        *(str(ROOT / "tests" / name) for name in tests),
        folder=ROOT,
    )
    assert " passed" in said
    assert "failed" not in said


def test_it_may_be_installed_and_not_stand_in(tmp_path: Path) -> None:
    """sqlite-utils prefers pysqlite3 where it is installed; the store's own connections are still the standard ones."""
    done = subprocess.run(
        [sys.executable, "-c", LOCKLESS, str(tmp_path / "j.db")], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("sqlite3 ")
