"""Effects seen outside steps: what a replay would do again.

An audit hook notices a process started, a file opened for writing, changed or removed, a connection
made, while a durable scope is current and no step is being attempted. It only takes notes; the
notice with the `durable.step(...)` that would make each of them safe is made from them in `drain`.

Python cannot take an audit hook out again: there is one a process, put in by the first run, and it
costs an audit event about 0.15 µs while no run is live.
"""

from __future__ import annotations

import ast
import linecache
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import islice
from types import CodeType, FrameType
from typing import Any, Literal

EffectKind = Literal["process", "file", "connection"]

_KINDS: dict[str, EffectKind] = {
    "subprocess.Popen": "process",
    "os.system": "process",
    "os.exec": "process",
    "os.posix_spawn": "process",
    "os.spawn": "process",
    "os.fork": "process",
    "os.forkpty": "process",
    "pty.spawn": "process",
    "os.startfile": "process",
    "open": "file",
    "os.truncate": "file",
    "os.remove": "file",
    "os.rename": "file",
    "os.rmdir": "file",
    "sqlite3.connect": "file",
    "socket.connect": "connection",
}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_DONE = {"os.remove": "removed", "os.rmdir": "removed", "os.rename": "renamed", "os.truncate": "truncated"}

# Whoever does it is not the user's code: the kernel (its history database), imports and caches,
# log files, temporary files, which nobody finds again.
_INTERNAL = frozenset(
    (
        *("jupyter_durable", "ipykernel", "jupyter_client", "zmq", "comm", "debugpy", "pydevd"),
        *("importlib", "zipimport", "py_compile", "linecache", "tempfile", "logging", "platform"),
    )
)
# Below these there is only the loop or the thread, whoever made the task.
_BOTTOM = frozenset({("asyncio.events", "_run"), ("threading", "_bootstrap_inner")})
_PLACES = 20


@dataclass(frozen=True, slots=True)
class Effect:
    """Something that happened outside a step, and happens again when the run is resumed.

    `what` is for people (a command, a path, a host, shortened). `count` is how often it was seen there.

    >>> str(Effect("file", "report.txt", "cell line 7", 'durable.step("write", f)'))
    'cell line 7 wrote report.txt outside a step; safe: durable.step("write", f)'
    """

    kind: EffectKind
    what: str
    where: str
    suggestion: str
    count: int = 1

    def __str__(self) -> str:
        verb = {"process": "started", "file": "wrote", "connection": "connected to"}[self.kind]
        times = f" {self.count} times" if self.count > 1 else ""
        return f"{self.where} {verb} {self.what}{times} outside a step; safe: {self.suggestion}"


@dataclass(frozen=True, slots=True)
class _Place:
    code: CodeType
    lasti: int
    line: int


@dataclass(slots=True)
class _Note:
    event: str
    kind: EffectKind
    what: str
    place: _Place | None
    count: int = 1


def _is_main(names: Mapping[str, Any]) -> bool:
    return names.get("__name__") == "__main__"


_quiet: ContextVar[bool] = ContextVar("jupyter_durable_quiet", default=False)


@contextmanager
def quiet() -> Iterator[None]:
    """Let an instrument do on purpose, outside a step, what would be noticed (a transport that passes through)."""
    token = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(token)


