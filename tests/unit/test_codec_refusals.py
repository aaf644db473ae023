"""What the codec refuses, with the path to it; what it replaces where it may lose something; how deep it goes."""

from __future__ import annotations

import types
from collections import deque
from typing import Any

import pytest
from codec_values import Box, Hit, Plain, User

from jupyter_durable.codec.kinds import Omitted
from jupyter_durable.errors import EncodingError, IntegrityError
from jupyter_durable.model import Payload


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


@pytest.mark.slow
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


@pytest.mark.slow
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
