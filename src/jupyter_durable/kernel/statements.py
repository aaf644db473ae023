"""Which statement bound a name, and the source of notebook definitions.

`inspect.getsource` does not find classes typed in a notebook, nor what a decorator returned; the cells
themselves do. `StatementLog` keeps, for each top-level name, the last statements that bound it:

>>> log = StatementLog()
>>> log.record("LIMIT = 3\\ndef f(): return LIMIT")
>>> log.last("f").source
'def f():\\n    return LIMIT'
"""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, Literal

from jupyter_durable.kernel.names import DEFINES, IMPORTS, Transform, parse, stores

Namespace = Mapping[str, Any]
Kind = Literal["import", "definition"]

_KEEP = 4  # statements remembered per name: an edit that failed half way must not hide the one before it
_TYPE_MAKERS = frozenset(
    {
        "namedtuple",
        "NamedTuple",
        "TypedDict",
        "NewType",
        "TypeVar",
        "TypeVarTuple",
        "ParamSpec",
        "Enum",
        "IntEnum",
    }
    | {"StrEnum", "Flag", "IntFlag", "make_dataclass", "create_model"}
)


@dataclass(frozen=True, eq=False)
class Statement:
    """A top-level statement that was executed; `order` grows with time."""

    node: ast.stmt
    order: int

    @property
    def source(self) -> str:
        """Python that does what the statement did (comments and formatting are not kept)."""
        return ast.unparse(self.node)


@dataclass(frozen=True, eq=False)
class Definition:
    """How a name that is no data comes into being: `source`, executed in the namespace, binds `name`.

    `node` is a statement, or a module where a later statement went on with the first (`f = wrap(f)`).
    """

    name: str
    kind: Kind
    node: ast.stmt | ast.Module
    order: int
    cell: str = ""

    @property
    def source(self) -> str:
        """The text as typed where it is known, so that tracebacks and `inspect` show it."""
        return (
            _text(self.node, self.cell)
            if self.cell and isinstance(self.node, ast.stmt)
            else ast.unparse(self.node)
        )


