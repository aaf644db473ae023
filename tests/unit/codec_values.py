"""Values of every kind that the codec has a form for, and a codec with the chunks it made."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import ipaddress
import math
import pathlib
import re
import types
from collections import Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from fractions import Fraction
from typing import Any, Generic, NamedTuple, TypedDict, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import pydantic

from jupyter_durable.codec import Codec, StoreKey
from jupyter_durable.codec.kinds import Omitted
from jupyter_durable.model import Payload

KEY = StoreKey(b"k" * 32)


class Box:
    """A codec with the chunks it made."""

    def __init__(self, **options: Any) -> None:
        self.codec = Codec(KEY, **options)
        self.chunks: dict[bytes, Any] = {}

    def encode(self, value: Any, bind: str = "run", **options: Any) -> Payload:
        payload = self.codec.encode(value, bind=bind, has_chunk=self.chunks.__contains__, **options)
        self.chunks.update((chunk.digest, chunk) for chunk in payload.chunks)
        return payload._replace(chunks=())

    def decode(self, payload: Payload, bind: str = "run") -> Any:
        return self.codec.decode(payload, bind=bind, load=self.chunks.__getitem__)

    def trip(self, value: Any) -> Any:
        return self.decode(self.encode(value))


class Color(enum.Enum):
    """An enum."""

    RED = 1
    CRIMSON = 1  # noqa: PIE796 - an alias on purpose
    BLUE = "blue"


class Level(enum.IntEnum):
    """An enum of integers."""

    LOW = 1


class Mode(enum.Flag):
    """Flags."""

    READ = enum.auto()
    WRITE = enum.auto()


class Bits(enum.IntFlag):
    """Integer flags."""

    A = 1
    B = 2


class Word(enum.StrEnum):
    """An enum of strings."""

    YES = "yes"


class Point(NamedTuple):
    """A named tuple."""

    x: int
    label: str = "p"


class Movie(TypedDict):
    """A typed dict."""

    title: str


@dataclasses.dataclass
class Hit:
    """A dataclass."""

    title: str
    score: float = 0.0
    tags: list[str] = dataclasses.field(default_factory=list)
    size: int = dataclasses.field(init=False, default=0)


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    """Frozen and slotted."""

    name: str
    when: dt.date


@dataclasses.dataclass(slots=True)
class Slotted:
    """A dataclass with slots."""

    a: int
    b: list[int]


@dataclasses.dataclass
class OddInit:
    """An `__init__` that takes other arguments than there are fields."""

    total: int

    def __init__(self, *parts: int) -> None:
        self.total = sum(parts)


class User(pydantic.BaseModel):
    """A model with a private attribute."""

    model_config = pydantic.ConfigDict(extra="allow")
    name: str
    age: int = 3
    friends: list[User] = []
    _seen: int = pydantic.PrivateAttr(default=0)


T = TypeVar("T")


class Page(pydantic.BaseModel, Generic[T]):
    """A generic model."""

    items: list[T]


class Root(pydantic.RootModel[list[int]]):
    """A root model."""


class Plain:
    """No __init__ that could be called without knowing more."""

    def __init__(self, a: Any, *, b: Any) -> None:
        self.a, self.b = a, b

    def __eq__(self, other: object) -> bool:
        return type(other) is Plain and vars(other) == vars(self)

    __hash__ = None  # type: ignore[assignment]


class Rows(list):  # type: ignore[type-arg]
    """A list, but not only."""


class Config(dict):  # type: ignore[type-arg]
    """A dict, but not only."""


class Name(str):
    """A str, but not only."""

    __slots__ = ()


class Meters(float):
    """A float, but not only."""


class Tags(set):  # type: ignore[type-arg]
    """Has the reduce of set: only pickle keeps it."""


def function() -> int:
    """Found by its name."""

    return 1


VALUES: list[Any] = [
    None, True, False, 0, -1, 2**80, -(10**5000), 1.5, -0.0, math.inf, -math.inf, "", "text", "žluťoučký 🐎",
    "\ud800", "\ud83d\ude00", "\x00\n\"\\", [], {}, [1, [2, [3]]], {"a": {"b": [None]}}, {"$": 1}, {"$": "tuple", "v": []},
    {1: "a", None: "b", (1, 2): "c", 1.5: "d", True is False: "e"}, {"1": "str", 1: "int"},
    (), (1,), (1, (2, [3, (4,)])), [()], set(), {1, "a", 2.5, None}, frozenset({(1, 2)}), {frozenset({1})},
    b"", b"\x00\xff", bytearray(b"ab"), 1 + 2j, range(3), range(10, 0, -2), slice(1, None, 2), Ellipsis, NotImplemented,
    dt.datetime(2026, 1, 2, 3, 4, 5, 6), dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
    dt.datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Prague"), fold=1), dt.date(1, 1, 1), dt.time(23, 59, 59, 999999),
    dt.time(1, tzinfo=dt.timezone(dt.timedelta(hours=-3, minutes=-30), "NST")), dt.timedelta(days=-1, microseconds=1),
    dt.UTC, ZoneInfo("America/New_York"), Decimal("1.10"), Decimal("NaN"), Decimal("-Infinity"), Fraction(-1, 3),
    UUID(int=5), pathlib.Path("/tmp/a b"), pathlib.PurePosixPath("x/y"), pathlib.PureWindowsPath("c:\\x"),
    re.compile("a(b)?", re.IGNORECASE | re.MULTILINE), re.compile(rb"\d"), ipaddress.ip_address("::1"), ipaddress.ip_network("10.0.0.0/8"),
    ipaddress.ip_interface("192.168.0.1/24"), deque([1, (2,)], maxlen=3), defaultdict(list, {"a": [1]}),
    OrderedDict([("b", 1), ("a", 2)]), Counter("abca"), types.SimpleNamespace(a=1, b=(2,)), types.MappingProxyType({"a": 1}),
    Color.RED, Color.BLUE, Level.LOW, Mode.READ, Mode.READ | Mode.WRITE, Bits.A | Bits.B, Bits(8), Word.YES,
    Point(1), Movie(title="x"), Hit("t", 1.5, ["a"]), Frozen("n", dt.date(2026, 1, 1)), Slotted(1, [2]), OddInit(1, 2),
    User(name="a"), User(name="b", age=4, friends=[User(name="c")]), Page[int](items=[1]), Page[User](items=[User(name="z")]),
    Root([1, 2]), Plain(1, b=(2,)), Rows([1, (2,)]), Config(a=(1,)), Name("s"), Meters(1.5),
    function, len, Hit, int, dt.datetime, Omitted("Lock"), "x" * 5000, b"y" * 50_000, ["z" * 3000, {"k": "z" * 3000}],
    [{"n": n, "text": "m" * (n % 900)} for n in range(300)], {n: str(n) for n in range(500)}, list(range(3000)), tuple(range(3000)),
    {"big": {f"k{n}": n for n in range(2000)}}, "ab" * 100_000,
]  # fmt: skip


def equal(a: Any, b: Any) -> bool:
    """Equal in type and content, all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, list | tuple | deque):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, dict) and type(a).__eq__ is dict.__eq__:
        return len(a) == len(b) and all(map(equal, a.items(), b.items()))
    if isinstance(a, Decimal) or (isinstance(a, float) and a == 0):
        return repr(a) == repr(b)
    return bool(a == b)
