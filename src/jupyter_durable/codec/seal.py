"""Authenticated encryption for secrets inside values, built on BLAKE2b alone.

Deterministic (SIV, as in RFC 5297): the MAC of the plain text is the nonce of the cipher, so

    tag    = BLAKE2b-128(mac key,  len(bind) || bind || text)
    stream = BLAKE2b-512(enc key,  tag || 0) || BLAKE2b-512(enc key, tag || 1) || ...
    sealed = tag || text XOR stream

A random nonce would make the same secret new bytes in every step, and with it every message list it
is in; and it would be one more thing that must never repeat. What determinism gives away is that two
secrets *of one run* are equal (`bind`, the run's id, is part of the tag). Unsealing decrypts and
compares the tag in constant time: altered, truncated or swapped bytes are refused.
"""

from __future__ import annotations

import hashlib
import hmac

from jupyter_durable.errors import IntegrityError

_TAG = 16


class Sealer:
    """Seals with a 32-byte key (`StoreKey.derive("seal")`).

    >>> sealer = Sealer(b"k" * 32)
    >>> sealer.unseal(sealer.seal(b"sk-1234", "run-1"), "run-1")
    b'sk-1234'
    """

    def __init__(self, key: bytes) -> None:
        self._mac = hashlib.blake2b(key=key, person=b"seal1-mac", digest_size=_TAG)
        self._enc = hashlib.blake2b(key=key, person=b"seal1-enc", digest_size=64)

    def _tag(self, text: bytes, bind: str) -> bytes:
        mac = self._mac.copy()
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
        mixed = int.from_bytes(text, "little") ^ self._stream(tag, len(text))
        return mixed.to_bytes(len(text), "little")

    def seal(self, text: bytes, bind: str) -> bytes:
        """Encrypt `text` for the run `bind`."""
        tag = self._tag(text, bind)
        return tag + self._xor(text, tag)

    def unseal(self, sealed: bytes, bind: str) -> bytes:
        """The plain text. Raises `IntegrityError` if it was sealed with another key, for another run, or altered."""
        tag = sealed[:_TAG]
        text = self._xor(sealed[_TAG:], tag)
        if not hmac.compare_digest(tag, self._tag(text, bind)):
            raise IntegrityError(
                "a sealed secret does not verify: it was altered, or sealed with another key or for another run",
                hint="restore the store and its key from one backup, or start a new run with --new",
            )
        return text
