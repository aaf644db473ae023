"""Secrets in values: none is written in the clear, each comes back, none is shown."""

from __future__ import annotations

import dataclasses
import gzip
import json
import re
from base64 import b64decode
from collections import OrderedDict, defaultdict, deque
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest
from secret_texts import INNOCENT, KEYS, PEM

import jupyter_durable as durable
from jupyter_durable.codec import Codec, StoreKey, redaction
from jupyter_durable.codec.display import difference, show, show_call
from jupyter_durable.codec.redaction import mask
from jupyter_durable.errors import IntegrityError
from jupyter_durable.model import Chunk, Payload

pytestmark = pytest.mark.usefixtures("forgotten")

CODEC = Codec(StoreKey(b"k" * 32))


def encode(value: Any, **how: Any) -> tuple[Payload, dict[bytes, Chunk]]:
    """The payload, and its chunks apart."""
    payload = CODEC.encode(value, bind="run", has_chunk=lambda digest: False, **how)
    return payload._replace(chunks=()), {chunk.digest: chunk for chunk in payload.chunks}


def decode(stored: tuple[Payload, dict[bytes, Chunk]], **how: Any) -> Any:
    """The value again."""
    return CODEC.decode(stored[0], bind="run", load=stored[1].__getitem__, **how)


def written(stored: tuple[Payload, dict[bytes, Chunk]]) -> bytes:
    """All that gets to the disk, and what base64 in it stands for, inflated."""
    data = stored[0].body + b"".join(chunk.data for chunk in stored[1].values())
    texts = re.findall(rb'"([A-Za-z0-9+/]{8,}=*)"', data)
    parts = [data, *(b64decode(text) for text in texts if len(text) % 4 == 0)]
    return b"".join([*parts, *(gzip.decompress(part) for part in parts if part[:2] == b"\x1f\x8b")])


# -- stored ------------------------------------------------------------------------------------------------

KEY = KEYS["openai"]


@dataclasses.dataclass
class Account:
    """A record."""

    user: str
    note: str
    password: str = "hunter-two-plain"


class Bag(set):  # type: ignore[type-arg]
    """Only pickle keeps it."""


class Login(pydantic.BaseModel):
    """A model."""

    user: str
    refresh_token: str = "hunter-two-plain"
    note: str = ""


def _raised() -> ValueError:
    try:
        raise ValueError(f"bad key {KEY}")
    except ValueError as error:
        error.add_note(f"sent {KEY}")
        return error


def _bag() -> Bag:
    bag = Bag({1})
    bag.note = f"hunter-two-plain {KEY}"  # type: ignore[attr-defined]
    return bag


LONG = "lorem ipsum dolor sit amet, " * 400
VALUES: dict[str, Any] = {
    "text": f"call with {KEY} please",
    "bare": KEY,
    "dict": {"q": "a", "h": {"k": KEY}},
    "key of a dict": {KEY: 1, "n": 2},
    "list of dicts": [{"a": 1}, {"b": [KEY]}],
    "named": {"user": "me", "password": "hunter-two-plain"},
    "named, large": {"user": "me" * 4000, "password": "hunter-two-plain"},
    "named container": {"cookies": {"sid": "hunter-two-plain"}, "credentials": ["me", "hunter-two-plain"]},
    "header pairs": [("Accept", "x"), ("Cookie", "hunter-two-plain")],
    "raw headers": ((b"Authorization", b"authorization", b"hunter-two-plain"),),
    "tuple, set": (KEY, {KEY}, frozenset({KEY})),
    "ordered": OrderedDict([("n", "1"), ("secret", "hunter-two-plain")]),
    "default": defaultdict(list, {"api_key": "hunter-two-plain"}),
    "deque": deque([KEY]),
    "bytes": f"x {KEY}".encode(),
    "many bytes": f"{LONG} {KEY} {LONG}".encode(),
    "body": b'{"user": "me", "refresh_token": "hunter-two-plain"}',
    "gzipped body": gzip.compress(b'{"user": "me", "refresh_token": "hunter-two-plain"}' * 20),
    "JSON in a text": json.dumps({"call": json.dumps({"user": "me", "password": "hunter-two-plain"})}),
    "bytearray": bytearray(f"x {KEY}".encode()),
    "long text": f"{LONG} {KEY} {LONG}",
    "long text, late": LONG * 30 + KEY,
    "dataclass": Account("me", f"use {KEY}"),
    "model": Login(user="me", note=KEY),
    "secret": {"s": pydantic.SecretStr("hunter-two-plain"), "b": pydantic.SecretBytes(b"hunter-two-plain")},
    "pickled": [_bag()],
    "path": Path("/tmp") / KEY,
    "array of texts": np.array(["a", KEY]),
    "array of bytes": np.array([b"a", KEY.encode()]),
    "array of objects": np.array([None, KEY], dtype=object),
    "pem": {"cert": PEM},
    "name and value": [{"name": "DB_PASSWORD", "value": "hunter-two-plain"}, {"name": "n", "value": "1"}],
    "key and value": {"key": "authorization", "value": "hunter-two-plain", "n": 1},
    "a record as text": f"it was {Account('me', 'n')!r}",
}


