"""A run as a file for somewhere else: a report, data, spans, a regression test.

    export(store, run, format) ──> Exported ──> .write(path)

reading    the run as the exports read it: rows, values, failed attempts; nothing stored is imported or called
document   `json`: the run by a published schema
html       `html`: the timeline in one file that needs nothing else
otel       `otel`: OpenTelemetry's GenAI spans, as a file or sent to a collector
cassette   what of a run a test needs to replay it, as a file for a repository
regression `pytest`: a test file and its cassette

One function: `durable.open_store().export(run)`, `%durable export`, `jupyter durable export` and the server call it.
"""

from __future__ import annotations

import importlib
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_durable.errors import DurableError

if TYPE_CHECKING:
    from jupyter_durable.session.reading import Store

FORMATS = ("html", "json", "otel", "pytest")

_HOMES = {"html": "html", "json": "document", "otel": "otel", "pytest": "regression"}


@dataclass(frozen=True)
class Exported:
    """What an export made. `files`: contents by suggested name, the main one first.

    `left_out`: what is not in it, in words; `says`: what else is to be said (`otel` with an endpoint makes no files).
    `merge`: what becomes of a file that is there already (None: it is overwritten).
    """

    format: str
    run: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    says: str = ""
    merge: Callable[[str, bytes, bytes], bytes] | None = field(default=None, repr=False, compare=False)

    @property
    def text(self) -> str:
        """The main file as text; empty if there is none."""
        return next((data.decode() for data in self.files.values()), "")

    def write(self, path: str | Path | None = None) -> list[Path]:
        """Write the files: the main one to `path`, others beside it; None or a folder: under their own names.

        Each is there whole or not at all. Returns where they are. Raises `OSError`.
        """
        folder = folder_of(path, self.format)
        first = None if path is None or Path(path) == folder else Path(path).name
        folder.mkdir(parents=True, exist_ok=True)
        written: list[Path] = []
        for name, data in self.files.items():
            place = folder / (first if first is not None and not written else name)
            if self.merge is not None and place.exists():
                data = self.merge(name, place.read_bytes(), data)
            _replace(place, data)
            written.append(place)
        return written


def export(store: Store, run: str, format: str = "html", **how: Any) -> Exported:  # noqa: A002 - what people say
    """The run (an id, its beginning, or a name) as `format`: "html", "json", "otel" or "pytest".

    `how`: `endpoint` of `otel`, a collector's URL that the spans are sent to; `folder` of `pytest`, where the test will
    be. Secrets are masked in all of them. Raises `RunNotFoundError`, and `DurableError` for what cannot be exported.

    >>> from jupyter_durable.session import Session, open_store
    >>> store = open_store("memory:")
    >>> session = Session(store.journal)
    >>> session.close_run(session.new("demo"), None)
    'completed'
    >>> list(export(store, "demo").files)
    ['demo.html']
    """
    if format not in _HOMES:
        raise DurableError(f"there is no format {format!r}", hint="one of " + ", ".join(FORMATS))
    module = importlib.import_module(f"jupyter_durable.export.{_HOMES[format]}")
    try:
        made: Exported = module.export(store, store.run(run).id, **how)
    except TypeError as error:
        inside = error.__traceback__ is not None and error.__traceback__.tb_next is not None
        if inside or "unexpected keyword argument" not in str(error):
            raise
        raise DurableError(f"the format {format!r} takes no {str(error).rpartition(' ')[2]}") from None
    return made


def folder_of(path: str | Path | None, format: str) -> Path:  # noqa: A002 - what people say
    """The folder that an export to `path` goes to: that one, if it is one or can only be meant as one.

    >>> folder_of("tests", "pytest"), folder_of("out/report.html", "html"), folder_of(None, "html")
    (PosixPath('tests'), PosixPath('out'), PosixPath('.'))
    """
    target = Path(path) if path is not None else Path()
    named = str(path or "").endswith(("/", os.sep)) or (format == "pytest" and target.suffix != ".py")
    return target if path is None or target.is_dir() or named else target.parent


def slug(name: str) -> str:
    """A run's name as a part of file and function names.

    >>> slug("Nightly report: É/2026")
    'nightly_report_2026'
    """
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:60] or "run"


def _replace(place: Path, data: bytes) -> None:
    number, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name[:60]}.")
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(place)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
