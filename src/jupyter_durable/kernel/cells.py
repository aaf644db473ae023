"""The identity of a cell's code: equal exactly if it would do the same.

Compared are syntax trees: docstrings count (they are tool schemas), comments and formatting don't. They
cover the cell (not its `%%durable` line), the notebook definitions it reaches, through whatever holds
them, and the local modules these import.

>>> a = identify("f(1)  # once", {"f": print})
>>> b = identify("f( 1 )", {"f": print})
>>> a.digest == b.digest, changed(a, b), changed(a, identify("f(2)", {"f": print}))
(True, [], ['the cell'])
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from jupyter_durable.kernel.names import Transform, needs, parse
from jupyter_durable.kernel.reach import Reached, codes, reach
from jupyter_durable.kernel.statements import Namespace, StatementLog
from jupyter_durable.runtime.local import is_local

CELL = "the cell"


@dataclass(frozen=True)
class CodeIdentity:
    """What a cell's code is. Digests are hex.

    cell: of the cell alone. parts: of each definition, import and local module it reaches, by name
    (`search`, `module helpers`). missing: names it needs that nothing had bound: in a fresh kernel,
    what they would have led to is not in `parts`. keyed: the digests are under a store's key; those that are not
    could be guessed from, if there is a short secret in the code, so they are not stored.
    """

    digest: str
    cell: str
    parts: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    keyed: bool = False

    def under(self, mac: Callable[[str], str]) -> CodeIdentity:
        """The same under a key: `mac` of each digest."""
        parts = {name: mac(part) for name, part in self.parts.items()}
        return replace(self, digest=mac(self.digest), cell=mac(self.cell), parts=parts, keyed=True)

    def to_json(self) -> dict[str, Any]:
        """JSON data for a run's meta."""
        return {
            "digest": self.digest,
            "cell": self.cell,
            "parts": dict(self.parts),
            "missing": list(self.missing),
            "keyed": self.keyed,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CodeIdentity:
        """The identity `to_json` came from."""
        missing, keyed = tuple(data.get("missing", ())), bool(data.get("keyed"))  # 0.1.0 had neither
        return cls(data["digest"], data["cell"], dict(data["parts"]), missing, keyed)


def identify(
    source: str, user_ns: Namespace, shell_transform: Transform | None = None, log: StatementLog | None = None
) -> CodeIdentity:
    """The identity of cell `source` in `user_ns`. Never raises: a cell that does not parse is its text.

    `log` knows how definitions came into being; without it, IPython's `In` is read.
    """
    try:
        tree = parse(source, shell_transform)
    except SyntaxError:
        digest = _digest([source])
        return CodeIdentity(_digest(["cell", digest]), digest)
    cell = _node_digest(tree)
    if log is None:
        log = StatementLog.from_history(user_ns.get("In", ()), shell_transform)
    wanted = needs(tree)
    reached = reach(wanted.reads, user_ns, log)
    parts = _parts(reached, tree)
    digest = _digest(["cell", cell, *(f"{name}={parts[name]}" for name in sorted(parts))])
    return CodeIdentity(digest, cell, parts, tuple(reached.absent))


def changed(old: CodeIdentity, new: CodeIdentity) -> list[str]:
    """What differs, by name, the cell first; empty if the code is the same.

    A part that is gone only because `new` was identified before its names were restored is no change.
    """
    found = [CELL] if old.cell != new.cell else []
    found += [name for name, part in new.parts.items() if old.parts.get(name) != part]
    if not new.missing:
        found += [name for name in old.parts if name not in new.parts]
    return found


def _parts(reached: Reached, tree: ast.Module) -> dict[str, str]:
    parts: dict[str, str] = {}
    modules = set(reached.modules) | _imported(tree, "")
    for name, definition in reached.definitions.items():
        parts[name] = _node_digest(definition.node)
        modules |= _imported(definition.node, "")
    for value in reached.anonymous:
        name = getattr(value, "__qualname__", "lambda")
        digest = _digest([_code_digest(code) for code in codes(value)])
        # Two closures of one function share their name and their code.
        parts[name] = digest if parts.get(name, digest) == digest else _digest([parts[name], digest])
    for module in sorted(_local_modules(modules)):
        parts[f"module {module}"] = _module_digest(module)
    return parts


def _imported(tree: ast.AST, package: str) -> set[str]:
    """The modules that imports anywhere in `tree` may load."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join(filter(None, [*parents, base]))
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return found


def _local_modules(names: Iterable[str]) -> set[str]:
    found: set[str] = set()
    queue = list(names)
    while queue:
        name = queue.pop()
        parent = name.rpartition(".")[0]
        if parent and parent not in found:
            queue.append(parent)  # importing a.b runs a/__init__.py first
        if name in found or not is_local(name):
            continue
        found.add(name)
        loaded: ModuleType = sys.modules[name]
        queue += _imports_of(*_stamp(loaded), loaded.__package__ or "")
    return found


def _stamp(module: ModuleType) -> tuple[str, int, int]:
    path = str(module.__file__)
    try:
        status = Path(path).stat()
    except OSError:
        return path, 0, 0
    return path, status.st_mtime_ns, status.st_size


@lru_cache(maxsize=512)
def _file_tree(path: str, mtime: int, size: int) -> ast.Module | None:
    try:
        return ast.parse(Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None


@lru_cache(maxsize=512)
def _imports_of(path: str, mtime: int, size: int, package: str) -> tuple[str, ...]:
    tree = _file_tree(path, mtime, size)
    return tuple(_imported(tree, package)) if tree else ()


def _module_digest(name: str) -> str:
    tree = _file_tree(*_stamp(sys.modules[name]))
    return _node_digest(tree) if tree else _digest(["unreadable", name])


@lru_cache(maxsize=1024)
def _code_digest(code: CodeType) -> str:
    """The canonical form of code: its lines are not in it, for a restored closure has lost them."""
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    parts = [code.co_name, code.co_code.hex(), repr(names), str(code.co_argcount), str(code.co_flags)]
    parts += [_code_digest(c) if isinstance(c, CodeType) else _constant(c) for c in code.co_consts]
    return _digest(parts)


def _constant(value: object) -> str:
    # A frozenset's order changes with the process's hash seed.
    shown = sorted(map(_constant, value)) if isinstance(value, frozenset) else value
    return f"{type(value).__name__} {shown!r}"


@lru_cache(maxsize=2048)
def _node_digest(node: ast.AST) -> str:
    found: list[str] = []
    _canonical(node, found)
    return _digest(found)


_IGNORED = {"ctx", "kind", "type_comment", "type_ignores"}


def _canonical(node: object, out: list[str]) -> None:
    """A form of the tree that is the same in every Python version: `ast.dump` has changed twice."""
    if isinstance(node, ast.AST):
        out.append(type(node).__name__)
        for name in node._fields:
            value = getattr(node, name, None)
            if name not in _IGNORED and value is not None and value != []:
                out.append("." + name)
                _canonical(value, out)
        out.append(")")
    elif isinstance(node, list):
        out.append("[")
        for item in node:
            _canonical(item, out)
        out.append("]")
    else:
        out.append(_constant(node))


def _digest(parts: Iterable[str]) -> str:
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()
