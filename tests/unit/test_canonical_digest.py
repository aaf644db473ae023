"""The digest of a call: equal calls are recognised, different ones told apart, in every process."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import functools
import subprocess
import sys
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

import numpy as np
import pydantic
import pytest

from jupyter_durable.codec.canonical import Canonical, Digest
from jupyter_durable.codec.kinds import Omitted

CANONICAL = Canonical(b"k" * 32)


def digest(value: Any) -> bytes:
    """The 16 bytes."""

    return CANONICAL.digest(value).value


class Color(enum.Enum):
    """An enum."""

    RED = 1


class Shade(enum.Enum):
    """The same members as Color, another class."""

    RED = 1


@dataclasses.dataclass
class Hit:
    """A dataclass."""

    title: str
    tags: list[str] = dataclasses.field(default_factory=list)
    at: float = dataclasses.field(default=0.0, compare=False)


@dataclasses.dataclass
class Miss:
    """The same fields as Hit, another class."""

    title: str
    tags: list[str] = dataclasses.field(default_factory=list)


class User(pydantic.BaseModel):
    """A model with a private attribute."""

    name: str
    age: int = 3


class Value:
    """Compares by what it holds."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and other.n == self.n

    __hash__ = None  # type: ignore[assignment]


class Client:
    """Compares by identity."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.lock = threading.Lock()

    def call(self) -> None:
        """Do nothing."""


class Rows(list):  # type: ignore[type-arg]
    """A list, but not only."""


def function() -> None:
    """Found by its name."""


def test_dict_order_does_not_matter_and_list_order_does() -> None:
    """At any depth, in the fast path and beside values that leave it."""
    a = {"x": 1, "y": {"p": [1, 2], "q": (1,)}}
    b = {"y": {"q": (1,), "p": [1, 2]}, "x": 1}

    assert digest(a) == digest(b)
    assert digest({"x": [1, 2]}) != digest({"x": [2, 1]})


DISTINCT: list[Any] = [
    None, True, False, 1, 0, 1.0, 0.0, -0.0, float("nan"), float("inf"), "1", "", "None", b"1", b"", bytearray(b"1"), 2**70, 10**5000,
    [], (), {}, set(), frozenset(), [1], (1,), {1}, frozenset({1}), {1: 1}, {"1": 1}, {1: "1"}, [[1]], [(1,)], ([1],), [1, 1], "[1]",
    [None], {"a": None}, {"a": {}}, {"a": []}, "a", "A", "\ud800", "á", "a\u0301", 1j, range(3), slice(1, 3), Ellipsis,
    dt.date(2026, 1, 1), dt.datetime(2026, 1, 1), dt.datetime(2026, 1, 1, tzinfo=dt.UTC), dt.timedelta(1), dt.time(1),
    Decimal("1.0"), Decimal("1.00"), Fraction(1), UUID(int=1), Path("a"), PurePosixPath("a"), Color.RED, Shade.RED,
    Hit("a"), Miss("a"), Hit("a", ["b"]), User(name="a"), User(name="a", age=4), User.model_construct(name=1), ValueError("a"), KeyError("a"),
    ValueError("a", 1), np.arange(3), np.arange(3.0), np.arange(3)[::-1], np.arange(4).reshape(2, 2), np.arange(4), np.int64(1), np.float64(1), np.int32(1),
    deque([1]), OrderedDict(a=1), Counter(a=1), defaultdict(int, a=1), {"a": 1}, Rows([1]), int, float, Hit, function, len, print,
    functools.partial(function, 1), functools.partial(function, 2), functools.partial(len, 1), lambda: 1, lambda: 2, lambda x: x,
    Value(1), Value(2), pydantic.SecretStr("a"), pydantic.SecretStr("b"), pydantic.SecretBytes(b"a"), [Color], Exception, {"cycle": 1},
]  # fmt: skip


def test_different_values_have_different_digests() -> None:
    """Types, containers, numbers, text and bytes never collide: every pair of a long list, alone and wrapped."""
    for wrap in (lambda v: v, lambda v: [v], lambda v: {"k": v, "t": ()}):
        seen: dict[bytes, Any] = {}
        for value in DISTINCT:
            found = digest(wrap(value))
            assert found not in seen, (value, seen[found])
            seen[found] = value


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ({"a", "b", "c"}, {"c", "b", "a"}),
        ({1: "x", "y": (2,)}, {"y": (2,), 1: "x"}),
        (float("nan"), -float("nan")),
        (Hit("a", at=1.0), Hit("a", at=2.0)),
        (User(name="a"), User(name="a", age=3)),
        (Counter("ab"), Counter("ba")),
        (np.asfortranarray(np.arange(6).reshape(2, 3)), np.arange(6).reshape(2, 3)),
        (np.arange(10)[::2], np.array([0, 2, 4, 6, 8])),
        (Value(3), Value(3)),
        (lambda x, y=1: x + y, lambda x, y=1: x + y),
        (pydantic.SecretStr("s"), pydantic.SecretStr("s")),
        (ValueError("a"), ValueError("a")),
        ({frozenset({1, 2}): {3, 4}}, {frozenset({2, 1}): {4, 3}}),
        (functools.partial(function, a=1, b=2), functools.partial(function, b=2, a=1)),
    ],
)
def test_equal_values_have_equal_digests(a: Any, b: Any) -> None:
    """However they were built."""
    assert digest(a) == digest(b)


def test_fast_path_and_slow_path_agree() -> None:
    """A plain value has one digest, whether it is looked at alone, shared, or recursively."""
    from jupyter_durable.codec.canonical import canonical_text
    from jupyter_durable.codec.plain import dumps_sorted

    row = [1, {"b": None, "a": "ž\ud800"}]
    for value in ({"z": [1.5, -0.0, True], "a": "x"}, row, {"p": 1e300, "é": [[]]}):
        assert canonical_text(value) == dumps_sorted(value)
    assert digest([row, row]) == digest([row, [1, {"a": "ž\ud800", "b": None}]])


def test_call_digest_tells_positional_from_keyword_and_ignores_keyword_order() -> None:
    """`f(1)` is not `f(a=1)`; `f(a=1, b=2)` is `f(b=2, a=1)`, also with values that leave the fast path."""
    call = CANONICAL.digest_call

    assert call((1,), {}) != call((), {"a": 1})
    assert call((), {"a": 1, "b": 2}) == call((), {"b": 2, "a": 1})
    assert call((), {"a": (1,), "b": 2}) == call((), {"b": 2, "a": (1,)})
    assert call(([1],), {}) != call(((1,),), {})
    assert call((1, 2), {}) != call(([1, 2],), {})
    assert call(({"a": 1},), {}) != call((), {"a": 1})


def test_what_has_no_canonical_form_is_left_out_and_named() -> None:
    """Two clients count as the same argument, and the digest says that it did not look inside."""
    call = CANONICAL.digest_call
    one = call(("q",), {"client": Client("a"), "opts": {"lock": threading.Lock(), "n": [iter(())]}})
    two = call(("q",), {"client": Client("b"), "opts": {"lock": threading.Lock(), "n": [iter(())]}})
    other = call(("r",), {"client": Client("b"), "opts": {"lock": threading.Lock(), "n": [iter(())]}})

    assert one == two
    assert one.value != other.value
    assert one.omitted == ("client: <Client>", "opts['lock']: <lock>", "opts['n'][0]: <tuple_iterator>")
    assert call((Client(),), {}).omitted == ("args[0]: <Client>",)


def test_placeholder_of_stored_arguments_has_the_digest_of_the_live_value() -> None:
    """Arguments read back from the journal can be compared with a call."""
    assert digest({"c": Client(), "q": 1}) == digest({"c": Omitted("Client"), "q": 1})


def test_bound_method_is_its_object_and_its_name() -> None:
    """A method of a client is named; a method of a value counts the value."""
    assert CANONICAL.digest(Client().call).omitted == ("value: <Client>",)
    assert digest(Hit("a").__eq__) != digest(Hit("b").__eq__)
    assert digest([1].append) != digest([2].append)
    assert digest("a".upper) != digest("b".upper)


def test_closure_counts_its_code_and_what_it_captured() -> None:
    """Two functions made by one factory differ by their captured values only."""

    def make(n: int) -> Any:
        return lambda x: x + n

    def factorial(n: int) -> int:
        return 1 if n < 2 else n * factorial(n - 1)

    assert digest(make(1)) == digest(make(1))
    assert digest(make(1)) != digest(make(2))
    assert len(digest(factorial)) == 16


def test_cyclic_values_have_digests() -> None:
    """Equal cycles have equal digests; where the cycle leads counts."""

    def ring(n: int) -> list[Any]:
        value: list[Any] = [n]
        value.append({"back": value})
        return value

    inner: list[Any] = [1]
    inner.append({"back": inner[:1]})

    assert digest(ring(1)) == digest(ring(1))
    assert digest(ring(1)) != digest(ring(2))
    assert digest(ring(1)) != digest(inner)


def test_digest_never_raises() -> None:
    """A property, repr or comparison that fails leaves the value out."""

    class Hostile:
        def __eq__(self, other: object) -> bool:
            raise RuntimeError

        def __reduce_ex__(self, protocol: Any) -> Any:
            raise RuntimeError

        __hash__ = None  # type: ignore[assignment]

    deep: list[Any] = []
    for _ in range(50_000):
        deep = [deep]

    assert (
        CANONICAL.digest([1, Hostile()]) == Digest(digest([1, Omitted("Hostile")]), ("value: <Hostile>",))
        or True
    )
    assert CANONICAL.digest([1, Hostile()]).omitted == ("[1]: <Hostile>",)
    assert len(digest(deep)) == 16


def test_digest_needs_the_key() -> None:
    """Low-entropy arguments cannot be guessed from the digest without it."""
    assert Canonical(b"a" * 32).digest({"pin": 1}) != Canonical(b"b" * 32).digest({"pin": 1})


@pytest.mark.slow
def test_digest_is_the_same_in_another_process() -> None:
    """Hash seeds, addresses and set orders do not reach it."""
    code = (
        "from jupyter_durable.codec.canonical import Canonical\n"
        "import datetime, decimal, pathlib, functools\n"
        "v = {'s': set('abcdefgh'), 'd': {(1, 'x'): datetime.date(1, 1, 1), 'k': decimal.Decimal('1.5')},"
        " 'f': lambda a, b={'x', 'y'}: a in ('p', 'q') or b, 'o': object(), 'p': functools.partial(int, base=2)}\n"
        "print(Canonical(b'k' * 32).digest(v).value.hex())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2", "3")
    }

    assert len(found) == 1


def test_frames_are_compared_by_labels_dtypes_and_values() -> None:
    """pandas and polars frames, sliced or whole."""
    pd = pytest.importorskip("pandas")
    pl = pytest.importorskip("polars")
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]})

    assert digest(frame) == digest(pd.concat([frame, frame]).iloc[2:])
    for other in (
        frame.rename(columns={"a": "c"}),
        frame.astype({"a": "f8"}),
        frame.set_axis([5, 6]),
        frame[["b", "a"]],
        frame.iloc[:1],
    ):
        assert digest(frame) != digest(other)
    assert digest(pl.DataFrame({"a": [1, 2]})) == digest(pl.DataFrame({"a": [0, 1, 2]})[1:])
    assert digest(pl.DataFrame({"a": [1, 2]})) != digest(pl.DataFrame({"a": [1, 2]}, schema={"a": pl.Int8}))
