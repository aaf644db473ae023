"""Values to text and chunks: one `Writer` encodes one value.

The text is JSON. What JSON has is written as JSON; everything else is an object whose key `"$"`
names what it is (a dict of the user's with such a key is written as `map`):

    {"$":"tuple","v":[...]}              parts of a typed value (`kinds`)
    {"$":"obj","t":"module:Class","v":…} a typed value of a class
    {"$":"list","l":[0,null,1]}          a long list, tuple: heads of its linked nodes (`spine`)
    {"$":"@","i":0} {"$":"s","i":0}      a large part, a long string, in the chunk refs[0]
    {"$":"raw","v":"base64" | [...]}     bytes; as pieces {"$":"r","i":0} when there are many
    {"$":"&","n":0,"v":…} {"$":"=","n":0}  a mutable object that occurs again, and where it does
    {"$":"pickle",...}                   signed pickle
    {"$":"sealed","v":…}                 a sealed secret
    {"$":"mix","v":["a ","sealed"," b"]} a string with secrets in it: every other part is sealed
    {"$":"sraw",...}                     as raw, every piece wrapped (`Sealer.wrap`): a secret is in there

Secrets are what `codec.redaction` finds in a string, what a key-like name says of the value beside it,
and what pydantic hides. A pickle is always wrapped: nobody can tell what is in it.

Identity. A mutable object that occurs twice in a value comes back as one object. Objects in a cycle,
and values where a pickled part shares an object with another part, are pickled as a whole.
"""

from __future__ import annotations

import types
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from jupyter_durable.codec import pickling
from jupyter_durable.codec.chunking import Chunker
from jupyter_durable.codec.kinds import BIG_INT, Kind, Lenient, Plain, Raw, kind_of
from jupyter_durable.codec.names import name_of
from jupyter_durable.codec.plain import ATOMS, dumps, plain, short
from jupyter_durable.codec.redaction import Concealed, holds_bytes, holds_plain, mask, remember, spans
from jupyter_durable.codec.shapes import innocent, is_secret, label
from jupyter_durable.codec.spine import KB, Pieces, Ref, bracket, join, render, size
from jupyter_durable.errors import EncodingError

if TYPE_CHECKING:
    from jupyter_durable.codec import Codec

_ELEMENT = (
    2  # an element of a long list mostly has a node to itself anyway: twice as large before it is a chunk
)
_ONE_PIECE = 4 * KB
_STR = frozenset({str})
_PAIRS = frozenset({"ordereddict", "defaultdict"})
_ROW = 4  # a name and its value may stand side by side in a sequence as short as this: a header
_DIGITS = 2000  # bits; JSON numbers up to here, far below the interpreter's limit on digits


_LIVE_OBJECT = "return plain data (text, numbers, a dataclass) instead of the live object, or make the object inside the tool"
_NOT_AWAITED = "nothing has awaited it: make the function async (`async def`, a decorator's wrapper and a lambda, too) and await it"


