"""Authenticated encryption: `seal` for secrets inside values, `wrap` for bytes of any size.

Deterministic (SIV, as in RFC 5297): the MAC of the plain text is the nonce of the cipher, so

    tag    = BLAKE2b-128(mac key,  len(bind) || bind || text)
    stream = BLAKE2b-512(enc key,  tag || 0) || BLAKE2b-512(enc key, tag || 1) || ...
    sealed = tag || text XOR stream

A random nonce would make the same secret new bytes in every step, and with it every message list it
is in; and it would be one more thing that must never repeat. What determinism gives away is that two
secrets *of one run* are equal (`bind`, the run's id, is part of the tag). Unsealing decrypts and
compares the tag in constant time: altered, truncated or swapped bytes are refused.

`wrap` is the same with keys of its own, over the deflated text, with SHAKE128(enc key || tag) as the
stream: 5 ms a megabyte. Chunks are wrapped without a `bind`: equal chunks are stored once, whichever
runs they are in, as unsealed ones are.
"""

from __future__ import annotations

import hashlib
import hmac
import zlib

from jupyter_durable.errors import IntegrityError

_TAG = 16
_FLOOR = 256  # bytes below which compressing does not pay
_PROBE = 4096
_WORTH = 0.9


class Sealer:
    """Seals with a 32-byte key (`StoreKey.derive("seal")`).

    >>> sealer = Sealer(b"k" * 32)
    >>> sealer.unseal(sealer.seal(b"sk-1234", "run-1"), "run-1")
    b'sk-1234'
    """

    def __init__(self, key: bytes) -> None:
        self._mac = hashlib.blake2b(key=key, person=b"seal1-mac", digest_size=_TAG)
        self._enc = hashlib.blake2b(key=key, person=b"seal1-enc", digest_size=64)
        self._wrap_mac = hashlib.blake2b(key=key, person=b"seal2-mac", digest_size=_TAG)
        self._wrap_enc = hashlib.blake2b(key=key, person=b"seal2-enc", digest_size=32).digest()

    def _tag(self, text: bytes, bind: str, state: hashlib.blake2b | None = None) -> bytes:
        mac = (state or self._mac).copy()
        name = bind.encode()
        mac.update(len(name).to_bytes(8, "little") + name)
        mac.update(text)
        return mac.digest()

    def _stream(self, tag: bytes, size: int) -> int:
        blocks = bytearray()
        for counter in range(-(-size // 64)):
            block = self._enc.copy()
            block.update(tag + counter.to_bytes(8, "little"))
            blocks += block.digest()
        return int.from_bytes(blocks[:size], "little")

    def _xor(self, text: bytes, tag: bytes) -> bytes:
        return _xor(text, self._stream(tag, len(text)))

    def seal(self, text: bytes, bind: str) -> bytes:
        """Encrypt `text` for the run `bind`."""
        tag = self._tag(text, bind)
        return tag + self._xor(text, tag)

    def unseal(self, sealed: bytes, bind: str) -> bytes:
        """The plain text. Raises `IntegrityError` if it was sealed with another key, for another run, or altered."""
        tag = sealed[:_TAG]
        text = self._xor(sealed[_TAG:], tag)
        if not hmac.compare_digest(tag, self._tag(text, bind)):
            raise _refusal()
        return text

    def wrap(self, data: bytes, bind: str = "") -> bytes:
        """Compress, where it pays, and encrypt.

        >>> sealer = Sealer(b"k" * 32)
        >>> sealer.unwrap(sealer.wrap(b"sk-1234"))
        b'sk-1234'
        """
        packed = _deflate(data) if len(data) >= _FLOOR else None
        text = b"\1" + packed if packed is not None else b"\0" + data
        tag = self._tag(text, bind, self._wrap_mac)
        return tag + self._wrap_xor(text, tag)

    def unwrap(self, wrapped: bytes, bind: str = "") -> bytes:
        """What `wrap` was given. Raises `IntegrityError` as `unseal` does."""
        tag = wrapped[:_TAG]
        text = self._wrap_xor(wrapped[_TAG:], tag)
        if not hmac.compare_digest(tag, self._tag(text, bind, self._wrap_mac)):
            raise _refusal()
        return zlib.decompress(text[1:], -15) if text[0] else text[1:]

    def _wrap_xor(self, text: bytes, tag: bytes) -> bytes:
        stream = hashlib.shake_128(self._wrap_enc + tag).digest(len(text))
        return _xor(text, int.from_bytes(stream, "little"))


def _xor(text: bytes, stream: int) -> bytes:
    return (int.from_bytes(text, "little") ^ stream).to_bytes(len(text), "little")


def _deflate(data: bytes) -> bytes | None:
    """The data compressed; None if it does not shrink by a tenth."""
    if len(data) > 8 * _PROBE and len(_compressed(data[:_PROBE])) > _WORTH * _PROBE:
        return None
    packed = _compressed(data)
    return packed if len(packed) < _WORTH * len(data) else None


def _compressed(data: bytes) -> bytes:
    state = zlib.compressobj(1, zlib.DEFLATED, -15)
    return state.compress(data) + state.flush()


def _refusal() -> IntegrityError:
    return IntegrityError(
        "a sealed secret does not verify: it was altered, or sealed with another key or for another run",
        hint="restore the store and its key from one backup, or start a new run with --new",
    )
