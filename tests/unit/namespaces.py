"""Namespaces as notebooks have them: cells run in one, what a cell needs is captured there and restored in another."""

from __future__ import annotations

import hashlib
import linecache
import textwrap
from typing import Any

from jupyter_durable.kernel.namespace import (
    Restored,
    Snapshot,
    StatementLog,
    capture,
    restore,
)


def digest(value: Any) -> bytes:
    """Stands for the codec's digest."""
    return hashlib.blake2b(repr(value).encode(), digest_size=16).digest()


class Notebook:
    """A namespace in which cells run and are recorded, as in a kernel."""

    cells = 0

    def __init__(self) -> None:
        self.ns: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
        self.log = StatementLog()

    def run(self, source: str, *, record: bool = True) -> None:
        source = textwrap.dedent(source).strip("\n")
        Notebook.cells += 1
        name = f"<cell {Notebook.cells}>"
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        exec(compile(source, name, "exec", dont_inherit=True), self.ns)
        if record:
            self.log.record(source)

    def capture(self, cell: str, **options: Any) -> Snapshot:
        return capture(textwrap.dedent(cell), self.ns, self.log, digest, **options)

    def restore(self, snapshot: Snapshot, **options: Any) -> Restored:
        self.executed: list[str] = []

        def execute(source: str) -> None:
            self.executed.append(source)
            self.run(source, record=False)

        stored = Snapshot.from_value(snapshot.to_value())
        return restore(stored, self.ns, shell_exec=execute, log=self.log, **options)


def moved(cell: str, *cells: str) -> tuple[Notebook, Restored]:
    """Run `cells`, capture what `cell` needs, restore it in a fresh notebook and run `cell` there."""
    old = Notebook()
    for source in cells:
        old.run(source)
    new = Notebook()
    restored = new.restore(old.capture(cell))
    new.run(cell)
    return new, restored
