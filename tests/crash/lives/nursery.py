"""`python nursery.py FAMILY NAME URL`: a process that has imported what agents need, and forks a child for every life of one.

Whoever kills agents a thousand times cannot wait for their SDKs to be imported a thousand times. The nursery
itself has no run and opens no store, so that a child is what a fresh process would be, two seconds later.

It reads commands from standard input, a JSON object a line: `agent`, `url`, `store`, `run` (the run's name), `crash`
("after-call:2", or empty), `tokens` (a file that gets a byte for every token). It answers with two lines: the child's
`pid`, then how it ended: `code`, and what it printed, `answer`, `said`, `points`, or `error`.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

_answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what agents print is not an answer
FAMILIES = {"sdk": "sdk_lives", "framework": "framework_lives"}


def main() -> None:
    """Say whether there is such an agent; then serve."""
    family, name, url = sys.argv[1:4]
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "unit")]
    live: Callable[..., Any] | None = importlib.import_module(FAMILIES[family]).prepare(name, url)
    if live is not None:
        _import_what_it_imports(live, url)
    _say(available=live is not None)
    for line in sys.stdin:
        assert live is not None
        wanted = json.loads(line)
        pid, pipe = _fork(live, wanted)
        _say(pid=pid)
        with os.fdopen(pipe) as said:
            printed = said.read()
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        _say(code=code, **(json.loads(printed) if printed else {}))


def _say(**what: Any) -> None:
    print(json.dumps(what), file=_answers, flush=True)


def _fork(live: Callable[..., Any], wanted: dict[str, Any]) -> tuple[int, int]:
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    os.close(reader)
    code = 1
    try:
        os.write(writer, json.dumps(live(**wanted)).encode())
        code = 0
    except BaseException:
        os.write(writer, json.dumps({"error": traceback.format_exc()}).encode())
    finally:
        os._exit(code)
    raise AssertionError


def _import_what_it_imports(live: Callable[..., Any], url: str) -> None:
    """A first child lives to its end and tells."""

    def tell(**wanted: Any) -> list[str]:
        live(**wanted)
        return sorted(name for name in sys.modules if not name.startswith("__"))

    with tempfile.TemporaryDirectory() as place:
        wanted = {
            "agent": "",
            "url": url,
            "store": f"{place}/journal.db",
            "run": "first",
            "crash": "",
            "tokens": "",
        }
        pid, pipe = _fork(tell, wanted)
        with os.fdopen(pipe) as said:
            names = json.loads(said.read())
        os.waitpid(pid, 0)
    if isinstance(names, dict):
        raise SystemExit(names["error"])
    for name in names:
        with contextlib.suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # children share it


if __name__ == "__main__":
    main()
