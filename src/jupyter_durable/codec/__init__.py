"""Values to bytes and back, without losing anything on the way.

| payload codec | body |
|---|---|
| `json1` | JSON: exact dict, list, str, int, float, bool, None (`codec.plain`) |
| `bytes1` | the bytes themselves |
| `tree1` | JSON with typed nodes and references to chunks (`codec.writer`) |
| `signed1` | 16 bytes of MAC over run, codec, text and references; then as `tree1`, and may contain pickles |
| `sealed1` | the name of one of these, NUL and its body, encrypted (`Sealer.wrap`), as are its chunks |
| `wrapped1` | the same; but people may be shown it: what a scan finds in it is sealed once more |

What a tag means never changes, for payloads as for nodes: a new way to write gets a new tag, and
the old one stays readable.

Secrets are sealed on the way, whatever the value is (strings, bytes, keys of dicts, tracebacks, fields
with key-like names; `codec.shapes`, `codec.redaction`): `decode` gives them back, `decode(hide=True)` gives
dots. What is a secret as a whole (a snapshot, readings of `secrets`) is written with `seal=True`. What may hold one
that no scan can see, because it is compressed or a piece of something longer, is written with `wrap=True`.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Mapping
from typing import Any, Literal

from jupyter_durable.codec.names import main_namespace
from jupyter_durable.codec.plain import ATOMS, dumps, loads, plain
from jupyter_durable.codec.redaction import holds_bytes, holds_plain, remember
from jupyter_durable.codec.seal import Sealer
from jupyter_durable.codec.secret import StoreKey
from jupyter_durable.codec.shapes import innocent
from jupyter_durable.errors import EncodingError, IntegrityError
from jupyter_durable.model import Chunk, Payload

__all__ = ["Codec", "StoreKey"]

_SMALL = 2048  # bytes of JSON; smaller values are one body, whatever is in them
_ROOT = 4096
_MAC = 16
_VERIFY = "jupyter durable verify shows what was altered"


class Codec:
    """Encodes values for one store and decodes them again. Safe to use from several threads.

    `bind` is the run's id: signatures and sealed secrets hold for that run alone. `namespace` gives
    the notebook's definitions (default: those of `__main__`). `pickle="never"` refuses what only
    pickle could keep.

    >>> codec = Codec(StoreKey(b"0" * 32))
    >>> payload = codec.encode({"n": (1, 2)}, bind="run-1", has_chunk=lambda digest: False)
    >>> codec.decode(payload, bind="run-1", load=lambda digest: None)
    {'n': (1, 2)}
    """

    def __init__(
        self,
        key: StoreKey,
        *,
        pickle: Literal["auto", "never"] = "auto",
        namespace: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        self.pickle = pickle
        self.namespace = namespace or main_namespace
        self.sealer = Sealer(key.derive("seal"))
        self._key = key
        self._blob = hashlib.blake2b(key=key.derive("blob"), digest_size=16)

    def encode(
        self,
        value: Any,
        *,
        bind: str,
        has_chunk: Callable[[bytes], bool],
        what: str = "value",
        seal: bool = False,
        wrap: bool = False,
    ) -> Payload:
        """The payload of `value`, with those of its chunks that `has_chunk` does not know.

        `seal`: all of it encrypted and never shown, whatever is in it; `wrap`: all of it encrypted, and shown but
        for what a scan finds. Raises `EncodingError` naming the path to what cannot be stored, `what` being its root.
        """
        if seal:
            return self._seal_whole(self._encode(value, bind, has_chunk, what, wrapped=True), bind)
        if wrap:
            inner = _fast(value) or self._encode(value, bind, has_chunk, what, wrapped=True, scan=True)
            return self._seal_whole(inner, bind, "wrapped1")
        return _fast(value) or self._encode(value, bind, has_chunk, what)

    def seal_json(self, value: Any, *, bind: str) -> Payload:
        """`encode(seal=True)` for JSON data of any size, in one piece."""
        return self._seal_whole(Payload("json1", dumps(value).encode("utf-8", "surrogatepass")), bind)

    def _seal_whole(self, payload: Payload, bind: str, codec: str = "sealed1") -> Payload:
        inner = payload.codec.encode() + b"\0" + payload.body
        return payload._replace(codec=codec, body=self.sealer.wrap(inner, bind))

    def opened(self, payload: Payload, bind: str) -> Payload:
        """What is inside a `sealed1` or `wrapped1`; its chunks are encrypted. Raises `IntegrityError`."""
        name, _, body = self.sealer.unwrap(bytes(payload.body), bind).partition(b"\0")
        return payload._replace(codec=name.decode(), body=body)

    def encode_lossy(self, value: Any, *, bind: str, has_chunk: Callable[[bytes], bool]) -> Payload:
        """The same for what people read and replay does not need: arguments.

        What cannot be stored as typed data becomes a placeholder that names its type
        (`codec.kinds.Omitted`). Never pickles, never raises.
        """
        try:
            return _fast(value) or self._encode(value, bind, has_chunk, "", lossy=True)
        except Exception:  # noqa: BLE001 - a value may raise anything when it is looked at
            from jupyter_durable.codec.kinds import Omitted

            return self._encode(Omitted(type(value).__name__), bind, has_chunk, "", lossy=True)

    def encode_call(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        text: str | None,
        *,
        bind: str,
        has_chunk: Callable[[bytes], bool],
    ) -> Payload:
        """The same for the arguments of a call: decodes to `[list(args), kwargs]`.

        `text` is their JSON as `Canonical.identify` gives it, so that a small call is not written twice.
        """
        # With dicts in it, the keys of `text` are sorted: people want them in the order they were written in.
        if (
            text is not None
            and len(text) <= _SMALL
            and len(kwargs) < 2
            and "{" not in text[:-3]
            and not (holds_plain([*args, kwargs], text) or (kwargs and not innocent(kwargs)))
        ):
            body = text.encode("utf-8", "surrogatepass")
            if len(body) <= _SMALL:
                return Payload("json1", body)
        return self.encode_lossy([list(args), kwargs], bind=bind, has_chunk=has_chunk)

    def decode(
        self, payload: Payload, *, bind: str, load: Callable[[bytes], Chunk], hide: bool = False
    ) -> Any:
        """The value. `load` gives the chunk of a digest. `hide`: with dots for what is sealed, to be shown.

        Raises `IntegrityError` if a signature does not verify, before anything is unpickled;
        `EncodingError` if the code the value needs is not there, or is older than the value.
        """
        wrapped = payload.codec in ("sealed1", "wrapped1")
        codec, body, refs = (self.opened(payload, bind) if wrapped else payload)[:3]
        if codec == "json1":
            try:
                return loads(body)
            except ValueError:
                raise IntegrityError("a stored value is not readable", hint=_VERIFY) from None
        if codec == "bytes1":
            return bytes(body)
        if codec not in ("tree1", "signed1"):
            raise EncodingError(
                f"a stored value uses the unknown codec {codec!r}",
                hint="it was written by a newer version: pip install -U jupyter-durable",
            )
        from jupyter_durable.codec.reader import Reader

        signed = codec == "signed1"
        if signed:
            mac, body = bytes(body[:_MAC]), body[_MAC:]
            if not self._key.check("pickle", mac, bind.encode(), codec.encode(), body, *refs):
                raise IntegrityError(
                    "the signature of a stored value does not verify: it was altered, or belongs to another run",
                    hint=_VERIFY + "; nothing of it was loaded",
                )
        try:
            return Reader(self, bind, load, signed=signed, wrapped=wrapped, hide=hide).text(body, refs)
        except (IntegrityError, EncodingError):
            raise
        except Exception as error:
            raise EncodingError(
                f"a stored value cannot be made again: {type(error).__name__}: {error}",
                hint="restore the definitions it was made with, then resume; or fork before the step that made it",
            ) from error

    def digest(self, data: bytes, refs: tuple[bytes, ...]) -> bytes:
        """`StoreKey.mac("blob", data, *refs)`: the name of a chunk."""
        state = self._blob.copy()
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
        for ref in refs:
            state.update(b"\x10\0\0\0\0\0\0\0" + ref)
        return state.digest()

    def seal(self, value: Any, bind: str) -> bytes:
        """A pydantic secret as base64 of its sealed form."""
        from jupyter_durable.codec.writer import Writer

        if not isinstance(value, str) and hasattr(value, "get_secret_value"):
            remember(value.get_secret_value())
        text = Writer(self, bind, lambda digest: False, inline=True).value(value)
        assert isinstance(text, str)
        return b2a_base64(self.sealer.seal(text.encode("utf-8", "surrogatepass"), bind), newline=False)

    def seal_if_secret(self, value: Any, bind: str) -> bytes | None:
        """`seal`, for the objects inside a pickle; None for those that are no secrets."""
        if "pydantic" not in sys.modules or not hasattr(type(value), "get_secret_value"):
            return None
        from jupyter_durable.codec.models import is_secret

        return self.seal(value, bind) if is_secret(value) else None

    def unseal(self, sealed: str | bytes, bind: str) -> Any:
        """The secret. Raises `IntegrityError`."""
        from jupyter_durable.codec.reader import Reader

        text = self.sealer.unseal(a2b_base64(sealed), bind)
        value = Reader(self, bind, _no_chunk, signed=True).text(text, ())
        remember(value.get_secret_value() if hasattr(value, "get_secret_value") else value)
        return value

    def _encode(
        self,
        value: Any,
        bind: str,
        has_chunk: Callable[[bytes], bool],
        what: str,
        *,
        lossy: bool = False,
        wrapped: bool = False,
        scan: bool = False,
    ) -> Payload:
        from jupyter_durable.codec.spine import Ref, render, size
        from jupyter_durable.codec.writer import PickleWhole, Unstorable, Writer, fail

        make = functools.partial(Writer, self, bind, has_chunk, lossy=lossy, wrapped=wrapped, scan=scan)
        first = writer = make()
        deep = False
        try:
            try:
                pieces = writer.structure(value)
                if first.repeated:  # its objects stay alive meanwhile, so that no id is used again
                    writer = make(shared=first.repeated)
                    pieces = writer.structure(value)
            except (PickleWhole, RecursionError) as error:
                deep = isinstance(error, RecursionError)  # pickle gets by with fewer frames
                writer = make()
                pieces = writer.whole(value)
        except Unstorable as error:
            if not deep:
                raise fail(error, what) from error.__cause__
            raise EncodingError(
                f"{what}: nested too deeply to be stored", path=what, hint="return a flatter value"
            ) from None
        if size(pieces) >= _ROOT:
            pieces = ['{"$":"@","i":', Ref(writer.store(*render(pieces))), "}"]
        body, refs = render(pieces)
        chunks: Any = writer.chunks(refs)
        if not writer.signed:
            return Payload("tree1", body, refs, chunks)
        mac = self._key.mac("pickle", bind.encode(), b"signed1", body, *refs)
        return Payload("signed1", mac + body, refs, chunks)


def _fast(value: Any) -> Payload | None:
    """The payload of small values that JSON keeps as they are: most of all steps."""
    kind = type(value)
    if kind is dict or kind is list:
        if len(value) > _SMALL or plain(value, innocent) is None:
            return None
    elif kind is bytes:
        return Payload("bytes1", value) if len(value) <= _ROOT and not holds_bytes(value) else None
    elif kind not in ATOMS or (kind is str and len(value) > _SMALL):
        return None
    try:
        text = dumps(value)
    except (ValueError, RecursionError):  # digits beyond the interpreter's limit; depth
        return None
    if len(text) > _SMALL or holds_plain(value, text):
        return None
    body = text.encode("utf-8", "surrogatepass")
    return Payload("json1", body) if len(body) <= _SMALL else None


def _no_chunk(digest: bytes) -> Chunk:
    raise IntegrityError("a sealed secret refers to a chunk", hint=_VERIFY)
