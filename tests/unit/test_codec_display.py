"""Values as people see them."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

import numpy as np
import pydantic
import pytest

from jupyter_durable.codec.display import difference, show, show_call
from jupyter_durable.codec.kinds import Omitted


class Color(enum.Enum):
    """An enum."""

    RED = 1


@dataclasses.dataclass
class Hit:
    """A dataclass."""

    title: str
    score: float


class Login(pydantic.BaseModel):
    """A model with a secret."""

    user: str
    password: pydantic.SecretStr


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"q": "a", "n": [1, (2.5, None)]}, "{'q': 'a', 'n': [1, (2.5, None)]}"),
        (Hit("t", 0.5), "Hit(title='t', score=0.5)"),
        (Color.RED, "Color.RED"),
        (ValueError("no", 1), "ValueError('no', 1)"),
        (np.zeros((3, 4), "f4"), "ndarray(3 × 4 float32)"),
        (b"x" * 5000, "<5,000 bytes>"),
        (object(), "<object>"),
        (Login(user="u", password=pydantic.SecretStr("hunter")), "Login(user='u', password=SecretStr(•••))"),
        ({"api_key": "abc", "max_tokens": 5}, "{'api_key': •••, 'max_tokens': 5}"),
        ({"Authorization": "Bearer abc"}, "{'Authorization': •••}"),
        ("token sk-abcdefghijklmnopqrstuvwx here", "'token ••• here'"),
        (Omitted("Lock"), "<Lock, not stored>"),
        ("two\nlines", "'two\\nlines'"),
        ({1, 2}, "{1, 2}"),
        (Hit, "Hit"),
    ],
)
def test_value_is_shown_on_one_line(value: Any, text: str) -> None:
    """Types by their fields, secrets as dots, arrays by their shape."""
    assert show(value) == text


def test_long_values_are_cut_at_the_limit() -> None:
    """Whatever the size, the line has at most `limit` characters and says that it goes on."""
    for value in (
        "x" * 10**6,
        list(range(10**6)),
        {"k" * n: n for n in range(500)},
        [["y" * 50] * 9] * 9,
        10**5000,
    ):
        for limit in (20, 80, 200):
            text = show(value, limit)
            assert len(text) <= limit
            if limit < 60 and not isinstance(value, int):
                assert "…" in text


def test_show_never_raises_and_asks_a_repr_once() -> None:
    """A slow or failing repr costs one call; a cycle ends."""

    class Slow:
        calls = 0

        def __repr__(self) -> str:
            Slow.calls += 1
            return "slow\nrepr at 0x7f00"

    class Failing:
        def __repr__(self) -> str:
            raise RuntimeError

    cycle: list[Any] = []
    cycle.append(cycle)

    assert show(Slow()) == "slow repr"
    assert Slow.calls == 1
    assert "RuntimeError" in show([1, Failing()])
    assert len(show(cycle)) < 60


def test_call_is_shown_as_it_is_written() -> None:
    """Name, positional and keyword arguments."""
    assert show_call("fetch", ("u",), {"n": 3, "api_key": "s"}) == "fetch('u', n=3, api_key=•••)"
    assert show_call("f", (), {}) == "f()"
    assert len(show_call("f", ("x" * 500,), {}, limit=40)) == 40


@pytest.mark.parametrize(
    ("recorded", "current", "text"),
    [
        ({"q": "a"}, {"q": "b"}, "q: 'a' recorded, 'b' now"),
        ({"q": 1}, {"q": 1.0}, "q: 1 recorded, 1.0 now"),
        (
            {"m": [{"c": "x"}, {"c": "y"}]},
            {"m": [{"c": "x"}, {"c": "z"}]},
            "m[1].c: 'y' recorded, 'z' now",
        ),
        ({"h": Hit("t", 1.0)}, {"h": Hit("u", 1.0)}, "h.title: 't' recorded, 'u' now"),
        ({"a": 1}, {"a": 1, "b": 2}, "b: nothing recorded, 2 now"),
        ({"a": 1}, {}, "a: 1 recorded, nothing now"),
        ([1, 2], [1], "value: 2 items recorded, 1 items now"),
        ({"x": (1,)}, {"x": [1]}, "x: (1,) recorded, [1] now"),
        ({"k": {1, 2}}, {"k": {2, 1}}, ""),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, ""),
        ({"api_key": "one"}, {"api_key": "two"}, "api_key: ••• recorded, another ••• now"),
        ({"n": np.arange(3)}, {"n": np.arange(3)}, ""),
    ],
)
def test_difference_names_the_first_argument_that_differs(recorded: Any, current: Any, text: str) -> None:
    """The path and both values, or nothing if they are the same call."""
    assert difference(recorded, current) == text


def test_difference_of_long_texts_shows_the_place() -> None:
    """Two texts that differ at their end are not shown by their beginnings."""
    text = difference({"p": "x" * 500 + " now 12:01"}, {"p": "x" * 500 + " now 12:02"})

    assert "12:01" in text
    assert "12:02" in text


def test_omitted_client_is_the_same_as_a_live_one() -> None:
    """Recorded arguments hold a placeholder where the current call holds the client."""

    class Client:
        pass

    assert difference({"c": Omitted("Client"), "q": 1}, {"c": Client(), "q": 1}) == ""
