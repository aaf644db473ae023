"""`pytest`: a run as a regression test of the agent that made it: a short test file, and its cassette.

What the test executes is the agent as it is now: the cell in its notebook, or the function in its script. See
`jupyter_durable.testing.replay_cassette` for what it compares, and `cassette` for what is in that file.
"""

from __future__ import annotations

import ast
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_durable.codec.redaction import mask
from jupyter_durable.export import Exported, copying, slug
from jupyter_durable.export.reading import made_by
from jupyter_durable.session.blocks import ARGUMENTS

if TYPE_CHECKING:
    from jupyter_durable.model import RunRecord
    from jupyter_durable.session.reading import Store


def export(store: Store, run_id: str, *, folder: str | Path | None = None) -> Exported:
    """See `jupyter_durable.export.export`. `folder`: where the test will be; None: here.

    A test file that is there already is left as it is: only its cassette is made anew.
    """
    left: list[str] = []
    data = copying.make(store, run_id, left)
    record = store.journal.run(run_id)
    name = slug(record.name)
    cassette = f"{name}.cassette.json"
    body = _lines(data).encode("utf-8", "replace")
    given = _arguments(store, record)
    test = _test(record, name, cassette, Path(folder) if folder is not None else Path(), data, given)
    return Exported(
        "pytest",
        run_id,
        {f"test_{name}.py": test.encode(), cassette: body},
        tuple(dict.fromkeys(left)),
        says="run it: pytest " + f"test_{name}.py",
        merge=_merge,
    )


def _merge(name: str, before: bytes, now: bytes) -> bytes:
    return now if name.endswith(".json") else before


def _lines(data: dict[str, Any]) -> str:
    """JSON with a line for each call and entry, so that a change of a cassette can be read."""
    parts = []
    for key, value in data.items():
        if isinstance(value, list):
            shown = "[\n  " + ",\n  ".join(json.dumps(one, ensure_ascii=False) for one in value) + "\n ]"
        elif key == "chunks":
            pairs = (
                f"{json.dumps(name)}: {json.dumps(one, ensure_ascii=False)}" for name, one in value.items()
            )
            shown = "{\n  " + ",\n  ".join(pairs) + "\n }"
        else:
            shown = json.dumps(value, indent=1, ensure_ascii=False).replace("\n", "\n ")
        parts.append(f" {json.dumps(key)}: {shown}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _arguments(store: Store, record: RunRecord) -> str | None:
    """What the function was called with, as Python writes it; None: that is not known, or there is a secret in it."""
    kept = store._session.snapshot(record, store._session.index(record.id))
    said = kept.get(ARGUMENTS) if isinstance(kept, dict) else None
    return said if isinstance(said, str) and mask(said) == said else None


def _test(
    record: RunRecord, name: str, cassette: str, folder: Path, data: dict[str, Any], given: str | None
) -> str:
    at = time.strftime("%Y-%m-%d", time.localtime(record.created_at))
    imports, call, note = _agent(record, folder, data, given)
    return (
        f'"""Replays the run {_quiet(record.name)} of {at}, offline: fails if the agent makes other calls or ends otherwise.\n\n'
        f"Made by {made_by()}. It is yours to change: exporting the run again makes a new cassette, and\n"
        f'leaves this file as it is.\n"""\n\n'
        f"{imports[0]}from pathlib import Path\n\n"
        f"from jupyter_durable.testing import replay_cassette\n\n"
        f'CASSETTE = Path(__file__).with_name("{cassette}")\n{imports[1]}\n\n'
        f"def test_{name}() -> None:\n"
        f"{note}"
        f"    replayed = replay_cassette(CASSETTE{call})\n"
        f"    # What it came to is in replayed.result and, for a cell, replayed.names: assert more of it here.\n"
        f"    assert replayed.calls == {len(data['calls'])}\n"
    )


def _quiet(text: str) -> str:
    return repr(text).replace("\\", "\\\\").replace('"""', "'''")


def _agent(
    record: RunRecord, folder: Path, data: dict[str, Any], given: str | None
) -> tuple[tuple[str, str], str, str]:
    """Imports before and after the others', the arguments that say what is executed, and lines above the call."""
    where = record.notebook
    if data.get("cell") is not None:
        if where is None or not Path(where).is_file():
            return (
                ("", ""),
                "",
                "    # The cell as it was recorded: its notebook is not known. `notebook=PATH` tests it as it is.\n",
            )
        notebook = f'\nNOTEBOOK = Path(__file__).parent / "{_relative(where, folder)}"\n'
        return ("", notebook), ", notebook=NOTEBOOK", ""
    found = _function(record.name, where)
    if where is None or found is None:
        note = "    # The function that was executed, and the arguments that it was called with:\n"
        return ("", ""), ", my_agent", note
    function, parameters = found
    module = Path(where).stem
    path = (
        f'sys.path.insert(0, str(Path(__file__).parent / "{_relative(str(Path(where).parent), folder)}"))\n'
    )
    if given is not None:
        parameters = ""
    late = f"\n{path}from {module} import {function}  # noqa: E402\n"
    note = (
        f"    # {function}({parameters}): with the arguments that it was called with.\n" if parameters else ""
    )
    return ("import sys\n", late), f", {function}{f', {given}' if given else ''}", note


def _relative(path: str, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder.resolve())).as_posix()
    except ValueError:  # another drive
        return Path(path).as_posix()


def _function(name: str, script: str | None) -> tuple[str, str] | None:
    """The name and the parameters of the function with `@durable.run(name)` in a script."""
    try:
        tree = ast.parse(Path(script or "").read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for one in node.decorator_list:
                if isinstance(one, ast.Call) and any(
                    isinstance(given, ast.Constant) and given.value == name for given in one.args[:1]
                ):
                    return node.name, ast.unparse(node.args)
    return None
