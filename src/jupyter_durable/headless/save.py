"""Notebook files: read with a clear complaint, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_durable.errors import DurableError

if TYPE_CHECKING:
    from jupyter_durable.journal.ports import JournalStore


def read(path: Path, store: JournalStore | None = None) -> Any:
    """The notebook at `path` as an nbformat 4 node. Raises `DurableError` if there is none.

    Cells without an id get one from their source, so that it is the same each time the file is read. `store`: the
    one that will know runs by it.
    """
    import nbformat

    try:
        data = json.loads(path.read_text("utf-8"))
        if not isinstance(data, dict) or not {"cells", "worksheets"} & data.keys():
            raise ValueError("there are no cells in it")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # missing ids are ours to fill, below
            nb = nbformat.reads(json.dumps(data), as_version=4)
            _fill_ids(nb, data.get("cells", []), store)
            nbformat.validate(nb)
    except OSError as error:
        raise DurableError(
            f"cannot read {path}: {error.strerror}", hint="give the path of a notebook (.ipynb)"
        ) from error
    except (ValueError, AttributeError, nbformat.ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise DurableError(
            f"{path} is no valid notebook: {reason}", hint="open it in Jupyter and save it again"
        ) from error
    return nb


def _fill_ids(nb: Any, raw: list[Any], store: JournalStore | None) -> None:
    if (nb.nbformat, nb.nbformat_minor) < (4, 5):
        return
    seen: Counter[str] = Counter()
    for cell, was in zip(nb.cells, raw, strict=False):
        if not was.get("id"):
            seen[cell.source] += 1
            end = f"-{seen[cell.source]}" if seen[cell.source] > 1 else ""
            cell.id = _made_id(cell.source.encode(), end, store)


def _made_id(source: bytes, end: str, store: JournalStore | None) -> str:
    plain = hashlib.blake2b(source, digest_size=4).hexdigest() + end
    if store is None or store.runs(name=f"cell-{plain}", limit=1):  # as 0.1.0 made them
        return plain
    # Under its key: what is in a short cell could be guessed from a plain digest.
    return store.key.mac("digest", b"cell", source).hex()[:8] + end


def write(nb: Any, path: Path) -> None:
    """Write the notebook to `path` atomically: a reader, or a crash, sees the old file or the new one.

    Raises `DurableError` if the place cannot be written; the old file is then as it was.
    """
    import nbformat

    text = nbformat.writes(nb)
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # In the same folder, or the rename might have to copy between file systems.
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text if text.endswith("\n") else text + "\n")
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())
        Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise DurableError(
            f"cannot write {path}: {error.strerror}",
            hint="make room, or choose another place with -o; then run the same command again",
        ) from error


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
