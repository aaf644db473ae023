"""Every kind of value comes back equal, of its own type, without pickle."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import enum
import ipaddress
import math
import os
import pathlib
import re
import subprocess
import sys
import textwrap
import types
from collections import Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from fractions import Fraction
from typing import Any, Generic, NamedTuple, TypedDict, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import pydantic
import pytest

from jupyter_durable.codec import Codec, StoreKey
from jupyter_durable.codec.kinds import Omitted
from jupyter_durable.errors import EncodingError, IntegrityError
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


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_value_comes_back_as_it_was_without_pickle(value: Any) -> None:
    """Value and type survive, alone and inside containers, with pickle forbidden."""
    box = Box(pickle="never")

    assert equal(value, box.trip(value))
    assert equal([value, {"k": (value,)}], box.trip([value, {"k": (value,)}]))


def test_all_values_at_once_come_back() -> None:
    """The kinds do not disturb each other inside one value."""
    box = Box(pickle="never")
    value = [copy.deepcopy(item) for item in VALUES if not isinstance(item, types.MappingProxyType)]

    assert equal(value, box.trip(value))


def test_nan_comes_back_as_nan() -> None:
    """Equality cannot say it, so it is asked for."""
    assert math.isnan(Box().trip({"x": math.nan})["x"])


def test_pydantic_model_keeps_private_attributes_extras_and_fields_set() -> None:
    """What `==` does not show is there too, and no validator ran again."""
    user = User.model_validate({"name": "a", "nick": "b"})
    user._seen = 7

    back = Box().trip(user)

    assert back._seen == 7
    assert back.model_extra == {"nick": "b"}
    assert back.model_fields_set == user.model_fields_set
    assert back.model_dump(exclude_unset=True) == {"name": "a", "nick": "b"}


def test_dataclass_keeps_fields_outside_init_and_ad_hoc_attributes() -> None:
    """State is restored directly: `init=False` fields and later attributes included."""
    hit = Hit("t")
    hit.size = 9
    hit.note = "later"  # type: ignore[attr-defined]

    back = Box().trip(hit)

    assert back.size == 9
    assert back.note == "later"


def test_subclass_with_its_own_reduce_is_not_flattened() -> None:
    """A set subclass has no typed form: it is pickled rather than turned into a set."""
    back = Box().trip(Tags({1, 2}))

    assert type(back) is Tags
    assert back == {1, 2}


def test_list_that_occurs_twice_stays_one_list() -> None:
    """Aliasing inside one value is preserved, at any depth and through chunks."""
    row = [0]
    message = {"role": "user", "content": "x" * 3000}
    value = {
        "a": row,
        "b": [row, (row,)],
        "messages": [message] * 2 + [{"n": n, "t": "y" * 300} for n in range(20)],
    }

    back = Box().trip(value)

    assert back == value
    assert back["a"] is back["b"][0] is back["b"][1][0]
    assert back["messages"][0] is back["messages"][1]


def test_object_shared_by_two_pickled_parts_stays_one_object() -> None:
    """Two parts that need pickle and share state become one pickle."""
    shared = {"n": 1}
    first, second = Tags({1}), Tags({2})
    first.state, second.state = shared, shared  # type: ignore[attr-defined]

    one, two = Box().trip([first, second])

    assert one.state is two.state


@pytest.mark.parametrize("first", ["typed", "pickled"])
def test_object_shared_by_a_typed_and_a_pickled_part_stays_one_object(first: str) -> None:
    """Whichever of the two comes first."""
    shared = [1]
    bag = Tags({1})
    bag.state = shared  # type: ignore[attr-defined]
    value = {"list": shared, "bag": bag} if first == "typed" else {"bag": bag, "list": shared}

    back = Box().trip(value)

    assert back["bag"].state is back["list"]


def test_cycle_comes_back_as_a_cycle() -> None:
    """A value that contains itself is stored, by pickle."""
    value: list[Any] = [1]
    value.append({"self": value})

    back = Box().trip(value)

    assert back[1]["self"] is back


def test_exponentially_nested_value_is_encoded_at_once() -> None:
    """Thirty doublings of one list are thirty lists, not a billion."""
    value: Any = [1]
    for _ in range(30):
        value = [value, value]

    payload = Box().encode(value)

    assert len(payload.body) < 2000


def test_equal_values_encode_to_equal_bytes() -> None:
    """Sets and dicts of equal content give equal payloads, so that equal results share chunks."""
    box = Box()

    assert box.encode({3, 1, 2, "b", "a"}) == box.encode({"a", "b", 2, 1, 3})


def test_unstorable_part_is_named_with_its_path() -> None:
    """The error says where the lock is, in the words of the value."""
    import threading

    plain = Plain(1, b=2)
    plain.client = threading.Lock()  # type: ignore[attr-defined]
    value = {"items": [1, (2,), {3}, plain]}

    with pytest.raises(EncodingError) as caught:
        Box().encode(value, what="result")

    assert caught.value.path == "result['items'][3].client"
    assert "result['items'][3].client: a <lock> cannot be stored" in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda bad: [0, bad], "value[1]"),
        (lambda bad: {"a": {"b": bad}}, "value['a']['b']"),
        (lambda bad: {2: bad}, "value[2]"),
        (lambda bad: Hit("t", tags=[bad]), "value.tags[0]"),
        (lambda bad: User.model_construct(name=bad), "value.name"),
        (lambda bad: types.SimpleNamespace(x=(bad,)), "value.x[0]"),
        (lambda bad: deque([bad]), "value[1]"),
    ],
)
def test_paths_of_errors_read_like_code(make: Any, path: str) -> None:
    """Each container contributes its own step."""
    with pytest.raises(EncodingError) as caught:
        Box().encode(make(n for n in ()))

    assert caught.value.path == path


def test_pickle_never_refuses_what_only_pickle_could_keep() -> None:
    """The setting is named in the error."""
    with pytest.raises(EncodingError, match="never"):
        Box(pickle="never").encode({"f": lambda: 1})


def test_pickle_that_comes_back_different_is_refused() -> None:
    """An object whose pickle forgets something is an error when recorded, not a surprise on replay."""
    with pytest.raises(EncodingError, match="does not come back equal"):
        Box().encode(Forgetful(5))


class Forgetful:
    """Loses its number when pickled."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Forgetful) and other.n == self.n

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> Any:
        return Forgetful, (0,)


