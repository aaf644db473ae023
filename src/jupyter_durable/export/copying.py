"""Making a cassette: payloads copied out of a store, secrets turned into dots, what was encrypted in the clear."""

from __future__ import annotations

import collections
import datetime
import decimal
import io
import json
import pathlib
import pickle
import re
import uuid
from base64 import b64encode
from binascii import a2b_base64
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from jupyter_durable.codec import Codec, StoreKey
from jupyter_durable.codec.pieces import scattered
from jupyter_durable.codec.redaction import HIDDEN, holds_bytes, mask, masked
from jupyter_durable.codec.shapes import is_secret
from jupyter_durable.errors import DurableError, IntegrityError
from jupyter_durable.export.cassette import FORMAT, VERSION, CassetteKey, to_json
from jupyter_durable.export.reading import Reading, made_by
from jupyter_durable.journal.rung import counted
from jupyter_durable.model import Entry, Payload
from jupyter_durable.session import exchanged, results

if TYPE_CHECKING:
    from jupyter_durable.session.reading import Store

_LEFT_OUT = frozenset({"output", "log"})  # entries that replay can do without
_SEALED = re.compile(r'\{"\$":"sealed","v":"([^"]*)"\}')
_REF = re.compile(r'\{"\$":"(s|r)","i":(\d+)\}')
_DECODER = json.JSONDecoder()


def make(store: Store, run_id: str, left: list[str]) -> dict[str, Any]:
    """The run as a cassette's JSON data; what cannot be in it is said in `left`.

    Raises `DurableError` for a run that has not come to its end.
    """
    reading = Reading(store, run_id)
    record, head = reading.record, reading.head
    if head["status"] not in ("completed", "failed"):
        raise DurableError(
            f"run {record.name!r} is {head['status']}: a test replays a run from its beginning to its end",
            hint="run its cell until it has completed, then export it",
        )
    copy = _Copy(reading)
    entries = [copy.entry(entry) for entry in store.journal.entries(record.id) if entry.type not in _LEFT_OUT]
    opened = reading.watch.feed.index.opened
    cell = (
        copy.cell(store._session.snapshot(record, reading.watch.feed.index)) if opened is not None else None
    )
    closed = reading.watch.feed.index.closed
    decode = reading.watch._session.decoder(record)
    came_to = results.result(closed, decode) if closed is not None else None
    line = record.meta.get("line") or {}
    if cell is not None:
        cell["line"] = line
    left += copy.left
    return {
        "format": FORMAT,
        "version": VERSION,
        "about": {
            "run": record.id,
            "root": record.root_id or record.id,
            "base": record.base_seq,
            "name": record.name,
            "status": head["status"],
            "error": mask(str(closed.meta.get("x", ""))) if closed is not None else "",
            "result": mask(came_to) if came_to is not None else None,
            "at": record.created_at,
            "cell_id": record.cell_id,
            "line": line,
            "made_by": made_by(),
        },
        "calls": [
            {
                "id": row["id"],
                "kind": row["kind"],
                "call": row.get("call", row["name"]),
                "says": row.get("says", ""),
            }
            for row in reading.rows
            # What was called inside of a call is covered by that one's outcome.
            if not row.get("old") and reading.parent(row) is None
        ],
        **({"cell": cell} if cell is not None else {}),
        "key": {
            "own": copy.key.secret.hex(),
            "digests": store.journal.key.derive("digest").hex(),
        },
        "entries": entries,
        "chunks": {
            name.hex(): [to_json(data), [ref.hex() for ref in refs]]
            for name, (data, refs) in copy.chunks.items()
        },
    }


class _NotKept(Exception):  # noqa: N818 - it is how the walk ends
    """A value that cannot be in a cassette; the argument says why."""


def _refusal(what: str) -> DurableError:
    return DurableError(
        f"{what} holds a secret, compressed or in pieces, that cannot be taken out of it",
        hint="a cassette of this run would give it away; html, json and otel show dots for it",
    )


