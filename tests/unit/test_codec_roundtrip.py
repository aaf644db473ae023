"""Every kind of value comes back equal, of its own type, without pickle; what is shared stays shared."""

from __future__ import annotations

import copy
import math
import os
import pathlib
import subprocess
import sys
import textwrap
import types
from typing import Any

import pytest
from codec_values import VALUES, Box, Hit, Tags, User, equal


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


@pytest.mark.slow
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
