"""What is shown of values: forms, tables, pages; nothing is imported or unpickled for it."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

import pytest

from jupyter_durable.codec import Codec, StoreKey
from jupyter_durable.model import Payload
from jupyter_durable.timeline import values
from jupyter_durable.timeline.inert import Named, Shown, look


class Colour(enum.Enum):
    """A class of the notebook."""

    RED = 1


@dataclasses.dataclass
class Point:
    """Another."""

    x: int
    y: Any = None


class Armed:
    """What it is pickled as runs when it is loaded."""

    fired: list[int] = []  # noqa: RUF012

    def __reduce__(self) -> Any:
        return Armed.fire, ()

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]

    @staticmethod
    def fire() -> Armed:
        """Say that it ran."""
        Armed.fired.append(1)
        return Armed()


def stored(value: Any) -> Any:
    """`value`, encoded and looked at."""
    codec = Codec(StoreKey(b"0" * 32))
    payload = codec.encode(value, bind="run", has_chunk=lambda digest: False)
    chunks = {chunk.digest: chunk for chunk in payload.chunks}
    return look(codec, payload, bind="run", load=chunks.__getitem__)


def test_what_is_looked_at_is_neither_imported_nor_unpickled() -> None:
    """Instances show their class's name and fields, pickles that they are one."""
    looked = stored({"p": Point(1, Point(2)), "c": Colour.RED, "f": len})
    assert isinstance(looked["p"], Shown)
    assert repr(looked["p"]) == "Point(x=1, y=Point(x=2, y=None))"
    assert repr(looked["c"]) == "Colour.RED"
    assert isinstance(looked["f"], Named)
    armed = stored([1, Armed()])
    Armed.fired.clear()
    assert repr(stored([1, Armed()]))
    fired = len(Armed.fired)  # encoding checks that it comes back; looking does not
    assert repr(armed) == "[1, <pickled>]"
    assert len(Armed.fired) == fired


def test_a_class_that_is_gone_is_still_shown() -> None:
    """A server has none of the notebook's definitions."""
    codec = Codec(StoreKey(b"0" * 32))
    text = b'{"$":"obj","t":"gone_module:Lost","v":{"s":{"x":1}}}'
    assert repr(look(codec, Payload("tree1", text), bind="run", load=lambda digest: None)) == "Lost(x=1)"  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        ("plain words", "text", "plain words"),
        ({"a": [1, None]}, "text", '{\n  "a": [\n    1,\n    null\n  ]\n}'),
        ([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], "table", None),
        (b"\x89PNG\r\n\x1a\n....", "image", None),
        ({"mimeType": "image/png", "data": "iVBORw0KGgo="}, "image", None),
        ({"mimeType": "image/svg+xml", "data": "PHN2Zz4="}, "text", None),
        (b"\xff\x00bytes", "text", "00000000  ff 00 62 79 74 65 73"),
        (float("nan"), "text", '"nan"'),
        (Point(1), "text", '{\n  "": "Point",\n  "x": 1,\n  "y": null\n}'),
    ],
)
def test_a_value_has_a_form(value: Any, form: str, text: str | None) -> None:
    """Text, a table or a picture, and never anything that acts."""
    shown = values.detail(stored(value))
    assert shown["form"] == form
    if text is not None:
        assert shown["text"] == text


def test_frames_and_arrays_are_tables_in_pages() -> None:
    """A hundred rows at a time."""
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"n": range(250), "text": ["<b>"] * 250})
    shown = values.detail(stored(frame))
    assert (shown["form"], shown["columns"], shown["size"], shown["next"]) == (
        "table",
        ["", "n", "text"],
        250,
        100,
    )
    assert values.detail(stored(frame), 200)["rows"][-1] == ["249", "249", "<b>"]
    assert "next" not in values.detail(stored(frame), 200)


def test_long_texts_come_in_pages() -> None:
    """From where the last one ended."""
    text = "".join(f"{n:06d}" for n in range(5000))
    first = values.detail(text)
    second = values.detail(text, first["next"])
    assert first["text"] + second["text"] == text
    assert "next" not in second
