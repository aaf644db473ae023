"""Text and chunks to values: one `Reader` decodes one payload. Chains are walked, not recursed."""

from __future__ import annotations

import json
from binascii import a2b_base64
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jupyter_durable.codec import pickling
from jupyter_durable.codec.kinds import RawParts, kind_tagged
from jupyter_durable.codec.names import named
from jupyter_durable.codec.redaction import HIDDEN, remember
from jupyter_durable.errors import EncodingError, IntegrityError
from jupyter_durable.model import Chunk

if TYPE_CHECKING:
    from jupyter_durable.codec import Codec

NEWER = "it was written by a newer version: pip install -U jupyter-durable"


class Hidden:
    """Stands for a secret where a value is shown.

    >>> Hidden()
    •••
    """

    def __repr__(self) -> str:
        return HIDDEN


class _Piece(bytes):
    """The digest of a chunk that is bytes, not text."""


class Reader:
    """Decodes one payload.

    `signed`: its signature was verified, so it may contain pickles. `wrapped`: its chunks are. `hide`:
    for people, so what is sealed comes as dots.
    """

    def __init__(
        self,
        codec: Codec,
        bind: str,
        load: Callable[[bytes], Chunk],
        *,
        signed: bool,
        wrapped: bool = False,
        hide: bool = False,
    ) -> None:
        self._codec = codec
        self._wrapped = wrapped
        self._hide = hide
        self._bind = bind
        self._load = load
        self._signed = signed
        self._refs: tuple[bytes, ...] = ()
        self._shared: dict[int, Any] = {}
        self._scan = json.JSONDecoder(object_hook=self._node).scan_once  # type: ignore[attr-defined]
        self._own: dict[str, Callable[[dict[str, Any]], Any]] = {
            "@": self._chunk,
            "r": lambda node: _Piece(self._refs[node["i"]]),
            "raw": self._raw,
            "s": lambda node: self._get(self._refs[node["i"]]).data.decode("utf-8", "surrogatepass"),
            "str": lambda node: self._raw(node).join().decode("utf-8", "surrogatepass"),
            "list": self._list,
            "tuple": lambda node: tuple(node["v"]) if "v" in node else tuple(self._list(node)),
            "map": lambda node: dict(zip(node["v"][::2], node["v"][1::2], strict=True)),
            "&": self._define,
            "=": lambda node: self._shared[node["n"]],
            "ref": lambda node: named(node["v"], codec.namespace),
            "pickle": self._pickle,
            "sealed": self._sealed,
            "mix": self._mixed,
            "sraw": self._wrapped_raw,
        }

    def text(self, data: bytes, refs: tuple[bytes, ...]) -> Any:
        """The value of one node."""
        before, self._refs = self._refs, refs
        try:
            return self._scan(data.decode("utf-8", "surrogatepass"), 0)[0]
        except StopIteration:
            raise IntegrityError(
                "a stored value is not readable", hint="jupyter durable verify shows what was altered"
            ) from None
        finally:
            self._refs = before

    def _get(self, digest: bytes) -> Chunk:
        chunk = self._load(digest)
        # The signature covers the digests; for what may reach pickle, the content must match them too.
        if self._signed and self._codec.digest(chunk.data, chunk.refs) != digest:
            raise IntegrityError(
                "a chunk of a signed value was altered", hint="jupyter durable verify shows what was altered"
            )
        return chunk._replace(data=self._codec.sealer.unwrap(chunk.data)) if self._wrapped else chunk

    def _node(self, node: dict[str, Any]) -> Any:
        tag = node.get("$")
        if tag is None:
            return node
        own = self._own.get(tag)
        if own is not None:
            return own(node)
        kind = kind_tagged(tag)
        if kind is None:
            raise EncodingError(f"a stored value is of the unknown kind {tag!r}", hint=NEWER)
        parts = node["v"]
        if self._hide and type(parts) is RawParts and parts.sealed:
            return Hidden()
        if kind.typed:
            return kind.join(self._class(node), parts)
        return kind.join(parts)

    def _class(self, node: dict[str, Any]) -> Any:
        cls = node["t"]
        return named(cls, self._codec.namespace) if isinstance(cls, str) else cls

    def _chunk(self, node: dict[str, Any]) -> Any:
        chunk = self._get(self._refs[node["i"]])
        return self.text(chunk.data, chunk.refs)

    def _define(self, node: dict[str, Any]) -> Any:
        self._shared[node["n"]] = node["v"]
        return node["v"]

    def _raw(self, node: dict[str, Any]) -> RawParts:
        raw = node["v"]
        if isinstance(raw, str):
            return RawParts([a2b_base64(raw)])
        return RawParts(raw, lambda digest: self._get(digest).data)

    def _wrapped_raw(self, node: dict[str, Any]) -> RawParts:
        raw, unwrap = node["v"], self._codec.sealer.unwrap
        if isinstance(raw, str):
            return RawParts([a2b_base64(raw)], unwrap, sealed=True)
        if self._wrapped:  # as all chunks are
            return RawParts(raw, lambda digest: self._get(digest).data, sealed=True)
        return RawParts(raw, lambda digest: unwrap(self._get(digest).data), sealed=True)

    def _sealed(self, node: dict[str, Any]) -> Any:
        value = self._codec.unseal(node["v"], self._bind)
        # Pydantic hides its secrets by itself.
        return Hidden() if self._hide and isinstance(value, str | bytes) else value

    def _mixed(self, node: dict[str, Any]) -> str:
        parts = list(node["v"])
        for n in range(1, len(parts), 2):
            data = (
                HIDDEN.encode() if self._hide else self._codec.sealer.unseal(a2b_base64(parts[n]), self._bind)
            )
            parts[n] = data.decode("utf-8", "surrogatepass")
            if not self._hide:
                remember(parts[n])  # whoever recorded it may have known it by what this process does not have
        return "".join(parts)

    def _list(self, node: dict[str, Any]) -> list[Any]:
        heads = [None if index is None else self._refs[index] for index in node["l"]]
        items: list[Any] = []
        ends: list[bytes] = []  # oldest first: of the segments of the level at hand
        for level in range(len(heads) - 1, -1, -1):
            below: list[bytes] = []
            for end in [*ends, heads[level]]:
                walk = self._walk(end, level)
                if level:
                    below += [chunk.refs[0] for chunk in walk]
                else:
                    for chunk in walk:
                        data = chunk.data
                        items += self.text(data if data[:1] == b"[" else data[1:], chunk.refs)
            ends = below
        return items

    def _walk(self, end: bytes | None, level: int) -> list[Chunk]:
        """The nodes of one segment, oldest first."""
        nodes: list[Chunk] = []
        while end is not None:
            chunk = self._get(end)
            nodes.append(chunk)
            if level:
                end = chunk.refs[1] if len(chunk.refs) > 1 else None
            else:
                end = None if chunk.data[:1] == b"[" else chunk.refs[0]
        nodes.reverse()
        return nodes

    def _pickle(self, node: dict[str, Any]) -> Any:
        if not self._signed:
            raise IntegrityError(
                "a pickle stands in a value that is not signed",
                hint="jupyter durable verify shows what was altered",
            )
        raw, *buffers = node["v"]
        try:
            return pickling.load(
                raw.join(),
                buffers,
                self._codec.namespace,
                lambda sealed: self._codec.unseal(sealed, self._bind),
            )
        except (AttributeError, ImportError) as error:
            raise EncodingError(
                f"a stored value needs code that is not there: {error}",
                hint="install or define it, then resume",
            ) from error
