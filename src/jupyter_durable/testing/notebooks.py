"""Cells outside a kernel: a notebook's durable cell, and of the cells above it what it needs.

Executed is what binds the names that the cell reaches, and what changes these in place (`tools.append(...)`); the rest (magics,
downloads, plots) is not. The namespace is a module `__main__` of its own.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
import contextlib
import copy
import inspect
import json
import linecache
import re
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jupyter_durable.errors import DurableError
from jupyter_durable.kernel import arguments
from jupyter_durable.kernel.decorating import Function, TopLevel
from jupyter_durable.kernel.names import DEFINES, IMPORTS, needs, parse, stores
from jupyter_durable.kernel.wrapping import WrappedTools

_DURABLE = re.compile(r"\A\s*%%durable\b([^\n]*)")
_RESULT, _TOOL = "__durable_result__", "__durable_tool__"


class Cell(NamedTuple):
    """A cell: its source, its place among the code cells (from 1), its id."""

    source: str
    number: int
    id: str = ""

    @property
    def header(self) -> str | None:
        """What stands behind `%%durable` on its first line; None: it is no durable cell."""
        found = _DURABLE.match(self.source)
        return found[1].strip() if found else None


def cells_of(path: Path) -> list[Cell]:
    """The code cells of a notebook. Raises `OSError`, `DurableError`."""
    # Not by nbformat, whose validator alone takes seconds to import.
    try:
        nb = json.loads(path.read_bytes())
        found = (
            nb["cells"] if "cells" in nb else [one for sheet in nb["worksheets"] for one in sheet["cells"]]
        )
        code = [cell for cell in found if cell["cell_type"] == "code"]
        texts = [cell["source"] if "source" in cell else cell["input"] for cell in code]
    except (ValueError, KeyError, TypeError):
        raise DurableError(f"{path} is no notebook") from None
    return [
        Cell(text if isinstance(text, str) else "".join(text), number, str(cell.get("id", "")))
        for number, (cell, text) in enumerate(zip(code, texts, strict=True), 1)
    ]


def durable_cell(cells: list[Cell], name: str, cell_id: str | None, where: str) -> Cell:
    """The cell of that `%%durable` name, else of that id, else the only durable one. Raises `DurableError`."""
    durable = [cell for cell in cells if cell.header is not None]
    found = [cell for cell in durable if arguments.parse(cell.header or "").name == name]
    found = found or [cell for cell in durable if cell_id is not None and cell.id == cell_id]
    found = found or (durable if len(durable) == 1 else [])
    if len(found) != 1:
        names = ", ".join(
            arguments.parse(cell.header or "").name or f"cell {cell.number}" for cell in durable
        )
        raise DurableError(
            f"{where} has {'no' if not found else 'more than one'} cell `%%durable {name}`",
            hint=f"its durable cells are: {names or 'none'}",
        )
    return found[0]


class Failed(NamedTuple):
    """A set-up statement that could not be executed, the names it would have bound, and why."""

    source: str
    names: tuple[str, ...]
    error: BaseException


def set_up(cells: list[Cell], source: str, ns: dict[str, Any], label: str) -> list[Failed]:
    """Execute of `cells` what cell `source` needs, in order; what failed."""
    statements = [(cell, node) for cell in cells for node in _parsed(cell.source) if _counts(cell, node)]
    wanted = _closure(source, [node for _, node in statements])
    failed: list[Failed] = []
    for cell, node in statements:
        if not (wanted & set(stores([node])) or _root(node) in wanted):
            continue
        try:
            _execute(_compiled([node], cell.source, f"<{label}, cell {cell.number}>"), ns)
        except Exception as error:  # noqa: BLE001 - the user's own statements may raise anything
            failed.append(Failed(ast.unparse(node), tuple(stores([node])), error))
    return failed


def define(definitions: list[list[str]], ns: dict[str, Any], label: str) -> list[Failed]:
    """Execute recorded definitions: kind, name and source of each."""
    failed: list[Failed] = []
    for number, (_, name, source) in enumerate(definitions):
        try:
            _execute(_compiled(_parsed(source), source, f"<{label}, definition {number}>"), ns)
        except Exception as error:  # noqa: BLE001 - as above
            failed.append(Failed(source, (name,), error))
    return failed


def agent_of(
    source: str, ns: dict[str, Any], tools: tuple[str, ...], label: str
) -> tuple[Callable[[], Any], WrappedTools]:
    """The cell as a function (a coroutine function, if it awaits at its top level) that gives its last expression.

    `tools`: patterns of functions that are tools in it.
    """
    body = list(copy.deepcopy(parse(source)).body)
    if body and isinstance(last := body[-1], ast.Expr):
        kept = ast.Assign([ast.Name(_RESULT, ast.Store())], last.value)
        body[-1] = ast.fix_missing_locations(ast.copy_location(kept, last))
    wrapped = WrappedTools(types.SimpleNamespace(user_ns=ns, transform_cell=_transformed), tools, source)
    if tools:

        def decorate(node: Function) -> None:
            call = ast.parse(f"{_TOOL}({node.name!r})", mode="eval").body
            for part in ast.walk(call):
                ast.copy_location(part, node)
            node.decorator_list.insert(0, call)

        ns[_TOOL] = lambda name: lambda fn: wrapped.take(name, fn)
        for node in body:
            TopLevel(decorate).visit(node)
    code = _compiled(body, source, f"<{label}>")

    async def agent_async() -> Any:
        await eval(code, ns)  # noqa: S307 - the user's own cell
        return ns.pop(_RESULT, None)

    def agent() -> Any:
        exec(code, ns)  # noqa: S102 - the same
        return ns.pop(_RESULT, None)

    return (agent_async if code.co_flags & inspect.CO_COROUTINE else agent), wrapped


@contextlib.contextmanager
def main_module() -> Iterator[dict[str, Any]]:
    """A namespace for cells: the module `__main__`, as long as the block lasts."""
    module = types.ModuleType("__main__")
    ns = module.__dict__
    from IPython.display import display

    ns["display"] = display
    before = sys.modules.get("__main__")
    sys.modules["__main__"] = module
    try:
        yield ns
    finally:
        if before is not None:
            sys.modules["__main__"] = before


# -- parts -----------------------------------------------------------------------------------------


def _parsed(source: str) -> list[ast.stmt]:
    try:
        return list(parse(source).body)
    except SyntaxError:  # a cell of another language
        return []


def _counts(cell: Cell, node: ast.stmt) -> bool:
    """Whether a statement may be executed for its names: of other durable cells, only definitions."""
    return cell.header is None or isinstance(node, (*DEFINES, *IMPORTS))


def _closure(source: str, nodes: list[ast.stmt]) -> set[str]:
    """The names that a cell needs, and those that making these needs."""
    wanted = set(needs(parse(source)).reads) if source else set()
    while True:
        more = {
            name
            for node in nodes
            if wanted & set(stores([node])) or _root(node) in wanted
            for name in needs(node).reads
        }
        if more <= wanted:
            return {
                name
                for name in wanted
                if not hasattr(builtins, name) or any(name in stores([n]) for n in nodes)
            }
        wanted |= more


def _root(node: ast.AST) -> str | None:
    """The name whose object a statement changes in place; None: none does."""
    if isinstance(node, ast.Expr):
        value: Any = node.value.value if isinstance(node.value, ast.Await) else node.value
        if not (isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute)):
            return None
        target: Any = value.func
    elif isinstance(node, ast.Assign) and len(node.targets) == 1:
        target = node.targets[0]
    elif isinstance(node, ast.AugAssign):
        target = node.target
    elif isinstance(node, DEFINES):  # @app.tool, which registers it
        found = [_root(ast.Expr(ast.Call(_callee(one), [], []))) for one in node.decorator_list]
        return next((name for name in found if name is not None), None)
    else:
        return None
    while isinstance(target, ast.Attribute | ast.Subscript):
        target = target.value
    return target.id if isinstance(target, ast.Name) else None


def _callee(node: ast.expr) -> ast.expr:
    return node.func if isinstance(node, ast.Call) else node


def _transformed(source: str) -> str:
    return ast.unparse(parse(source))


def _compiled(body: list[ast.stmt], source: str, name: str) -> types.CodeType:
    # So that tracebacks and `inspect.getsource` show the source.
    text = _DURABLE.sub("", source)
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    module = ast.Module(body, type_ignores=[])
    code: types.CodeType = compile(module, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    return code


def _execute(code: types.CodeType, ns: dict[str, Any]) -> None:
    found = eval(code, ns)  # noqa: S307 - the user's own statements
    if code.co_flags & inspect.CO_COROUTINE:
        asyncio.run(found)


def without(failed: list[Failed], inputs: Mapping[str, Any]) -> list[Failed]:
    """Those of whose names one has no recorded value."""
    return [one for one in failed if not set(one.names) <= set(inputs)]