class EffectWatch:
    """Collects the effects of the runs of this process.

    `in_scope` says whether the calling context is in a durable scope and not inside a step.
    `ignore_path` gets an absolute path and says whether writing it is nobody's business (the store,
    Jupyter's own directories). `is_user_code` says of a frame's globals whether they are the
    notebook's. Neither may raise; what does is not noticed.
    """

    def __init__(
        self,
        in_scope: Callable[[], bool],
        ignore_path: Callable[[str], bool] = lambda path: False,
        is_user_code: Callable[[Mapping[str, Any]], bool] = _is_main,
    ) -> None:
        self._in_scope = in_scope
        self._ignore_path = ignore_path
        self._is_user_code = is_user_code
        # No lock: a signal handler that writes a file while it is held would wait for itself.
        self._notes: dict[Any, _Note] = {}
        self._installed = 0

    def install(self) -> None:
        """A run begins. Calls are counted."""
        with _hook_lock:
            self._installed += 1
            if self not in _watches:
                _watches.append(self)
                _put_hook_in()

    def remove(self) -> None:
        """A run ended: after the last, nothing is noticed any more."""
        with _hook_lock:
            self._installed = max(0, self._installed - 1)
            if not self._installed and self in _watches:
                _watches.remove(self)

    def drain(self) -> list[Effect]:
        """The effects seen since the last call, the same place once, at most 20 places."""
        notes, self._notes = self._notes, {}
        return [_effect(note) for note in notes.values()]

    def _notice(self, event: str, args: tuple[Any, ...]) -> None:
        if _quiet.get() or not self._in_scope():
            return
        what = _describe(event, args)
        if what is None:
            return
        kind = _KINDS[event]
        if kind == "file" and (_nobody(what) or self._ignore_path(what)):
            return
        frames = self._origin(sys._getframe(2))
        if frames is None:
            return
        # One line, whatever it does there in a loop; `subprocess` reports itself and what it is made of.
        key = (kind, frames[0].code, frames[0].line) if frames else (kind, what)
        notes = self._notes
        note = notes.get(key)
        if note is not None:
            note.count += note.event == event
        elif len(notes) < _PLACES:
            notes[key] = _Note(event, kind, what, frames[0] if frames else None)

    def _origin(self, frame: FrameType | None) -> list[_Place] | None:
        """Where the user's code led here; [] in a task or thread of a library's; None: the kernel's own doing."""
        ipython = False
        while frame is not None:
            names = frame.f_globals
            if self._is_user_code(names):
                return [_Place(frame.f_code, frame.f_lasti, frame.f_lineno)]
            name = str(names.get("__name__"))
            if (name, frame.f_code.co_name) in _BOTTOM:
                break
            if name.startswith("IPython.") or name == "ipykernel.zmqshell":
                if name == "IPython.core.history":
                    return None
                ipython = True  # the user's `!ls`, unless nobody of the user's is above it
            elif name.partition(".")[0] in _INTERNAL:
                return None
            frame = frame.f_back
        return None if ipython else []


def _nobody(path: str) -> bool:
    return (
        path.startswith(("/dev/", "/proc/", _CACHES))
        or path.endswith((".pyc", ".lock"))
        or "__pycache__" in path
    )


_CACHES = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "")  # noqa: PTH111, PTH118


def _describe(event: str, args: tuple[Any, ...]) -> str | None:
    """What happened, for people; None if it is no effect."""
    if event == "open":
        path, _, flags = args
        if isinstance(path, int) or not flags & _WRITES:
            return None
        return os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - hot: every file opened while a run is live
    if event == "sqlite3.connect":
        name = os.fsdecode(args[0])
        # A URI may say mode=ro or memory; a connection that only reads looks the same as one that writes.
        return None if name in ("", ":memory:") or "mode=" in name else os.path.abspath(name)  # noqa: PTH100
    if event == "socket.connect":
        return _address(*args)
    if event in _DONE:
        return None if isinstance(args[0], int) else os.path.abspath(os.fsdecode(args[0]))  # noqa: PTH100
    if event == "subprocess.Popen":
        executable, command = args[0], args[1]
        return _command(command or [executable])
    if event in ("os.exec", "os.posix_spawn", "os.spawn", "pty.spawn"):
        return _command(next((a for a in args if isinstance(a, (list, tuple))), args[:1]))
    return _command(args[0]) if args else "a copy of this process"


def _address(sock: Any, address: Any) -> str | None:
    import socket

    # A datagram socket that connects sends nothing: it is how a host asks for its own address.
    if sock.type == socket.SOCK_DGRAM or not isinstance(address, tuple):
        return None
    host = str(address[0])
    return f"[{host}]:{address[1]}" if ":" in host else f"{host}:{address[1]}"


