"""A cassette: what of a run a test needs to replay it, as one JSON file for a repository.

Copied from the journal are the calls with their outcomes, streams, readings of clocks and random numbers, and, of a cell,
its source, the definitions it needs and the inputs that are plain data. It is data, and only data:

- *no secrets*: what is sealed in the store is replaced by dots here. A call with such an argument is recognised
  by its place and name alone;
- *no pickles*: a value that only pickle could keep is left out, and said so. Nothing in a cassette is ever unpickled, so
  it needs no signature, and works on another machine and Python;
- *no key that opens anything*: it has a key of its own. From the store comes only the key under which digests of arguments
  are made, without which no call could be recognised. Whoever has that and your journal could guess short values
  in it; for runs that go to a public repository use a store of their own (`--store`).
"""

from __future__ import annotations

import json
import pathlib
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from jupyter_durable.codec import Codec, StoreKey
from jupyter_durable.codec.secret import Purpose
from jupyter_durable.errors import DurableError, IntegrityError, RunNotFoundError
from jupyter_durable.model import Chunk, Entry, InboxItem, Payload, RunRecord

FORMAT = "jupyter-durable.cassette"
VERSION = 1


@dataclass(frozen=True)
class CassetteKey(StoreKey):
    """A key of a cassette's own, but for the digests of arguments."""

    digests: bytes = field(default=b"", repr=False)

    def derive(self, purpose: Purpose) -> bytes:
        """See `StoreKey`."""
        return self.digests if purpose == "digest" else super().derive(purpose)


class AnyDigest(str):
    """The digest of arguments with a secret in them, which the cassette does not know: equal to every other."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str)

    def __ne__(self, other: object) -> bool:
        return not isinstance(other, str)

    __hash__ = str.__hash__


class Cassette:
    """A cassette, read: one run as a `JournalStore` that can only be read.

    `about` says in words what was recorded, `calls` the same for each call; `cell` is the cell that was the run
    (`source`, `line`, `definitions`, `inputs`, `missing`), None for a run of a script.
    """

    def __init__(self, data: Mapping[str, Any], url: str = "cassette:") -> None:
        if data.get("format") != FORMAT or data.get("version") != VERSION:
            raise DurableError(
                f"{url} is no cassette of version {VERSION}",
                hint="export the run again: jupyter durable export RUN --format pytest",
            )
        self.url = url
        self.about: dict[str, Any] = data["about"]
        self.calls: list[dict[str, Any]] = data["calls"]
        self.cell: dict[str, Any] | None = data.get("cell")
        self.key: StoreKey = CassetteKey(
            bytes.fromhex(data["key"]["own"]), bytes.fromhex(data["key"]["digests"])
        )
        self._chunks = {
            bytes.fromhex(name): Chunk(bytes.fromhex(name), from_json(body), _digests(refs))
            for name, (body, refs) in data["chunks"].items()
        }
        self._entries = [self._entry(*parts) for parts in data["entries"]]
        about = self.about
        self._record = RunRecord(
            id=about["run"],
            name=about["name"],
            status=about["status"],
            created_at=about["at"],
            updated_at=about["at"],
            root_id=about["root"],
            base_seq=about["base"],
            head_seq=self._entries[-1].seq if self._entries else 0,
            meta={"line": (self.cell or {}).get("line", about.get("line", {}))},
        )

    def _entry(
        self, seq: int, kind: Any, scope: int, pos: int, at: float, meta: dict[str, Any], payload: Any
    ) -> Entry:
        if meta.get("d") == "":
            meta["d"] = AnyDigest("any")
        found = None
        if payload is not None:
            codec, body, refs = payload
            found = Payload(codec, from_json(body), _digests(refs))
        return Entry(seq, kind, scope, pos, at, meta, found, b"")

    def input(self, name: str) -> Any:
        """A recorded input of the cell. Raises `KeyError`."""
        assert self.cell is not None
        codec, body, refs = self.cell["inputs"][name]
        return Codec(self.key, pickle="never").decode(
            Payload(codec, from_json(body), _digests(refs)), bind=self._record.id, load=self.chunk
        )

    def rename(self, module: str, other: str) -> None:
        """Threads' functions recorded as of `module` are of `other` here: a script is imported by its tests."""
        start = f"{module}:"
        for n, entry in enumerate(self._entries):
            if entry.type == "scope" and str(entry.meta.get("k", "")).startswith(start):
                key = f"{other}:{entry.meta['k'][len(start) :]}"
                self._entries[n] = entry._replace(meta={**entry.meta, "k": key})

    # -- what a `JournalStore` does when it is read ------------------------------------------------

    def close(self) -> None:
        """Nothing is open."""

    def run(self, run_id: str = "", *, deleted: bool = False) -> RunRecord:
        """The run."""
        if not self._record.id.startswith(run_id):
            raise RunNotFoundError(f"no run {run_id} in {self.url}")
        return self._record

    def runs(self, **which: Any) -> list[RunRecord]:
        """The run, if it is meant."""
        return [self._record] if which.get("name") in (None, self._record.name) else []

    def entries(self, run_id: str, *, after: int = 0, upto: int | None = None) -> Iterator[Entry]:
        """See `JournalStore`."""
        for entry in self._entries:
            if after < entry.seq and (upto is None or entry.seq <= upto):
                yield entry

    def chunk(self, digest: bytes) -> Chunk:
        """See `JournalStore`."""
        try:
            return self._chunks[digest]
        except KeyError:
            raise IntegrityError(f"a part of a value is missing in {self.url}") from None

    def has_chunk(self, digest: bytes) -> bool:
        """See `JournalStore`."""
        return digest in self._chunks

    def inbox(self, run_id: str, *, after: int = 0) -> list[InboxItem]:
        """Nobody says anything to a cassette."""
        return []

    def version(self) -> int:
        """It does not change."""
        return 0

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)

        def refuse(*args: Any, **kwargs: Any) -> NoReturn:
            raise DurableError(f"a cassette is only read ({name})")

        return refuse


def load(path: str | pathlib.Path) -> Cassette:
    """The cassette in a file. Raises `OSError`, and `DurableError` for a file that is none."""
    where = pathlib.Path(path)
    try:
        data = json.loads(where.read_bytes())
    except ValueError:
        data = {}
    return Cassette(data if isinstance(data, dict) else {}, str(where))


# -- bytes as JSON ---------------------------------------------------------------------------------


def to_json(data: bytes) -> Any:
    """Text as text, so that a change of a cassette can be read; anything else in base64."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return [b64encode(data).decode()]


def from_json(data: Any) -> bytes:
    """The bytes that `to_json` was given."""
    return b64decode(data[0]) if isinstance(data, list) else str(data).encode()


def _digests(names: list[str]) -> tuple[bytes, ...]:
    return tuple(map(bytes.fromhex, names))