class Unstorable(Exception):  # noqa: N818 - internal: becomes an EncodingError with its path
    """A part of the value cannot be stored; `path` grows on the way out."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.path: list[str] = []
        self.hint = hint


class PickleWhole(Exception):  # noqa: N818 - internal control flow
    """Identity can only be kept by one pickle of the whole value."""


class Writer(Chunker):
    """Encodes one value.

    `lossy`: placeholders instead of pickles and errors. `shared`: ids that an earlier pass saw twice.
    `inline`: no chunks, for what is sealed as one. `wrapped`: the whole payload is, chunk by chunk; `scan`: and
    secrets in it are sealed all the same.
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
        wrapped: bool = False,
        scan: bool = False,
    ) -> None:
        super().__init__(codec, has_chunk, inline=inline, wrapped=wrapped)
        self._bind = bind
        self._lossy = lossy
        self._second = shared is not None
        self._shared = shared or set()
        self.repeated: set[int] = set()
        self._numbers: dict[int, int] = {}
        self._seen: set[int] = set()
        self._open: set[int] = set()
        self._pickled: set[int] = set()
        self._alive: list[Any] = []  # parts made on the way: an id must not be used again
        self.signed = False
        self._scan = scan or not (inline or wrapped)
        self._secret = 0  # under how many secret names the value at hand stands

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
        if kind is Concealed:
            self._secret += 1
            try:
                return self.value(value.value)
            finally:
                self._secret -= 1
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
        if kind is str:
            if self._scan:
                if self._secret and value:
                    remember(value)
                    return self._tagged("sealed", dumps(self._codec.seal(value, self._bind).decode()))
                if found := spans(value):
                    return self._mixed(value, found)
            return self._text(value)
        if kind is int and value.bit_length() > _DIGITS:
            return self._tagged(BIG_INT.tag, dumps(hex(value)))
        return dumps(value)

    def _mixed(self, value: str, secrets: list[tuple[int, int]]) -> Pieces:
        parts: list[Pieces] = []
        last = 0
        for start, end in secrets:
            data = value[start:end].encode("utf-8", "surrogatepass")
            sealed = b2a_base64(self._codec.sealer.seal(data, self._bind), newline=False)
            parts += [self._text(value[last:start]), dumps(sealed.decode())]
            last = end
        return join(['{"$":"mix","v":', bracket([*parts, self._text(value[last:])]), "}"])

    def _text(self, value: str) -> Pieces:
        if len(value) >= self._large:
            data = value.encode("utf-8", "surrogatepass")
            if len(data) <= _ONE_PIECE:
                return ['{"$":"s","i":', Ref(self.store(data, ())), "}"]
            return join(['{"$":"str","v":', self.raw(Raw(data, True, True)), "}"])
        return dumps(value)

    def _plain(self, value: Any) -> str | None:
        if type(value) is dict:
            for item in value.values():  # a message: no use in writing it only to see that it is long
                if type(item) is str and len(item) >= self._large:
                    return None
        if self._secret:
            return None
        ids = plain(value, innocent if self._scan else None)
        if ids is None or not (
            ids.isdisjoint(self._seen) and ids.isdisjoint(self._shared) and ids.isdisjoint(self._pickled)
        ):
            return None
        try:
            text = dumps(value)
        except ValueError:
            return None
        if len(text) >= self._large or '"$"' in text or (self._scan and holds_plain(value, text)):
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
        return pieces if number is None else join([f'{{"$":"&","n":{number},"v":', pieces, "}"])

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
        pairs = self._scan and kind.tag in _PAIRS
        text = self._row(parts) if pairs else self._parts(parts, attributes=attributes)
        return join([*name, '"v":', text, "}"])

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
            wrapped = self._is_secret(parts)
            tag = "sraw" if wrapped else "raw"
            return join([f'{{"$":"{tag}","v":', self.raw(parts, wrapped=wrapped), "}"])
        if kind is list:
            return self._row(parts)
        if kind is dict and "$" not in parts and all(type(key) is str for key in parts):
            pieces: list[Pieces] = []
            for key, part in parts.items():
                step = "" if type(part) in (Plain, Raw) else f".{key}" if attributes else f"[{key!r}]"
                pieces += [
                    f"{',' if pieces else '{'}{dumps(key)}:",
                    self._named(key, step, part, attributes=attributes),
                ]
            return join([*pieces, "}"]) if pieces else "{}"
        return self._dict(parts) if kind is dict else self.child(parts)

    def _row(self, parts: list[Any]) -> Pieces:
        before: list[Any] = [None, *parts]
        return bracket([self._named(before[n], f"[{n}]", part) for n, part in enumerate(parts)])

    def _is_secret(self, raw: Raw) -> bool:
        if not self._scan or not raw.scan:
            return False
        always = self._secret > 0 or raw.scan == "always"
        return always or holds_bytes(raw.buffer, packed=raw.scan == "packed")

    def _flat(self, parts: Any, items: Iterable[Any]) -> str | None:
        if self._secret:
            return None
        if not ATOMS.issuperset(map(type, items)):
            return None
        if type(parts) is dict and not _STR.issuperset(map(type, parts)):
            return None
        try:
            text = dumps(parts)
        except ValueError:
            return None
        if len(text) >= self._large or '"$"' in text:
            return None
        if self._scan:
            if holds_plain(parts, text):
                return None
            if type(parts) is dict:
                if not innocent(parts):
                    return None
            elif len(parts) <= _ROW and any(is_secret(*pair) for pair in pairwise(parts)):
                return None
        return text

    def _named(self, name: Any, step: str, part: Any, *, attributes: bool = False) -> Pieces:
        """A part that stands under, or after, a name: under that of a secret all its texts are sealed."""
        if not self._scan or not is_secret(name, part) or _is_schema(part):
            return self._at(step, part, attributes=attributes)
        self._secret += 1
        try:
            return self._at(step, part, attributes=attributes)
        finally:
            self._secret -= 1

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
                return join(
                    ['{"$":"generic","v":', bracket([self.child(parts[0]), self.child(parts[1])]), "}"]
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
            keys = list(value)
            if not self._scan or not holds_plain(keys, dumps(keys)):
                called = label(value) if self._scan else None
                for key, item in value.items():
                    name = called if called is not None and key == "value" else key
                    pieces += [
                        f"{',' if pieces else '{'}{dumps(key)}:",
                        self._named(name, f"[{key!r}]", item),
                    ]
                return join([*pieces, "}"]) if pieces else "{}"
        for key, item in value.items():
            pieces += [self._at(f" key {short(key)}", key), self._named(key, f"[{short(key)}]", item)]
        return join(['{"$":"map","v":', self.items("list", pieces), "}"])

    def _list(self, value: list[Any]) -> Pieces:
        return self._sequence("list", value)

    def _sequence(self, tag: str, value: Sequence[Any]) -> Pieces:
        items: list[Pieces] = []
        if self._scan and len(value) <= _ROW and any(is_secret(*pair) for pair in pairwise(value)):
            return self.items(tag, [self._named(*header) for header in _headers(value)])
        for item in value:
            try:
                items.append(self.child(item, _ELEMENT))
            except Unstorable as error:
                error.path.append(f"[{len(items)}]")
                raise
        return self.items(tag, items)

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
                _NOT_AWAITED if isinstance(blamed, types.CoroutineType) else _LIVE_OBJECT,
            )
            failure.path.extend(reversed(path))
            raise failure from error
        if not self._seen.isdisjoint(pickled.ids - {id(value)}) or not self._pickled.isdisjoint(pickled.ids):
            raise PickleWhole
        self._pickled |= pickled.ids - {id(value)}
        self._alive.append(value)
        self.signed = True
        parts = [Raw(pickled.data, scan="always"), *pickled.buffers]
        self._alive.append(parts)
        return join(['{"$":"pickle","v":', self._parts(parts), "}"])

    def whole(self, value: Any) -> Pieces:
        """The value as one pickle."""
        return self._pickle(value)


def fail(error: Unstorable, what: str) -> EncodingError:
    """The error for the user."""
    path = mask(what + "".join(reversed(error.path)))
    return EncodingError(mask(f"{path}: {error}"), path=path, hint=error.hint)


def _is_schema(value: Any) -> bool:
    """A tool's parameter called `password` is no secret, nor is what is said about it."""
    return type(value) is dict and not value.keys().isdisjoint(("type", "$ref", "anyOf", "enum"))


def _headers(value: Sequence[Any]) -> Iterable[tuple[Any, str, Any]]:
    return [(value[n - 1] if n else None, f"[{n}]", item) for n, item in enumerate(value)]