def _command(command: Any) -> str:
    words = [command] if isinstance(command, (str, bytes, os.PathLike)) else list(command)
    text = " ".join(os.fsdecode(word) for word in words)
    return text if len(text) <= 80 else text[:79] + "…"


# -- what to say of it -------------------------------------------------------------------------------


def _effect(note: _Note) -> Effect:
    what = note.what
    if note.kind == "file":
        try:
            short = os.path.relpath(what)
        except ValueError:  # another drive
            short = what
        what = short if len(short) < len(what) else what
        what += f" ({_DONE[note.event]})" if note.event in _DONE else ""
    if note.place is None:
        return Effect(note.kind, what, "a background task", _GENERIC[note.kind], note.count)
    return Effect(note.kind, what, _where(note.place), _suggest(note.kind, note.place), note.count)


_GENERIC: dict[EffectKind, str] = {
    "process": 'durable.step("run", subprocess.run, [...])',
    "file": 'durable.step("write", write)  # where write() does it all: open, write, close',
    "connection": 'durable.step("connect", fetch)  # where fetch() does it all: connect, exchange, close',
}


def _where(place: _Place) -> str:
    name, file = place.code.co_name, place.code.co_filename
    inside = "" if name.startswith("<") else f" in {name}()"
    is_cell = file.startswith("<") or "ipykernel" in file
    return f"{'cell' if is_cell else os.path.basename(file)} line {place.line}{inside}"  # noqa: PTH119


_HANDING_ON = ("run_in_executor", "submit", "to_thread", "run_sync", "create_task")


def _suggest(kind: EffectKind, place: _Place) -> str:
    call, awaited = _call(place)
    function = ast.unparse(call.func) if call is not None else ""
    # What hands out a handle (a file, a process, a connection) is no step: its result cannot be kept.
    called = function.rpartition(".")[2].lower()
    handle = called in ("", "open", "popen", "connect", "create_connection")
    hands_on = called in _HANDING_ON  # it gives a future, and the work is a strand's
    if call is None or handle or hands_on or (awaited and function.startswith("asyncio.")):
        name = place.code.co_name
        if name.startswith("<"):
            return _GENERIC[kind]
        return f'durable.step("{name}", {name}, ...)' if kind != "process" else _GENERIC["process"]
    arguments = "".join(f", {ast.unparse(a)}" for a in (*call.args, *call.keywords))
    text = (
        f'{"await " if awaited else ""}durable.step("{function.rpartition(".")[2]}", {function}{arguments})'
    )
    return text if len(text) <= 200 else f'durable.step("{function.rpartition(".")[2]}", {function}, ...)'


def _call(place: _Place) -> tuple[ast.Call | None, bool]:
    """The call under way at `place`, from its source, and whether it is awaited."""
    first, last, left, right = next(islice(place.code.co_positions(), place.lasti // 2, None), (None,) * 4)
    if first is None or last is None or left is None or right is None:
        return None, False
    lines = [linecache.getline(place.code.co_filename, n).encode() for n in range(first, last + 1)]
    if not all(lines):
        return None, False
    lines[-1] = lines[-1][:right]
    lines[0] = lines[0][left:]
    try:
        node = ast.parse(b"(" + b"".join(lines) + b")", mode="eval").body
    except (SyntaxError, ValueError):
        return None, False
    awaited = isinstance(node, ast.Await)
    node = node.value if isinstance(node, ast.Await) else node
    return (node if isinstance(node, ast.Call) else None), awaited


# -- the hook ----------------------------------------------------------------------------------------

_watches: list[EffectWatch] = []
_hook_lock = threading.Lock()
_hooked = False


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _watches and event in _KINDS:
        if event == "open" and not args[2] & _WRITES:
            return
        for watch in tuple(_watches):
            with suppress(Exception):  # an error in here would forbid what the user does
                watch._notice(event, args)


def _put_hook_in() -> None:
    global _hooked
    if not _hooked:
        _hooked = True
        sys.addaudithook(_hook)