@pytest.mark.slow
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_secrets_are_sealed_wherever_they_stand(value: Any) -> None:
    """Not in the stored bytes, also compressed or in base64; the value comes back as it was, types and all."""
    stored = encode(value)
    for secret in (KEY, "hunter-two-plain", PEM[40:80]):
        assert secret.encode() not in written(stored)
        assert "".join(f"{char}\0\0\0" for char in secret).encode() not in written(stored)
    back = decode(stored)
    assert type(back) is type(value)
    assert np.array_equal(back, value) if isinstance(value, np.ndarray) else repr(back) == repr(value)
    if isinstance(value, list) and isinstance(value[0], Bag):
        assert back[0].note == value[0].note  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_sealed_values_are_shown_as_dots(value: Any) -> None:
    """Whoever shows a stored value needs to know no pattern."""
    shown = show(decode(encode(value), hide=True), 400)
    assert KEY not in shown
    assert "hunter-two-plain" not in shown


def test_errors_are_sealed_with_their_notes_and_source_lines() -> None:
    """Message, note, attribute, and the line of code in the traceback."""
    stored = encode(_raised())
    assert KEY.encode() not in written(stored)
    assert b"raise ValueError" in written(stored)
    back = decode(stored)
    assert str(back) == f"bad key {KEY}"
    assert back.__notes__ == [f"sent {KEY}"]

    try:
        exec(compile(f"client = dict(api_key='{KEY}', n=1 / 0)", "cell", "exec"), {})
    except ZeroDivisionError as error:
        import linecache

        linecache.cache["cell"] = (1, None, [f"client = dict(api_key='{KEY}', n=1 / 0)\n"], "cell")
        stored = encode(error)
    assert KEY.encode() not in written(stored)
    assert b"client = dict(api_key='" in written(stored)


def test_what_the_user_redacts_is_sealed_in_every_shape() -> None:
    """Literals with quotes and other alphabets, patterns, in JSON, in text, in bytes; shown as dots by whoever shows it."""
    durable.redact('pass"wörd\n', r"cust-\d+")
    value = {"a": 'the pass"wörd\n!', "b": ["cust-4711"], "c": 'x pass"wörd\n'.encode(), "cust-1": 0}
    stored = encode(value)
    for secret in ("wörd", "w\\u00f6rd", "cust-4711", "cust-1"):
        assert secret.encode() not in written(stored)
    assert decode(stored) == value
    redaction._literals = redaction._patterns = redaction._forms = ()
    assert show(decode(stored, hide=True)) == "{'a': 'the •••!', 'b': ['•••'], 'c': •••, '•••': 0}"


def test_arguments_are_sealed_too() -> None:
    """Of a call in a few atoms, and of any other."""
    for args, kwargs in (
        ((KEY,), {}),
        ((1,), {"password": "hunter-two-plain"}),
        (({"a": [KEY]}, object()), {}),
    ):
        from jupyter_durable.codec.canonical import Canonical

        text = Canonical(b"k" * 32).identify(args, kwargs)[1]
        payload = CODEC.encode_call(args, kwargs, text, bind="run", has_chunk=lambda digest: False)
        data = written((payload, {}))
        assert KEY.encode() not in data
        assert b"hunter" not in data
        back = CODEC.decode(payload, bind="run", load=lambda digest: Chunk(digest, b""))
        assert repr(back[1]) == repr(kwargs)


