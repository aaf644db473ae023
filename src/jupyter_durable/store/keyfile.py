"""The store's key: a file beside it, or the environment's `JUPYTER_DURABLE_KEY`."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
from pathlib import Path

from jupyter_durable.codec.secret import StoreKey
from jupyter_durable.errors import IntegrityError, StoreError
from jupyter_durable.store.place import sync_directory

VARIABLE = "JUPYTER_DURABLE_KEY"


def key_path(store: Path) -> Path:
    """Where the key of the store at `store` is kept: `journal.key` for `journal.db`.

    >>> key_path(Path("durable/journal.db")).name
    'journal.key'
    """
    return store.with_suffix(".key")


def parse_key(text: str, origin: str) -> StoreKey:
    """A key written as 64 hexadecimal digits or as base64. Raises `IntegrityError` naming `origin`.

    >>> parse_key("00" * 32, "example") == parse_key("A" * 43 + "=", "example")
    True
    """
    text = "".join(text.split())
    for decode in (bytes.fromhex, _base64):
        with contextlib.suppress(ValueError, binascii.Error):
            if len(secret := decode(text)) == 32:
                return StoreKey(secret)
    raise IntegrityError(
        f"{origin} holds no store key: 32 bytes, as 64 hexadecimal digits or as base64",
        hint=f"restore it from a backup; store and key belong together ({VARIABLE} may hold the key instead)",
    )


def _base64(text: str) -> bytes:
    return base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)


def find_key(store: Path) -> StoreKey | None:
    """The key of this store, from the environment or its file; None if there is neither.

    Raises `IntegrityError` if what is there is not a key, `StoreError` if it cannot be read.
    """
    if text := os.environ.get(VARIABLE, "").strip():
        return parse_key(text, f"the environment variable {VARIABLE}")
    path = key_path(store)
    try:
        return parse_key(path.read_text("ascii"), str(path))
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        return parse_key("", str(path))
    except OSError as error:
        raise StoreError(
            f"the store's key cannot be read: {path}: {error.strerror}",
            hint=f"make it readable for this user, or set {VARIABLE}",
        ) from error


def missing(store: Path) -> IntegrityError:
    """What to raise for a store without its key."""
    path = key_path(store)
    return IntegrityError(
        f"the key of {store} is missing: there is no {path}",
        hint=f"copy {path.name} from where the store came from to {path}, or set {VARIABLE} to what it holds",
    )


def make_key(store: Path, key: StoreKey | None = None) -> StoreKey:
    """A new key (or this one) in its file, readable for this user only and on disk when this returns.

    Raises `StoreError` if it cannot be written. Never replaces a file.
    """
    path = key_path(store)
    key = key or StoreKey.generate()
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(fd, 0o600)
            os.write(fd, key.secret.hex().encode() + b"\n")
            os.fsync(fd)
        except BaseException:
            path.unlink()
            raise
        finally:
            os.close(fd)
        sync_directory(path.parent)
    except OSError as error:
        raise StoreError(
            f"the store's key cannot be written: {path}: {error.strerror}",
            hint=f"choose another place with JUPYTER_DURABLE_STORE, or set {VARIABLE}",
        ) from error
    return key
