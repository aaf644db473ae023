"""Exceptions come back as raised: type, args, attributes, notes, chain, members and the way they came."""

from __future__ import annotations

import json
import pathlib
import threading
import traceback
from typing import Any

import pytest

from jupyter_durable.codec import Codec, StoreKey
from jupyter_durable.codec.kinds import Omitted
from jupyter_durable.errors import DivergenceError

CODEC = Codec(StoreKey(b"k" * 32))


def trip(value: Any, codec: Codec = CODEC) -> Any:
    """Encode and decode."""

    chunks: dict[bytes, Any] = {}
    payload = codec.encode(value, bind="run", has_chunk=chunks.__contains__)
    chunks.update((chunk.digest, chunk) for chunk in payload.chunks)
    return codec.decode(payload, bind="run", load=chunks.__getitem__)


class StatusError(Exception):
    """Like an SDK's: a constructor that cannot be called with `args`."""

    def __init__(self, message: str, *, response: Any, code: int) -> None:
        super().__init__(message)
        self.response = response
        self.code = code


class Slotted(ValueError):
    """Made by an `__init__` that `args` does not fit."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")


def raised(error: BaseException) -> BaseException:
    """The error with a traceback."""

    try:
        raise error
    except BaseException as caught:
        return caught


def os_error() -> BaseException:
    """One that the system raised."""

    try:
        pathlib.Path("/no/such/file").read_text()
    except OSError as error:
        return error
    raise AssertionError


def json_error() -> BaseException:
    """One with fields of its own."""

    try:
        json.loads("{")
    except ValueError as error:
        return error
    raise AssertionError


ERRORS = [
    ValueError("no"), KeyError("k"), StopIteration(3), SystemExit(2), KeyboardInterrupt(), OSError(5, "io", "a", None, "b"),
    os_error(), json_error(), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), SyntaxError("bad", ("f.py", 1, 2, "x =", 1, 3)),
    ImportError("no", name="mod", path="/p"), NameError("x", name="x"), StatusError("m", response={"a": (1,)}, code=404),
    Slotted(1, 2), DivergenceError("d", recorded="a", current="b", difference="c", hint="h"), AssertionError(),
    ExceptionGroup("g", [ValueError(1), ExceptionGroup("inner", [KeyError("x")])]), BaseExceptionGroup("b", [KeyboardInterrupt()]),
]  # fmt: skip


def description(error: BaseException) -> Any:
    """All that must come back."""

    fields = {
        name: getattr(error, name, None)
        for name in ("errno", "strerror", "filename", "filename2", "start", "end", "reason", "object", "encoding", "value",
                     "code", "msg", "lineno", "text", "offset", "name", "path", "doc", "pos", "hint", "recorded", "response")
    }  # fmt: skip
    members = [description(member) for member in getattr(error, "exceptions", ())]
    return type(error), error.args if not members else error.args[0], str(error), fields, members


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_error_comes_back_as_it_was_without_pickle(error: BaseException) -> None:
    """Built-in fields, odd constructors and groups, with no `__init__` called."""
    back = trip(raised(error), Codec(StoreKey(b"k" * 32), pickle="never"))

    assert description(back) == description(error)


def test_notes_cause_context_and_suppression_come_back() -> None:
    """The whole chain that a traceback prints."""
    try:
        try:
            raise KeyError("first")
        except KeyError as first:
            raise ValueError("second") from first
    except ValueError as caught:
        error = caught
    error.add_note("tried twice")
    plain = raised(RuntimeError("r"))
    plain.__context__ = raised(TypeError("t"))

    back, with_context = trip([error, plain])

    assert back.__notes__ == ["tried twice"]
    assert (type(back.__cause__), back.__cause__.args) == (KeyError, ("first",))
    assert back.__suppress_context__ is True
    assert type(with_context.__context__) is TypeError
    assert with_context.__cause__ is None


def test_traceback_shows_where_the_error_came_from() -> None:
    """The recorded frames come back as a native traceback, source lines included, even of a file that is gone."""
    scope: dict[str, Any] = {}
    source = "def inner():\n    raise LookupError('deep')\n\ndef outer():\n    return inner()\n"
    import linecache

    linecache.cache["/gone/agent.py"] = (len(source), None, source.splitlines(True), "/gone/agent.py")
    exec(compile(source, "/gone/agent.py", "exec"), scope)
    try:
        scope["outer"]()
    except LookupError as caught:
        error = caught
    payload = CODEC.encode(error, bind="run", has_chunk=lambda digest: False)
    del linecache.cache["/gone/agent.py"]

    back = CODEC.decode(payload, bind="run", load=lambda digest: pytest.fail("no chunk needed"))
    text = "".join(traceback.format_exception(back))

    frames = traceback.extract_tb(back.__traceback__)
    assert [(f.filename, f.name, f.lineno) for f in frames[-2:]] == [
        ("/gone/agent.py", "outer", 5),
        ("/gone/agent.py", "inner", 2),
    ]
    assert "raise LookupError('deep')" in text


def test_replayed_error_that_is_stored_again_keeps_its_origin() -> None:
    """A step's error that its caller's step raises too is recorded twice with the same frames."""
    once = trip(os_error())
    twice = trip(once)

    names = [frame.name for frame in traceback.extract_tb(twice.__traceback__)]
    assert "os_error" in names


def test_attribute_that_cannot_be_stored_does_not_lose_the_error() -> None:
    """A live object on the error becomes a placeholder; the rest is intact."""
    back = trip(StatusError("m", response=threading.Lock(), code=500))

    assert back.response == Omitted("lock")
    assert (back.args, back.code) == (("m",), 500)


def test_error_of_a_class_made_in_a_function_comes_back() -> None:
    """Its class travels in a signed pickle."""

    class LocalError(Exception):
        pass

    back = trip(LocalError("x"))

    assert type(back).__name__ == "LocalError"
    assert back.args == ("x",)


def test_errors_that_refer_to_each_other_do_not_recurse() -> None:
    """A context that leads back to the error itself is cut or kept, never endless."""
    a, b = ValueError("a"), ValueError("b")
    a.__context__ = b
    b.other = a  # type: ignore[attr-defined]

    back = trip(a)

    assert back.args == ("a",)
    assert back.__context__.args == ("b",)


def test_chain_of_two_hundred_contexts_is_cut_not_refused() -> None:
    """A retry loop that raises from each failure before ends in an error that can still be recorded."""
    error: BaseException = ValueError(0)
    for n in range(1, 200):
        later = ValueError(n)
        later.__context__ = error
        error = later

    back = trip(error)

    assert back.args == (199,)
    assert back.__context__.args == (198,)


def test_object_seen_in_a_part_that_was_left_out_is_stored_where_it_occurs_again() -> None:
    """What was thrown away with an unstorable attribute is not referred to later."""
    shared = [1]
    error = ValueError("x")
    error.first = {"keep": shared, "lock": threading.Lock()}  # type: ignore[attr-defined]
    error.second = shared  # type: ignore[attr-defined]

    back, outside = trip([error, shared])

    assert back.second == [1]
    assert back.second is outside