class Upper(dict):  # type: ignore[type-arg]
    """Changes what is put into it."""

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key.upper(), value)


class Strict:
    """Cannot be made without an argument it does not give to pickle."""

    def __new__(cls, n: int) -> Strict:
        return super().__new__(cls)


def test_container_that_changes_what_is_put_into_it_keeps_what_was_in_it() -> None:
    """Restoring does not go through the class's own `__setitem__`."""
    value = Upper(a=1)
    value["b"] = 2

    assert Box().trip(value) == {"a": 1, "B": 2}


def test_class_that_cannot_be_made_again_is_refused_when_recorded() -> None:
    """Not on replay, when it is too late."""
    with pytest.raises(EncodingError, match="Strict"):
        Box().encode([Strict(1)])


def test_long_chain_of_objects_is_stored() -> None:
    """A linked list of some hundred dataclasses fits."""
    value: Any = None
    for n in range(120):
        value = Hit(str(n), tags=[value])

    back = Box().trip(value)

    assert back == value


def test_value_nested_too_deeply_is_an_error_not_a_crash() -> None:
    """The hint says what to do."""
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]

    with pytest.raises(EncodingError, match="nested too deeply"):
        Box().encode(value)


def test_unknown_codec_and_unknown_kind_hint_at_a_newer_version() -> None:
    """A store written by a later version is refused in words."""
    box = Box()
    for payload in (Payload("json9", b"1"), Payload("tree1", b'{"$":"hologram","v":1}')):
        with pytest.raises(EncodingError, match="newer version"):
            box.decode(payload)


def test_damaged_text_is_an_integrity_error() -> None:
    """Truncated JSON does not surface as a parser's error."""
    for payload in (Payload("json1", b'{"a":'), Payload("tree1", b"")):
        with pytest.raises(IntegrityError):
            Box().decode(payload)


def test_missing_definition_says_which_cell_to_run() -> None:
    """Decoding a notebook class that is not defined names it."""
    with pytest.raises(EncodingError, match="Hit9") as caught:
        Box().decode(Payload("tree1", b'{"$":"obj","t":"__main__:Hit9","v":{}}'))

    assert "run the cell" in caught.value.hint


def test_lossy_encoding_replaces_what_cannot_be_kept() -> None:
    """Arguments are kept for people: a client becomes its type's name, data stays data."""
    import threading

    box = Box()
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    value = {
        "q": "x",
        "lock": threading.Lock(),
        "fn": lambda: 1,
        "hit": Hit("t"),
        "cyclic": cyclic,
        "obj": object(),
    }

    payload = box.codec.encode_lossy(value, bind="run", has_chunk=box.chunks.__contains__)
    back = box.decode(payload)

    assert payload.codec == "tree1"
    assert back["q"] == "x"
    assert back["hit"] == Hit("t")
    assert back["lock"] == Omitted("lock")
    assert back["fn"] == Omitted("function")
    assert "list" in back["cyclic"][0].type