def test_a_conversation_with_a_secret_still_shares_its_chunks() -> None:
    """Sealing is deterministic within a run: one more message is one more message on disk."""
    messages = [{"role": "user", "content": f"{n} {KEY} " + LONG[:900]} for n in range(60)]
    before = encode(messages)[1]
    after = encode([*messages, {"role": "user", "content": "next"}])[1]
    assert sum(len(chunk.data) for digest, chunk in after.items() if digest not in before) < 3000


def test_a_whole_payload_can_be_sealed() -> None:
    """Nothing of it is readable; large data shares chunks all the same, in other runs too; compression is kept."""
    value = {"cell": "print('a readable cell')", "blob": LONG.encode() * 20, "rows": [LONG[:2000]] * 3}
    stored = encode(value, seal=True)
    assert stored[0].codec == "sealed1"
    assert b"readable" not in written(stored)
    assert b"lorem" not in written(stored)
    assert decode(stored) == value
    assert len(written(stored)) < 30_000

    other = CODEC.encode(value, bind="other", has_chunk=lambda digest: False, seal=True)
    assert {chunk.digest for chunk in other.chunks} == stored[1].keys()
    assert other.body != stored[0].body
    for wrong in (other, stored[0]._replace(body=stored[0].body[:-1]), stored[0]._replace(body=b"")):
        with pytest.raises(IntegrityError, match="sealed secret"):
            CODEC.decode(wrong, bind="run", load=stored[1].__getitem__)
    readings = CODEC.seal_json({"os.urandom:16": ["AAAA"]}, bind="run")
    assert b"urandom" not in readings.body
    assert decode((readings, {})) == {"os.urandom:16": ["AAAA"]}


def test_innocent_values_are_written_as_before() -> None:
    """No secret, no other codec."""
    for value in ({"q": "a", "max_tokens": 5}, ["x"] * 5, "text", b"bytes", {"a": {"b": "risk-free"}}):
        assert encode(value)[0].codec in ("json1", "bytes1")
    many, chunks = encode([{"n": n, "text": INNOCENT[n % 16]} for n in range(40)])
    assert b"mix" not in many.body + b"".join(chunk.data for chunk in chunks.values())


def test_a_value_met_under_a_secret_name_is_a_secret_everywhere() -> None:
    """A token that `login()` returned, passed on by position; also after it was read back; words are not remembered."""
    stored = encode(
        {
            "access_token": "plain-8h8h-token",
            "password": "understanding",
            "s": pydantic.SecretStr("wx-4z4z-yy"),
        }
    )
    for secret in ("plain-8h8h-token", "wx-4z4z-yy"):
        assert secret.encode() not in written(encode([f"GET with {secret}", secret]))
        assert decode(encode([secret])) == [secret]
    assert mask("understanding") == "understanding"
    for name in ("_met", "_literals", "_forms"):
        setattr(redaction, name, ())
    assert mask("plain-8h8h-token") == "plain-8h8h-token"
    decode(stored)
    assert mask("plain-8h8h-token wx-4z4z-yy") == "••• •••"
    for number in range(1000):
        encode({"access_token": f"token-number-{number}"})
    assert len(redaction._literals) < 50
    assert mask("token-number-999 token-number-1") == "••• token-number-1"


# -- shown -------------------------------------------------------------------------------------------------


def test_a_secret_that_is_cut_is_not_shown_in_part() -> None:
    """Shortening comes after hiding."""
    for start in range(150, 215):
        assert "sk-" not in show("x" * start + " " + KEY, 200)
        assert "MIIE" not in show("x" * start + " " + PEM, 200)
    assert show_call("f", (KEY,), {"token": "tok-4711-0815"}) == "f('•••', token=•••)"


def test_differences_name_the_argument_and_not_the_secret() -> None:
    """In a divergence's text."""
    a, b = KEYS["github"], KEYS["github app"]
    assert difference({"k": a}, {"k": b}) == "k: '•••' recorded, another '•••' now"
    assert a not in difference({"x": f"{a} 1"}, {"x": f"{a} 2"})
    assert difference({"password": "a"}, {"password": "b"}) == "password: ••• recorded, another ••• now"