class StatementLog:
    """For each top-level name, the last statements that bound it, in order of execution.

    `record` a cell after it was executed (the running cell is not part of the past yet).
    """

    def __init__(self) -> None:
        self._bound: dict[str, list[tuple[Statement, str]]] = {}
        self._stars: list[Statement] = []
        self._futures: list[Statement] = []
        self._attached: dict[str, list[Statement]] = {}
        self._patched: dict[str, dict[str, int]] = {}
        self._count = 0

    @classmethod
    def from_history(cls, cells: Iterable[str], transform: Transform | None = None) -> StatementLog:
        """The log of cells that ran before anybody recorded them: IPython's `In`."""
        log = cls()
        for cell in cells:
            log.record(cell, transform)
        return log

    def record(
        self, cell_source: str, transform: Transform | None = None, *, failed_line: int | None = None
    ) -> None:
        """Remember what an executed cell bound.

        `failed_line`: the (transformed) line, counted from 1, of the top-level statement that raised;
        it and what follows was not executed. A cell that does not parse, or that somebody's input
        transformer refuses, never ran and is passed over.
        """
        try:
            tree = parse(cell_source, transform)
        except Exception:  # noqa: BLE001 - a transformer may raise anything
            return
        for node in tree.body:
            if failed_line is not None and (node.end_lineno or node.lineno) >= failed_line:
                break
            self._count += 1
            statement = Statement(node, self._count)
            for name in stores([node]):
                self._bound.setdefault(name, []).append((statement, cell_source))
                # Dotted imports add up: `import a.b` and `import a.c` both bind `a`.
                keep = _KEEP if not _dotted(node) else 64
                del self._bound[name][:-keep]
            if isinstance(node, ast.Delete):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        self._bound.pop(target.id, None)
            for owner, attribute in _patches(node):
                self._patched.setdefault(owner, {})[attribute] = self._count
            for decorator in getattr(node, "decorator_list", ()):
                if isinstance(decorator, ast.Attribute | ast.Call) and (owner := _root(decorator)):
                    self._attached.setdefault(owner, []).append(statement)
                    del self._attached[owner][:-256]
            if isinstance(node, ast.ImportFrom) and any(a.name == "*" for a in node.names):
                self._stars = [*self._stars[-63:], statement]
            if isinstance(node, ast.ImportFrom) and node.module == "__future__":
                self._futures = [*self._futures[:8], statement]

    def last(self, name: str) -> Statement | None:
        """The last statement that bound `name`, None if no recorded cell did."""
        found = self._bound.get(name)
        return found[-1][0] if found else None

    def order(self, name: str) -> int:
        """When `name` was last bound; 0 if no recorded cell did."""
        last = self.last(name)
        return last.order if last else 0

    def patched(self, name: str, since: int) -> set[str]:
        """The attributes of `name` that statements after `since` assigned."""
        return {attribute for attribute, order in self._patched.get(name, {}).items() if order >= since}

    def futures(self, order: int) -> str:
        """The `from __future__ import …` lines in force for a statement: IPython keeps them for later cells."""
        return "".join(f"{s.source}\n" for s in self._futures if s.order < order)

    def define(self, name: str, value: object, ns: Namespace) -> Definition | None:
        """How `name` was defined or imported, if it was, and `value` is what came of it.

        Functions registered with it (`@area.register`) belong to it.
        """
        found = self._define(name, value, ns)
        if found is None or isinstance(value, ModuleType | type) or name not in self._attached:
            return found
        attached = [s.node for s in self._attached[name] if s.order > found.order]
        own = found.node.body if isinstance(found.node, ast.Module) else [found.node]
        if not attached:
            return found
        return Definition(name, "definition", ast.Module([*own, *attached], []), found.order)

    def _define(self, name: str, value: object, ns: Namespace) -> Definition | None:
        statements = self._bound.get(name, [])
        newest = statements[-1][0].node if statements else None
        for position in range(len(statements) - 1, -1, -1):
            statement, cell = statements[position]
            if (found := _inner(statement, cell, name, value)) is not None:
                if found.kind == "import" and _dotted(statement.node):
                    return _joined(found, [s for s, _ in statements[: position + 1]])
                return found
            if position and statement.node is newest and _wraps(newest, name) and callable(value):
                base = statements[position - 1][0]
                if isinstance(base.node, DEFINES):
                    both = ast.Module([base.node, statement.node], type_ignores=[])
                    return Definition(name, "definition", both, base.order)
            # An older definition counts only if the newer one visibly failed: the value is not its.
            if not isinstance(newest, DEFINES) and not (isinstance(value, FunctionType) and named(value, ns)):
                return None
            if not isinstance(newest, DEFINES) and hasattr(value, "__wrapped__"):
                return None
        for star in reversed(self._stars):
            node = star.node
            module = sys.modules.get(node.module or "") if isinstance(node, ast.ImportFrom) else None
            if module is not None and getattr(module, name, star) is value:
                return _import(f"from {module.__name__} import {name}", name, star.order)
        return _from_lines(name, value, ns) or _importable(name, value, ns)


def function_of(value: object) -> FunctionType | None:
    """A function, or the function that a decorator wrapped in this value; runs no code of the value's."""
    for _ in range(20):
        if isinstance(value, FunctionType) and "__wrapped__" not in value.__dict__:
            return value
        inner = None
        for attribute in ("__wrapped__", "__func__", "func", "fn", "fget"):
            if isinstance(getattr(type(value), attribute, None), property):
                continue
            with suppress(AttributeError):
                inner = object.__getattribute__(value, attribute)
                break
        if inner is None or inner is value:
            return None
        value = inner
    return None


def code_of(value: object) -> CodeType | None:
    """The code of `function_of(value)`."""
    function = function_of(value)
    return function.__code__ if function is not None else None


def is_notebook_class(value: object, ns: Namespace) -> bool:
    """Whether `value` is a class made in the notebook."""
    return isinstance(value, type) and value.__module__ == ns.get("__name__")


def is_notebook_function(value: object, ns: Namespace) -> bool:
    """Whether `value` is a function written in the notebook (not one only bound there)."""
    return isinstance(value, FunctionType) and value.__globals__ is ns


