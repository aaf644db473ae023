"""Values to text and chunks: one `Writer` encodes one value.

The text is JSON. What JSON has is written as JSON; everything else is an object whose key `"$"`
names what it is (a dict of the user's with such a key is written as `map`):

    {"$":"tuple","v":[...]}              parts of a typed value (`kinds`)
    {"$":"obj","t":"module:Class","v":…} a typed value of a class
    {"$":"list","l":[0,null,1]}          a long list, tuple: heads of its linked nodes (`spine`)
    {"$":"@","i":0} {"$":"s","i":0}      a large part, a long string, in the chunk refs[0]
    {"$":"raw","v":"base64" | [...]}     bytes; as pieces {"$":"r","i":0} when there are many
    {"$":"&","n":0,"v":…} {"$":"=","n":0}  a mutable object that occurs again, and where it does
    {"$":"pickle",...} {"$":"sealed",…}  signed pickle; sealed secret

Identity. A mutable object that occurs twice in a value comes back as one object. Objects in a cycle,
and values where a pickled part shares an object with another part, are pickled as a whole.
"""

from __future__ import annotations

import sys
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from jupyter_durable.codec import pickling
from jupyter_durable.codec.kinds import BIG_INT, Kind, Lenient, Plain, Raw, kind_of
from jupyter_durable.codec.names import name_of
from jupyter_durable.codec.plain import ATOMS, dumps, plain, short
from jupyter_durable.codec.spine import KB, MB, Pieces, Ref, cuts, link, render, size
from jupyter_durable.errors import EncodingError
from jupyter_durable.model import Chunk

if TYPE_CHECKING:
    from jupyter_durable.codec import Codec

LARGE = KB
"""Elements, dict values and strings from this size on become chunks."""
_ELEMENT = (
    2  # an element of a long list mostly has a node to itself anyway: twice as large before it is a chunk
)
_REFS = (
    2  # a list with more elements than this that are chunks is linked, or it would repeat all its references
)
_INLINE_RAW = 512
_ONE_PIECE = 4 * KB
_LAZY = 8 * MB
_STR = frozenset({str})
_DIGITS = 2000  # bits; JSON numbers up to here, far below the interpreter's limit on digits