class _Copy:
    """Copies payloads from a store into a cassette: secrets become dots, what was encrypted is in the clear."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._old = reading.watch._session.codec
        self._lineage = reading.watch._lineage
        self._run = reading.run_id
        self.key = CassetteKey(StoreKey.generate().secret, b"")
        self._new = Codec(self.key, pickle="never")
        self.chunks: dict[bytes, tuple[bytes, tuple[bytes, ...]]] = {}
        self.left: list[str] = []
        self._done: dict[tuple[bytes, str, bool], tuple[bytes, bool]] = {}
        self._secret = False  # whether there was one in what is being copied
        self._response = False  # whether that is a response, or a part of one
        self._looked: set[tuple[int, int]] = set()
        self._pieces: dict[tuple[int, int], bool] = {}

    def entry(self, entry: Entry) -> list[Any]:
        """An entry as JSON data."""
        meta = dict(entry.meta)
        payload = entry.payload
        if entry.type == "opened":
            meta, payload = {"name": meta.get("name", ""), **counted(meta)}, None
        elif entry.type == "resumed":
            meta = counted(meta)
        elif entry.type == "closed":
            meta = results.without(entry)
        made: list[Any] | None = None
        if payload is not None:
            self._secret = False
            self._response = self._is_response(entry)
            try:
                if not self._response and self._in_pieces(entry):
                    raise _NotKept("holds a secret in pieces")
                made = self._payload(payload, entry.seq)
            except _NotKept as error:
                self._say(entry, str(error))
                if entry.type in ("outcome", "chunk"):
                    meta["gone"] = str(error)
            if self._secret and entry.type == "start" and "d" in meta:
                meta["d"] = ""
            if meta.get("d") == "" and not self._reading.inside(entry.scope):
                self.left.append(
                    f"a secret among the arguments of step {entry.scope}.{entry.pos} ({meta['n']}): "
                    "the test recognises the call by its place and name"
                )
        return [entry.seq, entry.type, entry.scope, entry.pos, entry.at, meta, made]

    def _is_response(self, entry: Entry) -> bool:
        """Whether it is an exchange's. Raises `DurableError` for one with a secret that cannot be taken out."""
        step = self._reading.watch.feed.step(f"{entry.scope}.{entry.pos}")
        if step is None or step.kind not in ("model", "http") or entry.type not in ("outcome", "chunk"):
            return False
        place = entry.scope, entry.pos
        if place not in self._looked:
            self._looked.add(place)
            whole = self._reading.watch.feed.texts.whole(step)
            decode = self._reading.watch._session.decoder(self._reading.record)
            said = exchanged.response(whole, decode)
            _, _, _, body = exchanged._recorded(whole, decode)
            pieces = [body] if not step.chunks else [decode(one.payload, one.seq) for one in step.chunks[1:]]
            kept = "".join(
                mask(piece.decode("utf-8", "replace")) for piece in pieces if isinstance(piece, bytes)
            )
            plain = body.decode("utf-8", "replace")
            hidden = kept != plain
            if exchanged.hides(whole, decode) or (
                masked(said) != said and (not hidden or mask(kept) != kept)
            ):
                raise _refusal(f"the response of step {step.id} ({step.name})")
        return True

    def _in_pieces(self, entry: Entry) -> bool:
        """Whether the items of a generator hold a secret that none of them has whole."""
        place = entry.scope, entry.pos
        if entry.type == "chunk" and place not in self._pieces:
            step = self._reading.watch.feed.step(f"{entry.scope}.{entry.pos}")
            decode = self._reading.watch._session.decoder(self._reading.record)
            items = (decode(one.payload, one.seq) for one in (step.chunks or ())) if step is not None else ()
            self._pieces[place] = scattered(items)
        return entry.type in ("chunk", "outcome") and self._pieces.get(place, False)

    def _say(self, entry: Entry, why: str) -> None:
        step = self._reading.watch.feed.step(f"{entry.scope}.{entry.pos}")
        inside = self._reading.inside(entry.scope)
        if entry.type in ("outcome", "chunk") and step is not None and not inside:
            self.left.append(
                f"the result of step {step.id} ({step.name}), which {why}: say replay_cassette(..., "
                f"live={step.name!r}), so that the test makes this call"
            )

    def _payload(self, payload: Payload, seq: int) -> list[Any]:
        bind = next((run for run, upto in self._lineage if seq <= upto), self._run)
        wrapped = payload.codec in ("sealed1", "wrapped1")
        unseen = payload.codec == "sealed1"  # the writer of the other has looked for secrets
        if wrapped:
            payload = self._old.opened(payload, bind)
        codec, body, refs = payload[:3]
        if codec == "signed1":
            codec, body = "tree1", bytes(body)[16:]
        body = bytes(body)
        if codec == "tree1":
            body, refs = self._text(body, tuple(refs), bind, wrapped)
        elif unseen:
            body = self._scanned(body)
        return [codec, to_json(body), [ref.hex() for ref in refs]]

    def _scanned(self, body: bytes) -> bytes:
        """Text that was encrypted as a whole without being looked at."""
        text = body.decode("utf-8", "surrogateescape")
        hidden = mask(text)
        self._secret |= hidden != text
        return hidden.encode("utf-8", "surrogateescape")

    def _text(
        self, data: bytes, refs: tuple[bytes, ...], bind: str, wrapped: bool
    ) -> tuple[bytes, tuple[bytes, ...]]:
        """The text of one node, and the names of its chunks in the cassette."""
        text = data.decode("utf-8", "surrogatepass")
        if '"$":"pickle"' in text:
            raise _NotKept("can only be kept by pickle")
        kinds = {int(number): kind for kind, number in _REF.findall(text)}
        if '"$":"s' in text or '"$":"mix"' in text:
            text = _SEALED.sub(lambda found: self._resealed(found[1], bind), text)
            text = _nodes(text, "mix", lambda parts: self._mixed(parts, bind))
            text = _nodes(text, "sraw", lambda parts: self._raw(parts, refs, kinds, wrapped))
        if wrapped:
            text = self._scanned(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")
        made = tuple(self._chunk(ref, kinds.get(n, "@"), bind, wrapped) for n, ref in enumerate(refs))
        return text.encode("utf-8", "surrogatepass"), made

    def _chunk(self, digest: bytes, kind: str, bind: str, wrapped: bool) -> bytes:
        key = digest, kind, wrapped
        if key in self._done:
            found, secret = self._done[key]
            self._secret |= secret
            return found
        before, self._secret = self._secret, False
        refs: tuple[bytes, ...] = ()
        if kind == "sealed":
            data = b""
        else:
            chunk = self._reading.store.journal.chunk(digest)
            data, refs = bytes(chunk.data), tuple(chunk.refs)
            if wrapped:
                data = self._old.sealer.unwrap(data)
            if kind == "@":
                data, refs = self._text(data, refs, bind, wrapped)
            elif wrapped:
                data = self._scanned(data)
        name = self._new.digest(data, refs)
        self.chunks[name] = data, refs
        self._done[key] = name, self._secret
        self._secret |= before
        return name

    # -- secrets ---------------------------------------------------------------------------------

    def _resealed(self, sealed: str, bind: str) -> str:
        """A sealed value of the same type, with dots for what it was."""
        self._secret = True
        try:
            value = self._old.unseal(sealed, bind)
        except IntegrityError:  # another run's, in a chunk that both have
            value = HIDDEN
        if hasattr(value, "get_secret_value"):
            kind = type(value)
            inner = value.get_secret_value()
            hidden = kind(HIDDEN.encode() if isinstance(inner, bytes) else HIDDEN)
        else:
            hidden = HIDDEN.encode() if isinstance(value, bytes) else HIDDEN
        return f'{{"$":"sealed","v":{json.dumps(self._new.seal(hidden, self._run).decode())}}}'

    def _mixed(self, parts: list[Any], bind: str) -> str:
        self._secret = True
        dots = b64encode(self._new.sealer.seal(HIDDEN.encode(), self._run)).decode()
        made = [dots if n % 2 else part for n, part in enumerate(parts)]
        return f'{{"$":"mix","v":{json.dumps(made, separators=(",", ":"))}}}'

    def _raw(self, parts: Any, refs: tuple[bytes, ...], kinds: dict[int, str], wrapped: bool) -> str:
        """Bytes in which there may be a secret, in the clear but for that."""
        if isinstance(parts, str):
            pieces = [a2b_base64(parts)]
        else:
            numbers = [part["i"] for part in parts]
            pieces = [bytes(self._reading.store.journal.chunk(refs[n]).data) for n in numbers]
            kinds |= dict.fromkeys(numbers, "sealed")
            if wrapped:  # as every chunk of such a payload
                pieces = [self._old.sealer.unwrap(piece) for piece in pieces]
        if not wrapped or isinstance(parts, str):
            pieces = [self._old.sealer.unwrap(piece) for piece in pieces]
        data = b"".join(pieces)
        hidden = self._scanned(data)
        if hidden == data:  # compressed, or known to nobody here
            if self._response:
                raise _refusal("a response in this run")
            self._secret, hidden = True, HIDDEN.encode()
        return f'{{"$":"raw","v":"{b64encode(hidden).decode()}"}}'

    # -- the cell --------------------------------------------------------------------------------

    def cell(self, snapshot: Any) -> dict[str, Any] | None:
        """The cell that was the run, as far as it is text and plain data; None: it was none."""
        if not isinstance(snapshot, Mapping) or "cell" not in snapshot:
            return None
        names = snapshot["namespace"]
        items = [tuple(item) for item in names["items"]]
        inputs: dict[str, Any] = {}
        missing = {name: mask(why) for name, why in names["missing"].items()}
        values = _plain_values(names["blob"], [name for kind, name, *_ in items if kind == "value"])
        for name, value in values.items():
            try:
                payload = self._new.encode(
                    _without_secrets(value), bind=self._run, has_chunk=lambda digest: False, what=name
                )
            except (DurableError, _NotPlain):
                missing[name] = "its value is no plain data, so it is not in the cassette"
                continue
            self.chunks |= {chunk.digest: (bytes(chunk.data), tuple(chunk.refs)) for chunk in payload.chunks}
            inputs[name] = [payload.codec, to_json(bytes(payload.body)), [ref.hex() for ref in payload.refs]]
        return {
            "source": mask(snapshot["cell"]),
            "definitions": [
                [kind, name, mask(source)] for kind, name, source, *_ in items if kind != "value"
            ],
            "inputs": inputs,
            "missing": missing,
        }


def _nodes(text: str, tag: str, made: Callable[[Any], str]) -> str:
    """`text` with every node of a kind replaced by what `made` makes of its parts."""
    start = f'{{"$":"{tag}","v":'
    parts, at = [], 0
    while (found := text.find(start, at)) >= 0:
        value, end = _DECODER.raw_decode(text, found + len(start))
        parts += [text[at:found], made(value)]
        at = end + 1  # the brace
    return "".join([*parts, text[at:]])


# -- inputs: of a pickle, what needs no code -------------------------------------------------------


class _NotPlain(Exception):  # noqa: N818 - it is how the walk ends
    pass


class _Other:
    """Stands for everything in a pickle that is not plain data; made without calling anything of the user's."""

    def __new__(cls, *args: Any, **kwargs: Any) -> _Other:
        return object.__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> _Other:
        return self

    def __setstate__(self, state: Any) -> None: ...
    def __setitem__(self, key: Any, value: Any) -> None: ...
    def append(self, value: Any) -> None: ...
    def extend(self, values: Any) -> None: ...
    def add(self, value: Any) -> None: ...


_HARMLESS: dict[tuple[str, str], Any] = {
    (kind.__module__, kind.__qualname__): kind
    for kind in (
        *(set, frozenset, bytearray, complex, range, slice, collections.OrderedDict, collections.deque),
        *(datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone),
        *(decimal.Decimal, uuid.UUID, pathlib.PosixPath, pathlib.PurePosixPath, pathlib.PureWindowsPath),
    )
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return _HARMLESS.get((module, name), _Other)

    def persistent_load(self, pid: Any) -> Any:
        return _Other()


def _plain_values(blob: bytes, names: list[str]) -> dict[str, Any]:
    """The records of a snapshot by name. Nothing but data of Python's own is made; the rest are `_Other`s."""
    found: dict[str, Any] = {}
    reader = _Unpickler(io.BytesIO(blob))
    for name in names:
        try:
            found[name] = reader.load()
        except Exception:  # noqa: BLE001 - records share one memo: after one that failed, none can be read
            break
    return {name: found.get(name, _Other()) for name in names}


def _without_secrets(value: Any, depth: int = 0) -> Any:
    """Plain data with dots for secrets. Raises `_NotPlain`."""
    if depth > 50:
        raise _NotPlain
    kind = type(value)
    if kind is str:
        return mask(value)
    if kind in (bytes, bytearray):
        return kind(HIDDEN.encode()) if holds_bytes(bytes(value)) else value
    if kind in (dict, collections.OrderedDict):
        return kind(
            (
                _without_secrets(key, depth + 1),
                HIDDEN
                if isinstance(item, str | bytes) and is_secret(key, item)
                else _without_secrets(item, depth + 1),
            )
            for key, item in value.items()
        )
    if kind in (list, tuple, set, frozenset, collections.deque):
        return kind(_without_secrets(item, depth + 1) for item in value)
    if value is None or kind in (bool, int, float) or (kind.__module__, kind.__qualname__) in _HARMLESS:
        return value
    raise _NotPlain
