"""The store's key, and the keys derived from it: one for each purpose, so that none can stand in for another."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import Literal

Purpose = Literal["chain", "head", "inbox", "digest", "blob", "pickle", "seal", "idempotency"]


@dataclass(frozen=True)
class StoreKey:
    """32 secret bytes that belong to one store.

    Derived keys are `BLAKE2b(key=secret, person=purpose)`, RFC 7693's personalisation.

    >>> StoreKey(b"0" * 32).derive("chain") != StoreKey(b"0" * 32).derive("pickle")
    True
    """

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != 32:
            raise ValueError(f"a store key has 32 bytes, not {len(self.secret)}")

    @classmethod
    def generate(cls) -> StoreKey:
        """A new random key."""
        return cls(secrets.token_bytes(32))

    def derive(self, purpose: Purpose) -> bytes:
        """The 32-byte key for one purpose."""
        return hashlib.blake2b(key=self.secret, person=purpose.encode(), digest_size=32).digest()

    def mac(self, purpose: Purpose, *parts: bytes) -> bytes:
        """A 16-byte MAC over `parts`; their lengths are part of it, so that borders cannot move."""
        state = hashlib.blake2b(key=self.derive(purpose), digest_size=16)
        for part in parts:
            state.update(len(part).to_bytes(8, "little"))
            state.update(part)
        return state.digest()

    def check(self, purpose: Purpose, mac: bytes, *parts: bytes) -> bool:
        """Whether `mac` is the MAC of `parts`, in constant time."""
        return hmac.compare_digest(mac, self.mac(purpose, *parts))
