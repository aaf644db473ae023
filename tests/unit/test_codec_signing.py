"""Signatures and seals: nothing unverified is loaded, nothing secret is in the clear."""

from __future__ import annotations

import pathlib
import pickle
from typing import Any

import pydantic
import pytest

from jupyter_durable.codec import Codec, StoreKey
from jupyter_durable.codec.seal import Sealer
from jupyter_durable.errors import IntegrityError
from jupyter_durable.model import Chunk, Payload

KEY = StoreKey(b"k" * 32)
CODEC = Codec(KEY)
WITNESS = pathlib.Path("witness")


class Bag(set):  # type: ignore[type-arg]
    """Has a reduce of its own, so only pickle keeps it."""


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return pathlib.Path.touch, (self.path,)


class Login(pydantic.BaseModel):
    """A model with a secret."""

    user: str
    password: pydantic.SecretStr
    pin: pydantic.SecretBytes = pydantic.SecretBytes(b"0000-pin")


def encode(value: Any, bind: str = "run") -> tuple[Payload, dict[bytes, Chunk]]:
    """The payload, and its chunks apart."""

    payload = CODEC.encode(value, bind=bind, has_chunk=lambda digest: False)
    return payload._replace(chunks=()), {chunk.digest: chunk for chunk in payload.chunks}


def decode(payload: Payload, chunks: dict[bytes, Chunk], bind: str = "run", codec: Codec = CODEC) -> Any:
    """The value of a payload and its chunks."""

    return codec.decode(payload, bind=bind, load=chunks.__getitem__)


def test_pickled_value_is_signed_and_comes_back() -> None:
    """What no kind keeps goes through a signed pickle."""
    payload, chunks = encode({"bag": Bag({1})})

    assert payload.codec == "signed1"
    assert decode(payload, chunks) == {"bag": {1}}


@pytest.mark.parametrize("position", [0, 15, 16, 30, -1])
def test_any_altered_byte_is_refused(position: int) -> None:
    """Signature, text and pickle: one flipped bit anywhere."""
    payload, chunks = encode([Bag({1}), "text"])
    body = bytearray(payload.body)
    body[position] ^= 1

    with pytest.raises(IntegrityError, match="signature"):
        decode(payload._replace(body=bytes(body)), chunks)


def test_payload_of_another_run_or_key_is_refused() -> None:
    """A signature holds for one run of one store."""
    payload, chunks = encode(Bag({1}))

    with pytest.raises(IntegrityError):
        decode(payload, chunks, bind="other")
    with pytest.raises(IntegrityError):
        decode(payload, chunks, codec=Codec(StoreKey(b"x" * 32)))


def test_forged_pickle_is_never_executed(tmp_path: pathlib.Path) -> None:
    """A pickle that would write a file is refused in every place an attacker can put it."""
    target = tmp_path / "executed"
    bomb = pickle.dumps(Bomb(target))
    from base64 import b64encode

    node = b'{"$":"pickle","v":[{"$":"raw","v":"%s"}]}' % b64encode(bomb)
    good, chunks = encode(Bag({1}))
    for payload in (
        Payload("tree1", node),
        Payload("signed1", good.body[:16] + node),
        Payload("signed1", bytes(16) + node),
        Payload("signed1", node),
        Payload("tree1", good.body[16:]),
    ):
        with pytest.raises(IntegrityError):
            decode(payload, chunks)

    assert not target.exists()


def test_pickle_swapped_in_a_chunk_is_never_executed(tmp_path: pathlib.Path) -> None:
    """Large pickles live in chunks: their content is checked against the signed digest before it is loaded."""
    target = tmp_path / "executed"
    payload, chunks = encode([Bag(range(5000)), "x" * 3000])
    assert chunks
    for digest in chunks:
        swapped = {**chunks, digest: Chunk(digest, pickle.dumps(Bomb(target)), chunks[digest].refs)}
        with pytest.raises(IntegrityError):
            decode(payload, swapped)

    assert not target.exists()


def test_order_of_references_is_signed() -> None:
    """Chunks cannot be exchanged for one another."""
    payload, chunks = encode([Bag(range(3000)), Bag(range(3000, 9000))])
    assert len(payload.refs) > 1

    with pytest.raises(IntegrityError):
        decode(payload._replace(refs=payload.refs[::-1]), chunks)


def test_secrets_are_not_in_the_stored_bytes() -> None:
    """SecretStr and SecretBytes are sealed, alone, in models, in pickled objects and in lossy arguments."""
    bag = Bag({1})
    bag.login = Login(user="me", password="hunter-two")  # type: ignore[attr-defined,arg-type]
    value = {"a": pydantic.SecretStr("hunter-two"), "m": Login(user="me", password="hunter-two"), "b": bag}  # type: ignore[arg-type]

    for encoder in (CODEC.encode, CODEC.encode_lossy):
        payload = encoder(value, bind="run", has_chunk=lambda digest: False)
        stored = payload.body + b"".join(chunk.data for chunk in payload.chunks)
        assert b"hunter" not in stored
        assert b"0000-pin" not in stored
        back = decode(payload, {chunk.digest: chunk for chunk in payload.chunks})
        assert back["a"] == value["a"]
        assert back["m"] == value["m"]
        assert back["m"].pin.get_secret_value() == b"0000-pin"
    payload, chunks = encode(value)
    assert decode(payload, chunks)["b"].login == bag.login  # type: ignore[attr-defined]


def test_pickle_of_a_secret_hides_it_even_when_base64_is_undone() -> None:
    """The pickle itself holds the sealed form."""
    from base64 import b64decode

    bag = Bag()
    bag.key = pydantic.SecretStr("hunter-two")  # type: ignore[attr-defined]
    payload, _ = encode(bag)
    raw = payload.body.split(b'"v":"')[1].split(b'"')[0]

    assert b"hunter" not in b64decode(raw)


def test_long_secret_comes_back() -> None:
    """A secret larger than a chunk is still sealed as one."""
    secret = pydantic.SecretStr("s" * 10_000)
    payload, chunks = encode([secret])

    assert not any(b"sss" in chunk.data for chunk in chunks.values())
    assert decode(payload, chunks) == [secret]


def test_sealed_secret_of_another_run_is_refused() -> None:
    """A sealed value cannot be carried to another run."""
    payload, chunks = encode([pydantic.SecretStr("hunter-two")])

    with pytest.raises(IntegrityError, match="sealed secret"):
        decode(payload, chunks, bind="other")


def test_sealer_refuses_alteration_and_truncation() -> None:
    """Every byte of tag and text counts."""
    sealer = Sealer(b"k" * 32)
    for text in (b"", b"x", b"y" * 64, b"z" * 1000):
        sealed = sealer.seal(text, "run")
        assert sealer.unseal(sealed, "run") == text
        for damaged in (
            sealed[:-1],
            b"",
            sealed + b"\0",
            bytes([sealed[0] ^ 1]) + sealed[1:],
            sealed[:-1] + bytes([sealed[-1] ^ 1]),
        ):
            with pytest.raises(IntegrityError):
                sealer.unseal(damaged, "run")


def test_equal_secrets_of_one_run_seal_to_equal_bytes() -> None:
    """A message list with a secret in it still shares its chunks."""
    assert encode([pydantic.SecretStr("a")]) == encode([pydantic.SecretStr("a")])
    assert encode([pydantic.SecretStr("a")], "r1")[0].body != encode([pydantic.SecretStr("a")], "r2")[0].body