def test_lossy_encoding_never_raises() -> None:
    """Not even for an object that fails at every touch."""

    class Hostile(dict):  # type: ignore[type-arg]
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError(name)

        def items(self) -> Any:
            raise RuntimeError

    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    box = Box()
    for value in (Hostile(), [Hostile()], deep):
        payload = box.codec.encode_lossy(value, bind="run", has_chunk=box.chunks.__contains__)
        assert box.decode(payload) is not None


def test_lossy_encoding_does_not_walk_into_a_client() -> None:
    """An object that is somebody, not data, is a name: its keys and connections are not stored."""

    class Client:
        def __init__(self) -> None:
            self.api_key = "sk-very-secret"

    box = Box()
    payload = box.codec.encode_lossy({"client": Client()}, bind="run", has_chunk=box.chunks.__contains__)

    assert b"very-secret" not in payload.body
    assert box.decode(payload) == {"client": Omitted("Client")}


def test_classes_of_main_are_found_by_a_fresh_process(tmp_path: pathlib.Path) -> None:
    """Dataclass, model, enum, exception and pickled values of __main__ decode where only the definitions ran."""
    definitions = """
        import dataclasses, enum, pickle, sys, pydantic
        from jupyter_durable.codec import Codec, StoreKey
        codec, chunks = Codec(StoreKey(b"k" * 32)), {}
        @dataclasses.dataclass
        class Hit: title: str
        class User(pydantic.BaseModel): name: str
        class Color(enum.Enum): RED = 1
        class Oops(Exception): pass
        class Bag(set): pass
        def value(): return [Hit("t"), User(name="u"), Color.RED, Bag({1}), [Bag({Color.RED}), Hit], "x" * 5000]
    """
    write = """
        payload = codec.encode([value(), Oops("no")], bind="r", has_chunk=chunks.__contains__)
        sys.stdout.buffer.write(pickle.dumps((tuple(payload[:3]), [tuple(c) for c in payload.chunks])))
    """
    read = """
        from jupyter_durable.model import Chunk, Payload
        payload, stored = pickle.loads(sys.stdin.buffer.read())
        chunks = {c[0]: Chunk(*c) for c in stored}
        back, error = codec.decode(Payload(*payload), bind="r", load=chunks.__getitem__)
        assert back == value(), back
        assert [type(x) for x in back] == [type(x) for x in value()] and back[4][1] is Hit
        assert type(error) is Oops and error.args == ("no",)
        print("same")
    """

    def run(code: str, data: bytes = b"") -> bytes:
        script = textwrap.dedent(definitions) + textwrap.dedent(code)
        done = subprocess.run(
            [sys.executable, "-c", script], input=data, capture_output=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    assert run(read, run(write)).strip() == b"same"


def test_class_of_a_cell_that_ran_again_is_found_by_name() -> None:
    """In a notebook, `Hit` of the first execution comes back as the `Hit` there is now."""
    make = "import dataclasses\n@dataclasses.dataclass\nclass Hit:\n    t: str\n"
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(make, namespace)
    old = namespace["Hit"]("a")
    exec(make, namespace)

    back = Box(namespace=lambda: namespace).trip([old])

    assert type(back[0]) is namespace["Hit"]
    assert back[0].t == "a"


def test_codec_imports_no_library_until_a_value_needs_it() -> None:
    """Plain and typed values of the standard library cost no third-party import."""
    code = (
        "import sys, datetime; from jupyter_durable.codec import Codec, StoreKey\n"
        "from jupyter_durable.codec import canonical, display\n"
        "c = Codec(StoreKey(b'k' * 32)); v = [{'a': (1, datetime.date(1, 1, 1))}, 'x' * 9000]\n"
        "s = {}; p = c.encode(v, bind='r', has_chunk=s.__contains__); s = {x.digest: x for x in p.chunks}\n"
        "assert c.decode(p, bind='r', load=s.__getitem__) == v\n"
        "canonical.Canonical(b'k').digest(v); display.show(v)\n"
        "print(sorted({'numpy', 'pandas', 'polars', 'pydantic', 'cloudpickle', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=dict(os.environ),
    )

    assert done.stdout.strip() == "[]"