def named(value: Any, ns: Namespace) -> str | None:
    """The dotted name by which the namespace holds this function or class, None if it does not."""
    qualname = getattr(value, "__qualname__", None)
    if not isinstance(qualname, str) or "<" in qualname:
        return None
    root, *rest = qualname.split(".")
    found = ns.get(root)
    for part in rest:
        found = found.__dict__.get(part) if isinstance(found, type) else None
    return qualname if found is value and found is not None else None


def _root(node: ast.AST) -> str:
    """The name a chain of attributes and calls starts from; nothing if it is only a name, or called as one."""
    attribute = False
    while isinstance(node, ast.Attribute | ast.Call):
        attribute |= isinstance(node, ast.Attribute)
        node = node.value if isinstance(node, ast.Attribute) else node.func
    return node.id if attribute and isinstance(node, ast.Name) else ""


def _patches(node: ast.stmt) -> Iterator[tuple[str, str]]:
    """What a statement assigns as `name.attribute`."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    for target in targets:
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
            yield target.value.id, target.attr


def _wraps(node: ast.stmt | None, name: str) -> bool:
    """Whether this is `name = wrap(name, …)`: a decorator applied late."""
    match node:
        case ast.Assign(targets=[ast.Name(id=target)], value=ast.Call()) if target == name:
            return any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(node.value))
    return False


def _dotted(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import) and any("." in a.name and not a.asname for a in node.names)


def _joined(found: Definition, statements: list[Statement]) -> Definition:
    names = dict.fromkeys(
        a.name
        for s in statements
        if isinstance(s.node, ast.Import)
        for a in s.node.names
        if not a.asname and a.name.partition(".")[0] == found.name
    )
    return _import("import " + ", ".join(names), found.name, found.order)


def _import(source: str, name: str, order: int) -> Definition:
    return Definition(name, "import", ast.parse(source).body[0], order)


def _inner(statement: Statement, cell: str, name: str, value: object) -> Definition | None:
    """The definition or import inside a statement that made `value`, chosen among branches by its line."""
    best: tuple[ast.stmt, int] | None = None
    for node in _own_statements(statement.node):
        fits = _fits(node, name, value)
        if fits and (best is None or fits >= best[1]):
            best = node, fits
    if best is None:
        return None
    node = best[0]
    if isinstance(node, IMPORTS):
        kept = [a for a in node.names if (a.asname or a.name.partition(".")[0]) == name]
        if isinstance(node, ast.ImportFrom):
            pruned: ast.stmt = ast.ImportFrom(module=node.module, names=kept, level=node.level)
        else:
            pruned = ast.Import(names=kept)
        return Definition(name, "import", pruned, statement.order)
    return Definition(name, "definition", node, statement.order, cell)


def _own_statements(node: ast.stmt) -> Iterator[ast.stmt]:
    yield node
    if not isinstance(node, DEFINES):
        for field in ("body", "orelse", "finalbody"):
            for child in getattr(node, field, ()):
                yield from _own_statements(child)
        for part in [*getattr(node, "handlers", ()), *getattr(node, "cases", ())]:
            for child in part.body:
                yield from _own_statements(child)


def _fits(node: ast.stmt, name: str, value: object) -> int:
    """0: this statement did not make the value; 1: it may have; 2: it did."""
    if isinstance(node, IMPORTS):
        if not any((a.asname or a.name.partition(".")[0]) == name for a in node.names):
            return 0
        if isinstance(node, ast.ImportFrom) and not node.level:
            module = sys.modules.get(node.module or "")
            original = next(a.name for a in node.names if (a.asname or a.name) == name)
            return 2 if getattr(module, original, node) is value else 1
        return 2 if isinstance(value, ModuleType) else 0
    if isinstance(node, DEFINES):
        if node.name != name:
            return 0
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        if isinstance(node, ast.ClassDef):
            if not isinstance(value, type):
                return 1
            lines = [
                c.co_firstlineno for c in map(code_of, vars(value).values()) if c and c.co_name != "<lambda>"
            ]
            own = [n for n in lines if first <= n <= (node.end_lineno or first)]
            return 2 if own or not lines else 1 if _generated(value) else 0
        code = code_of(value)
        if code is None or code.co_name != name:
            return 1
        arguments = [a.arg for a in [*node.args.posonlyargs, *node.args.args]]
        return (
            2
            if code.co_firstlineno == first and list(code.co_varnames[: code.co_argcount]) == arguments
            else 0
        )
    if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Lambda):
        code = value.__code__ if isinstance(value, FunctionType) else None
        return 2 if code and code.co_name == "<lambda>" and code.co_firstlineno == node.value.lineno else 0
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
        function = node.value.func
        maker = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        return int(maker in _TYPE_MAKERS and [getattr(t, "id", None) for t in node.targets] == [name])
    if type(node).__name__ == "TypeAlias":
        return int(getattr(getattr(node, "name", None), "id", None) == name)
    return 0


def _generated(cls: type) -> bool:
    # Decorators and metaclasses add methods that have lines of their own.
    return any(c.co_filename.startswith("<") for c in map(code_of, vars(cls).values()) if c)


def _text(node: ast.stmt, cell: str) -> str:
    """The statement as typed, if it has its lines to itself and the cell needed no transformation."""
    try:
        lines = cell.splitlines(keepends=True)
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
        text = "".join(lines[first - 1 : node.end_lineno])
        pad = len(text) - len(text.lstrip(" \t"))
        if pad:
            text = "".join(t[pad:] if t[:pad].isspace() else t for t in text.splitlines(keepends=True))
        body = ast.parse(text).body
        if len(body) == 1 and ast.dump(body[0]) == ast.dump(node):
            return text.rstrip()
    except (SyntaxError, ValueError):
        pass
    return ast.unparse(node)


@lru_cache(maxsize=128)
def _definitions_in(text: str) -> dict[int, ast.stmt]:
    try:
        nodes = [n for n in ast.walk(parse(text)) if isinstance(n, DEFINES)]
    except SyntaxError:
        return {}
    return {min([n.lineno, *(d.lineno for d in n.decorator_list)]): n for n in nodes}


def _node_of(code: CodeType) -> tuple[ast.stmt, str] | None:
    """The `def` a code object was compiled from, with the text of its file or cell; None if unknown."""
    text = "".join(linecache.getlines(code.co_filename))
    node = _definitions_in(text).get(code.co_firstlineno) if text else None
    return (node, text) if isinstance(node, DEFINES) and node.name == code.co_name else None


def _from_lines(name: str, value: object, ns: Namespace) -> Definition | None:
    """A definition nobody recorded, found through the lines IPython keeps for tracebacks."""
    if is_notebook_class(value, ns) and isinstance(value, type):
        for method in filter(None, map(code_of, vars(value).values())):
            text = "".join(linecache.getlines(method.co_filename))
            for node in _definitions_in(text).values() if text else ():
                if isinstance(node, ast.ClassDef) and node.name == name:
                    return Definition(name, "definition", node, 0, text)
        return None
    function = function_of(value) if callable(value) else None
    if function is None or function.__name__ != name or not is_notebook_function(function, ns):
        return None
    found = _node_of(function.__code__)
    return Definition(name, "definition", found[0], 0, found[1]) if found else None


def _importable(name: str, value: object, ns: Namespace) -> Definition | None:
    """Modules, and what modules define, that nobody was seen to import (start-up files, `%pylab`)."""
    if (
        isinstance(value, ModuleType)
        and sys.modules.get(value.__name__) is value
        and value.__dict__ is not ns
    ):
        source = f"import {value.__name__}" + ("" if value.__name__ == name else f" as {name}")
        return _import(source, name, 0)
    if isinstance(value, FunctionType | BuiltinFunctionType | type) and not is_notebook_class(value, ns):
        module, found = value.__module__ or "", value.__qualname__
        if found.isidentifier() and module in sys.modules and vars(sys.modules[module]).get(found) is value:
            return _import(
                f"from {module} import {found}" + ("" if found == name else f" as {name}"), name, 0
            )
    return None