class Unstorable(Exception):  # noqa: N818 - internal: becomes an EncodingError with its path
    """A part of the value cannot be stored; `path` grows on the way out."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.path: list[str] = []
        self.hint = hint


class PickleWhole(Exception):  # noqa: N818 - internal control flow
    """Identity can only be kept by one pickle of the whole value."""


class Writer:
    """Encodes one value.

    `lossy`: placeholders instead of pickles and errors. `shared`: ids that an earlier pass saw twice.
    `inline`: no chunks.
    """

    def __init__(
        self,
        codec: Codec,
        bind: str,
        has_chunk: Callable[[bytes], bool],
        *,
        lossy: bool = False,
        shared: set[int] | None = None,
        inline: bool = False,
    ) -> None:
        self._codec = codec
        self._bind = bind
        self._has_chunk = has_chunk
        self._lossy = lossy
        self._pending: dict[bytes, Chunk] = {}
        self._lazy = 0
        self._second = shared is not None
        self._shared = shared or set()
        self._inline = inline
        self._large = sys.maxsize if inline else LARGE
        self.repeated: set[int] = set()
        self._numbers: dict[int, int] = {}
        self._seen: set[int] = set()
        self._open: set[int] = set()
        self._pickled: set[int] = set()
        self._alive: list[Any] = []  # parts made on the way: an id must not be used again
        self.signed = False

    # -- values ----------------------------------------------------------------------------------

    def value(self, value: Any) -> Pieces:
        """The text of any value."""
        kind = type(value)
        if kind in ATOMS:
            return self._atom(value)
        if (kind is dict or kind is list) and len(value) <= 64:
            text = self._plain(value)
            if text is not None:
                return text
        return self.structure(value)

    def structure(self, value: Any) -> Pieces:
        """The text of a value that is known to be large, or not plain."""
        kind = type(value)
        if kind is dict:
            return self._tracked(value, self._dict)
        if kind is list:
            return self._tracked(value, self._list)
        if kind is tuple:
            return self._sequence("tuple", value)
        if kind in ATOMS:
            return self._atom(value)
        found = kind_of(kind)
        if found is None:
            if isinstance(value, type) or callable(value):
                name = name_of(value, self._codec.namespace)
                if name is not None:
                    return f'{{"$":"ref","v":{dumps(name)}}}'
            return self._pickle(value)
        if self._lossy and found.tag == "obj" and not found.canonical:
            return self._omit(value)  # a client, an agent: people need its name, not all it refers to
        return (
            self._tracked(value, lambda v: self._typed(found, v))
            if found.tracked
            else self._typed(found, value)
        )

    def _atom(self, value: Any) -> Pieces:
        kind = type(value)
        if kind is str and len(value) >= self._large:
            data = value.encode("utf-8", "surrogatepass")
            if len(data) <= _ONE_PIECE:
                return ['{"$":"s","i":', Ref(self.store(data, ())), "}"]
            return _join(['{"$":"str","v":', self._raw(Raw(data, True, True)), "}"])
        if kind is int and value.bit_length() > _DIGITS:
            return self._tagged(BIG_INT.tag, dumps(hex(value)))
        return dumps(value)

    def _plain(self, value: Any) -> str | None:
        if type(value) is dict:
            for item in value.values():  # a message: no use in writing it only to see that it is long
                if type(item) is str and len(item) >= self._large:
                    return None
        ids = plain(value)
        if ids is None or not (
            ids.isdisjoint(self._seen) and ids.isdisjoint(self._shared) and ids.isdisjoint(self._pickled)
        ):
            return None
        try:
            text = dumps(value)
        except ValueError:
            return None
        if len(text) >= self._large or '"$"' in text:
            return None
        self._seen |= ids
        return text

    def _tracked(self, value: Any, write: Callable[[Any], Pieces]) -> Pieces:
        key = id(value)
        if key in self._open:
            if self._lossy:
                return self._tagged("omitted", dumps(f"{type(value).__name__} (a cycle)"))
            raise PickleWhole
        if key in self._pickled:
            raise PickleWhole
        number = None
        if key in self._shared:
            number = self._numbers.setdefault(key, len(self._numbers))
        if key in self._seen:
            if self._second and number is None:
                raise PickleWhole  # a __getstate__ that makes new objects each time
            self.repeated.add(key)
            return f'{{"$":"=","n":{number or 0}}}'
        self._seen.add(key)
        self._open.add(key)
        try:
            pieces = write(value)
        finally:
            self._open.discard(key)
        return pieces if number is None else _join([f'{{"$":"&","n":{number},"v":', pieces, "}"])

    def _typed(self, kind: Kind, value: Any) -> Pieces:
        try:
            if kind.tag == "secret" and not self._inline:
                return self._tagged("sealed", dumps(self._codec.seal(value, self._bind).decode()))
            parts = kind.split(value)
        except Unstorable:
            raise
        except Exception:  # noqa: BLE001 - a user's __getstate__ or property may raise anything
            parts = None
        if parts is None:
            return self._pickle(value)
        self._alive.append(parts)
        name: list[Pieces] = [f'{{"$":"{kind.tag}",']
        if kind.typed:
            name += ['"t":', self._class(type(value)), ","]
        attributes = kind.tag in ("obj", "error", "model", "namespace")
        return _join([*name, '"v":', self._parts(parts, attributes=attributes), "}"])

    def _parts(self, parts: Any, *, attributes: bool = False) -> Pieces:
        """Parts are lists and dicts made for the occasion: no identity, no chain."""
        kind = type(parts)
        if kind is dict or kind is list:  # most records hold only atoms: one call to the C encoder
            text = self._flat(parts, parts.values() if kind is dict else parts)
            if text is not None:
                return text
        if kind is Plain:
            return self._parts(parts.items, attributes=attributes)
        if kind is Lenient:
            return self._lenient(parts.value)
        if kind is Raw:
            return _join(['{"$":"raw","v":', self._raw(parts), "}"])
        if kind is list:
            return _bracket([self._at(f"[{n}]", part) for n, part in enumerate(parts)])
        if kind is dict and "$" not in parts and all(type(key) is str for key in parts):
            pieces: list[Pieces] = []
            for key, part in parts.items():
                step = "" if type(part) in (Plain, Raw) else f".{key}" if attributes else f"[{key!r}]"
                pieces += [
                    f"{',' if pieces else '{'}{dumps(key)}:",
                    self._at(step, part, attributes=attributes),
                ]
            return _join([*pieces, "}"]) if pieces else "{}"
        return self._dict(parts) if kind is dict else self.child(parts)

    def _flat(self, parts: Any, items: Iterable[Any]) -> str | None:
        if not ATOMS.issuperset(map(type, items)):
            return None
        if type(parts) is dict and not _STR.issuperset(map(type, parts)):
            return None
        try:
            text = dumps(parts)
        except ValueError:
            return None
        return text if len(text) < self._large and '"$"' not in text else None

    def _at(self, step: str, part: Any, *, attributes: bool = False) -> Pieces:
        try:
            if type(part) in (Plain, Lenient, Raw):
                return self._parts(part, attributes=attributes)
            return self.child(part)
        except Unstorable as error:
            error.path.append(step)
            raise

    def _lenient(self, value: Any) -> Pieces:
        if self._lossy:
            return self.child(value)
        signed, seen = self.signed, set(self._seen)
        try:
            return self.child(value)
        except (Unstorable, PickleWhole, RecursionError):
            self.signed, self._seen = signed, seen  # what was written of it is thrown away
            return self._omit(value)

    def _omit(self, value: Any) -> str:
        return self._tagged("omitted", dumps(type(value).__name__))

    def _tagged(self, tag: str, text: str) -> str:
        return f'{{"$":"{tag}","v":{text}}}'

    def _class(self, cls: type) -> Pieces:
        name = name_of(cls, self._codec.namespace)
        if name is not None:
            return dumps(name)
        if hasattr(cls, "__pydantic_generic_metadata__"):
            from jupyter_durable.codec.models import generic_parts

            parts = generic_parts(cls)
            if parts is not None:
                return _join(
                    ['{"$":"generic","v":', _bracket([self.child(parts[0]), self.child(parts[1])]), "}"]
                )
        return self._pickle(cls)

    # -- containers ------------------------------------------------------------------------------

    def child(self, value: Any, factor: int = 1) -> Pieces:
        """An element or dict value: a chunk of its own when it is large."""
        pieces = self.value(value)
        if size(pieces) < self._large * factor:
            return pieces
        return ['{"$":"@","i":', Ref(self.store(*render(pieces))), "}"]

    def _dict(self, value: dict[Any, Any]) -> Pieces:
        pieces: list[Pieces] = []
        if "$" not in value and all(type(key) is str for key in value):
            for key, item in value.items():
                pieces += [f"{',' if pieces else '{'}{dumps(key)}:", self._at(f"[{key!r}]", item)]
            return _join([*pieces, "}"]) if pieces else "{}"
        for key, item in value.items():
            pieces += [self._at(f" key {short(key)}", key), self._at(f"[{short(key)}]", item)]
        return _join(['{"$":"map","v":', self._items("list", pieces), "}"])

    def _list(self, value: list[Any]) -> Pieces:
        return self._sequence("list", value)

    def _sequence(self, tag: str, value: Sequence[Any]) -> Pieces:
        items: list[Pieces] = []
        for item in value:
            try:
                items.append(self.child(item, _ELEMENT))
            except Unstorable as error:
                error.path.append(f"[{len(items)}]")
                raise
        return self._items(tag, items)

    def _items(self, tag: str, items: list[Pieces]) -> Pieces:
        chunked = sum([type(item) is list for item in items])
        if chunked > _REFS or (len(items) > 1 and sum(map(size, items)) >= self._large):
            heads: list[str | Ref] = [f'{{"$":"{tag}","l":[']
            for n, head in enumerate(link(items, self.store)):
                heads += ["," if n else "", "null" if head is None else head]
            return [*heads, "]}"]
        text = _bracket(items)
        return text if tag == "list" else _join([f'{{"$":"{tag}","v":', text, "}"])

    # -- bytes -----------------------------------------------------------------------------------

    def _raw(self, raw: Raw) -> Pieces:
        view = memoryview(raw.buffer)
        if view.nbytes <= _INLINE_RAW or self._inline:
            return f'"{b2a_base64(view.tobytes(), newline=False).decode()}"'
        if view.format != "B" or view.ndim != 1:
            view = view.cast("B")
        borders = cuts(len(view), grows=raw.grows)
        return self._items(
            "list", [['{"$":"r","i":', self._piece(view[a:b], raw.immutable), "}"] for a, b in borders]
        )

    def _piece(self, view: memoryview, immutable: bool) -> Ref:
        # Copy before hashing: a buffer that changes in between would be stored under a digest not its own.
        data: Any = view if immutable else view.tobytes()
        digest = self._codec.digest(data, ())
        if digest not in self._pending and (immutable or not self._has_chunk(digest)):
            self._pending[digest] = Chunk(digest, data)
            self._lazy += len(view) if immutable else 0
        return Ref(digest)

    def store(self, data: bytes, refs: tuple[bytes, ...]) -> bytes:
        """Make a chunk; its digest."""
        digest = self._codec.digest(data, refs)
        self._pending[digest] = Chunk(digest, data, refs)
        return digest

    def chunks(self, roots: Iterable[bytes]) -> Sequence[Chunk]:
        """The chunks below `roots` that are not stored yet, what others refer to first.

        A stored chunk is not looked into: chunks are stored with all they refer to, or not at all.
        """
        found: dict[bytes, Chunk] = {}
        stack = [(digest, False) for digest in roots]
        known: set[bytes] = set()
        while stack:
            digest, done = stack.pop()
            chunk = self._pending.get(digest)
            if chunk is None or digest in found or digest in known:
                continue
            if done:
                found[digest] = chunk
            elif self._has_chunk(digest):
                known.add(digest)
            else:
                stack.append((digest, True))
                stack.extend((ref, False) for ref in chunk.refs)
        if self._lazy > _LAZY:
            return LazyChunks(list(found.values()))
        return tuple(_solid(chunk) for chunk in found.values())

    # -- pickles ---------------------------------------------------------------------------------

    def _pickle(self, value: Any) -> Pieces:
        if self._lossy:
            return self._omit(value)
        name = type(value).__name__
        if self._codec.pickle == "never":
            raise Unstorable(
                f"a <{name}> would have to be pickled, and pickle is set to 'never'",
                "return a dataclass, a pydantic model or plain data instead, or allow pickle (pickle='auto')",
            )
        try:
            pickled = pickling.dump(
                value, self._codec.namespace, lambda item: self._codec.seal_if_secret(item, self._bind)
            )
        except Exception as error:
            blamed, path = pickling.blame(value)
            failure = Unstorable(
                f"a <{type(blamed).__name__}> cannot be stored ({short(error, 120)})",
                "return plain data (text, numbers, a dataclass) instead of the live object, "
                "or make the object inside the tool",
            )
            failure.path.extend(reversed(path))
            raise failure from error
        if not self._seen.isdisjoint(pickled.ids - {id(value)}) or not self._pickled.isdisjoint(pickled.ids):
            raise PickleWhole
        self._pickled |= pickled.ids - {id(value)}
        self._alive.append(value)
        self.signed = True
        parts = [Raw(pickled.data), *pickled.buffers]
        self._alive.append(parts)
        return _join(['{"$":"pickle","v":', self._parts(parts), "}"])

    def whole(self, value: Any) -> Pieces:
        """The value as one pickle."""
        return self._pickle(value)


class LazyChunks(Sequence[Chunk]):
    """Chunks whose bytes are copied out of the value one at a time, each time they are asked for."""

    __slots__ = ("_chunks",)

    def __init__(self, chunks: list[Chunk]) -> None:
        self._chunks = chunks

    def __len__(self) -> int:
        return len(self._chunks)

    def __iter__(self) -> Iterator[Chunk]:
        return map(_solid, self._chunks)

    @overload
    def __getitem__(self, index: int) -> Chunk: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Chunk]: ...
    def __getitem__(self, index: int | slice) -> Chunk | Sequence[Chunk]:
        if isinstance(index, slice):
            return LazyChunks(self._chunks[index])
        return _solid(self._chunks[index])


def _solid(chunk: Chunk) -> Chunk:
    return chunk if type(chunk.data) is bytes else chunk._replace(data=bytes(chunk.data))


def _join(parts: Iterable[Pieces]) -> Pieces:
    flat: list[str | Ref] = []
    refs = False
    for part in parts:
        if type(part) is str:
            flat.append(part)
        else:
            flat.extend(part)
            refs = True
    return flat if refs else "".join(flat)  # type: ignore[arg-type]


def _bracket(items: list[Pieces]) -> Pieces:
    if not items:
        return "[]"
    parts: list[Pieces] = []
    for item in items:
        parts += ["," if parts else "[", item]
    return _join([*parts, "]"])


def fail(error: Unstorable, what: str) -> EncodingError:
    """The error for the user."""
    path = what + "".join(reversed(error.path))
    return EncodingError(f"{path}: {error}", path=path, hint=error.hint)
