"""What a process did to its files, recorded with strace, and what a disk may hold of it after power loss.

A write lasts once its file is synced, a name (created, renamed, removed) once its directory is.
What was not synced yet may be there or not, each write on its own, even half of one.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

CHILD = Path(__file__).with_name("store_child.py")
_CALLS = "pwrite64,write,ftruncate,fsync,fdatasync,unlink,unlinkat,rename,renameat,renameat2"
_LINE = re.compile(r"^\d+ +(\w+)\((.*)\) += (-?\d+)")
_FD = re.compile(r"^(\d+)<((?:\\x[0-9a-f]{2})*)>(?:\(deleted\))?")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_SECTOR = 512


@dataclass(frozen=True)
class Call:
    """One system call: `what` is write, sync, truncate, unlink, rename or say (a line on stdout)."""

    what: str
    path: str
    data: bytes = b""
    offset: int = 0
    to: str = ""


def record(*command: object, environment: dict[str, str]) -> list[Call]:
    """The calls of one run of `store_child.py`. Skips the test where nobody may trace."""
    if (strace := shutil.which("strace")) is None:
        pytest.skip("needs strace: apt-get install strace")
    trace = Path(str(command[1])).with_suffix(".strace")
    options = [
        "-f",
        "-qq",
        "-y",
        "-xx",
        "-s",
        "70000",
        "-e",
        f"trace={_CALLS}",
        "-e",
        "signal=none",
        "-o",
        str(trace),
    ]
    ran = subprocess.run(
        [strace, *options, sys.executable, str(CHILD), *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    if "Operation not permitted" in ran.stderr:
        pytest.skip("may not trace processes here: needs CAP_SYS_PTRACE")
    assert ran.returncode == 0, ran.stderr
    return list(_parse(trace.read_text("ascii")))


def _plain(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))


def _parse(trace: str) -> Iterator[Call]:
    for line in trace.splitlines():
        found = _LINE.match(line)
        assert found is not None, line[:200]
        name, arguments, result = found[1], found[2], int(found[3])
        if result < 0:
            continue
        texts = [_plain(text) for text in _TEXT.findall(arguments)]
        fd = _FD.match(arguments)
        path = _plain(fd[2]).decode() if fd else ""
        if name == "write" and fd is not None and fd[1] == "1":
            yield Call("say", "", texts[0])
        elif name in ("write", "pwrite64"):
            assert len(texts[0]) == result, line[:200]
            offset = int(arguments.rsplit(", ", 1)[1]) if name == "pwrite64" else 0
            yield Call("write", path, texts[0], offset)
        elif name == "ftruncate":
            yield Call("truncate", path, offset=int(arguments.rsplit(", ", 1)[1]))
        elif name in ("fsync", "fdatasync"):
            yield Call("sync", path)
        elif name.startswith("unlink"):
            yield Call("unlink", texts[0].decode())
        else:
            yield Call("rename", texts[0].decode(), to=texts[1].decode())


@dataclass
class _File:
    kept: bytearray = field(default_factory=bytearray)
    pending: list[Call] = field(default_factory=list)


def _apply(content: bytearray, call: Call) -> None:
    if call.what == "truncate":
        del content[call.offset :]
        content.extend(bytes(max(call.offset - len(content), 0)))
    else:
        end = call.offset + len(call.data)
        content.extend(bytes(max(end - len(content), 0)))
        content[call.offset : end] = call.data


class Disk:
    """A directory's files as the calls made so far have left them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._names: dict[str, _File] = {}  # as the process sees them
        self._kept: dict[str, _File] = {}  # as of the last sync of the directory
        self._history: list[tuple[str, _File | None]] = []  # names changed since; None: removed
        self.said: list[str] = []

    def do(self, call: Call) -> None:
        """Take one call into account."""
        if call.what == "say":
            self.said += call.data.decode().splitlines()
            return
        path = Path(call.path)
        if path == self.directory and call.what == "sync":
            self._kept, self._history = dict(self._names), []
            return
        # SQLite rebuilds its index from the log, and the lock holds no data.
        if path.parent != self.directory or path.name.endswith(("-shm", ".lock", ".strace")):
            return
        if call.what == "unlink":
            self._rename(path.name, None)
        elif call.what == "rename":
            file = self._names[path.name]
            self._rename(path.name, None)
            self._rename(Path(call.to).name, file)
        else:
            if path.name not in self._names:
                self._rename(path.name, _File())
            file = self._names[path.name]
            if call.what == "sync":
                for one in file.pending:
                    _apply(file.kept, one)
                file.pending.clear()
            else:
                file.pending.append(call)

    def _rename(self, name: str, file: _File | None) -> None:
        self._history.append((name, file))
        if file is None:
            self._names.pop(name, None)
        else:
            self._names[name] = file

    def after_power_loss(self, to: Path, how: str, rng: random.Random) -> None:
        """Write to `to` what may be left: of the unsynced nothing, all, a part, or a part with torn writes."""
        names = dict(self._kept)
        changes = {"nothing": 0, "all": len(self._history)}.get(how, rng.randint(0, len(self._history)))
        for name, file in self._history[:changes]:
            if file is None:
                names.pop(name, None)
            else:
                names[name] = file
        to.mkdir()
        for name, file in names.items():
            content = bytearray(file.kept)
            for call in file.pending:
                if how == "all" or (how != "nothing" and rng.random() < 0.6):
                    _apply(content, _torn(call, rng) if how == "torn" else call)
            (to / name).write_bytes(content)


def _torn(call: Call, rng: random.Random) -> Call:
    if call.what != "write" or rng.random() < 0.5:
        return call
    # Cut where sectors of the disk begin.
    cut = rng.randint(0, len(call.data)) + call.offset
    return Call("write", call.path, call.data[: max(cut // _SECTOR * _SECTOR - call.offset, 0)], call.offset)
