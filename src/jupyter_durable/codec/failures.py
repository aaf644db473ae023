"""Exceptions: class, args, attributes, notes, cause, context, members, and where they came from.

Made again without calling any `__init__`: `args`, the attributes and the fields that built-in
exceptions keep in C (`OSError.filename`, `UnicodeDecodeError.start`, `StopIteration.value`) are set
directly. What an attribute holds and cannot be stored (a socket, a live response) becomes a
placeholder: the error itself must not get lost for it.

The traceback comes back as a real one, of frames that carry the recorded file, function and line and
can show the source line even where the file is gone, so that every tool displays it natively.
"""

from __future__ import annotations

import builtins
import contextlib
import linecache
import sys
import types
from typing import Any

from jupyter_durable.codec.kinds import Kind, Lenient, Plain, register

_FRAMES = 60
# The object whose attribute was missing is nobody's business later, and is often unstorable.
_SKIPPED: dict[type, set[str]] = {AttributeError: {"obj"}}
_fields: dict[type, tuple[str, ...]] = {}


def _c_fields(base: type) -> tuple[str, ...]:
    """Names of the fields that a built-in exception keeps outside `__dict__`."""
    if base not in _fields:
        _fields[base] = tuple(
            name
            for cls in base.__mro__
            for name, field in vars(cls).items()
            if not name.startswith("_")
            and isinstance(field, types.MemberDescriptorType | types.GetSetDescriptorType)
            and name not in ("args", "exceptions", "characters_written")
            and name not in _SKIPPED.get(cls, ())
        )
    return _fields[base]


def _base(cls: type) -> type[BaseException] | None:
    """The built-in exception whose `__new__` makes instances of `cls`; None if some C extension's does."""
    for base in cls.__mro__:
        if base.__module__ == "builtins" and issubclass(base, BaseException):
            return base if vars(builtins).get(base.__name__) is base else None
        if "__new__" in vars(base) and not isinstance(vars(base)["__new__"], staticmethod):
            return None
    return None


def _frames(tb: types.TracebackType | None) -> list[list[Any]]:
    found = []
    while tb is not None:
        code = tb.tb_frame.f_code
        line = linecache.getline(code.co_filename, tb.tb_lineno, tb.tb_frame.f_globals).strip()
        found.append([code.co_filename, code.co_name, tb.tb_lineno, line])
        tb = tb.tb_next
    if len(found) > _FRAMES:
        found = found[: _FRAMES // 2] + found[-_FRAMES // 2 :]
    return found


def _split(error: BaseException) -> Any:
    base = _base(type(error))
    if base is None:
        return None
    parts: dict[str, Any] = {"a": Plain([Lenient(arg) for arg in error.args])}
    if issubclass(base, BaseExceptionGroup):
        parts["a"] = Plain([error.args[0]])
        parts["m"] = Plain(list(error.exceptions))  # type: ignore[attr-defined]
    state = {name: Lenient(item) for name, item in vars(error).items()}
    if state:
        parts["d"] = Plain(state)
    fields: dict[str, Any] = {}
    for name in _c_fields(base):
        with contextlib.suppress(Exception):
            field = getattr(error, name)
            if field is not None:
                fields[name] = Lenient(field)
    if fields:
        parts["c"] = Plain(fields)
    if error.__cause__ is not None:
        parts["cause"] = Lenient(error.__cause__)
    if error.__context__ is not None and error.__context__ is not error.__cause__:
        parts["context"] = Lenient(error.__context__)
    if error.__suppress_context__:
        parts["suppress"] = True
    if error.__traceback__ is not None:
        parts["tb"] = _frames(error.__traceback__)
    return parts


def _join(cls: type[BaseException], parts: dict[str, Any]) -> BaseException:
    base = _base(cls) or BaseException
    if "m" in parts:
        error: BaseException = base.__new__(cls, parts["a"][0], parts["m"])
    else:
        error = base.__new__(cls)
        error.args = tuple(parts["a"])
    for name, field in parts.get("c", {}).items():
        with contextlib.suppress(Exception):  # read-only in this version of Python
            setattr(error, name, field)
    error.__dict__.update(parts.get("d", {}))
    error.__cause__ = _error(parts.get("cause"))
    error.__context__ = _error(parts.get("context")) or error.__cause__
    error.__suppress_context__ = parts.get("suppress", False)
    return error.with_traceback(rebuild_traceback(parts.get("tb", [])))


def _error(value: Any) -> BaseException | None:
    return value if isinstance(value, BaseException) else None  # a placeholder cannot be a cause


class _Source:
    """Gives linecache the recorded lines of a file that is no longer there."""

    def __init__(self, lines: dict[int, str]) -> None:
        self._lines = lines

    def get_source(self, name: str) -> str:
        return "\n".join(self._lines.get(n, "") for n in range(1, max(self._lines) + 1)) + "\n"


def _raise() -> types.CodeType:
    return compile("raise error", "recorded", "exec")


def rebuild_traceback(frames: list[list[Any]]) -> types.TracebackType | None:
    """A traceback of frames that name the recorded places; nothing of the original code runs."""
    lines: dict[str, dict[int, str]] = {}
    for file, _, number, line in frames:
        if line and 0 < number < 100_000:
            lines.setdefault(file, {})[number] = line
    template = _raise()
    tb: types.TracebackType | None = None
    for file, name, number, _ in reversed(frames):
        code = template.replace(
            co_filename=file, co_name=name, co_qualname=name, co_firstlineno=max(number or 1, 1)
        )
        scope: dict[str, Any] = {"__name__": "recorded", "error": StopIteration()}
        if file in lines:
            scope["__loader__"] = _Source(lines[file])
        try:
            exec(code, scope)  # noqa: S102 - our own one line, `raise error`: the only way to a frame of that name
        except StopIteration:
            made = sys.exc_info()[2]
            assert made is not None
            assert made.tb_next is not None
            tb = types.TracebackType(tb, made.tb_next.tb_frame, made.tb_next.tb_lasti, number or 1)
    return tb


ERROR = Kind("error", _split, _join, typed=True, tracked=True, canonical=False)
register(ERROR)


def find(cls: type) -> Kind | None:
    """The kind of values of `cls`, if these are exceptions."""
    return ERROR if issubclass(cls, BaseException) else None
