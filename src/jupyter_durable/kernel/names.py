"""Which names a piece of code needs from the namespace, and which it binds. Pure analysis of syntax trees.

A name is needed if some path reads it before the code itself has bound it. Function bodies run later
than they are written, so what they read is asked for when the function is first used, or at the end:

>>> needs(parse("def main(): return helper(k)\\ndef helper(x): return x\\nmain()")).reads
('k',)
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

Transform = Callable[[str], str]
"""IPython syntax to Python: `shell.transform_cell`."""

DEFINES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
IMPORTS = (ast.Import, ast.ImportFrom)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_HEADER = re.compile(r"\A(\s*)%%durable\b[^\n]*")
_MAGICS = {
    "run_cell_magic": {"time", "capture", "prun", "timeit"},
    "run_line_magic": {"time", "prun", "timeit"},
}
_INTERPOLATED = re.compile(r"\{\s*([A-Za-z_]\w*)|\$\{?([A-Za-z_]\w*)")


@dataclass(frozen=True)
class Needs:
    """What code needs and binds, in order of first occurrence.

    `reads` are all names needed; `eager` those of them needed while the code itself runs (not only
    later, when a function it defines is called); `binds` every top-level name it may bind.
    """

    reads: tuple[str, ...]
    eager: tuple[str, ...]
    binds: tuple[str, ...]


@lru_cache(maxsize=1)
def _ipython_transform() -> Transform:
    from IPython.core.inputtransformer2 import TransformerManager

    transform: Transform = TransformerManager().transform_cell
    return transform


@lru_cache(maxsize=256)
def parse(source: str, transform: Transform | None = None) -> ast.Module:
    """The tree of a cell, without its `%%durable` line; magics that run Python stand as that Python.

    IPython's syntax is transformed by `transform`, or by a plain TransformerManager.
    Raises `SyntaxError`. The tree is shared: do not change it.
    """
    source = _HEADER.sub(r"\1", source)
    try:
        # Python that parses needs no transformation, which costs more than all the rest.
        tree = ast.parse(source)
    except SyntaxError:
        tree = ast.parse((transform or _ipython_transform())(source))
    tree.body = list(_expand(tree.body, transform))
    return tree


def _expand(body: Iterable[ast.stmt], transform: Transform | None) -> Iterator[ast.stmt]:
    for node in body:
        match node:
            case ast.Expr(value=ast.Call(func=ast.Name(id=marker))) if marker.startswith("__durable"):
                continue
            case ast.Expr(
                value=ast.Call(
                    func=ast.Attribute(value=ast.Call(func=ast.Name(id="get_ipython")), attr=kind),
                    args=[ast.Constant(value=str(magic)), *_, ast.Constant(value=str(code))],
                )
            ) if magic in _MAGICS.get(kind, ()):
                try:
                    yield from parse(code, transform).body
                except SyntaxError:
                    yield node
            case _:
                yield node


def stores(nodes: Iterable[ast.AST]) -> dict[str, None]:
    """The names that `nodes` bind in their own scope (not in the functions and classes they define)."""
    found: dict[str, None] = {}
    outside: set[str] = set()
    stack = list(nodes)[::-1]
    while stack:
        node = stack.pop()
        if isinstance(node, DEFINES):
            found[node.name] = None
            stack += node.decorator_list
            continue
        if isinstance(node, ast.Lambda):
            continue
        if isinstance(node, _COMPREHENSIONS):
            # Only `:=` leaves a comprehension; its targets don't.
            found |= {n.target.id: None for n in ast.walk(node) if isinstance(n, ast.NamedExpr)}
            continue
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store):
                found[node.id] = None
            continue
        if isinstance(node, IMPORTS):
            found |= {a.asname or a.name.partition(".")[0]: None for a in node.names if a.name != "*"}
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            found[node.name] = None
        elif isinstance(node, ast.MatchMapping) and node.rest:
            found[node.rest] = None
        elif isinstance(node, ast.Global | ast.Nonlocal):
            outside.update(node.names)
        stack += list(ast.iter_child_nodes(node))[::-1]
    return {name: None for name in found if name not in outside}


@lru_cache(maxsize=2048)
def needs(tree: ast.AST) -> Needs:
    """What a module's tree, or one statement, needs and binds."""
    flow = _Flow()
    flow.block(tree.body if isinstance(tree, ast.Module) else [tree])  # type: ignore[list-item]
    eager = tuple(flow.eager)
    for deferred in [flow.later, *flow.pending.values()]:
        for name in deferred:
            if name not in flow.bound:
                flow.eager[name] = None
    return Needs(tuple(flow.eager), eager, tuple(flow.binds))


_NOTHING: frozenset[str] = frozenset()


class _Flow:
    """Definite assignment over the statements of a module, branch by branch."""

    def __init__(self) -> None:
        self.bound: set[str] = set()
        self.binds: dict[str, None] = {}
        self.eager: dict[str, None] = {}
        self.later: dict[str, None] = {}
        self.pending: dict[str, dict[str, None]] = {}

    def read(self, name: str) -> None:
        if name not in self.bound:
            self.eager[name] = None
        elif name in self.pending:
            for inner in self.pending.pop(name):
                self.read(inner)

    def bind(self, names: Iterable[str]) -> None:
        for name in names:
            self.bound.add(name)
            self.binds[name] = None
            # A decorator may have kept what is bound again now.
            self.later |= self.pending.pop(name, {})

    def expr(self, *nodes: ast.AST | None) -> None:
        for node in nodes:
            if node is not None:
                _walk(node, _NOTHING, _NOTHING, self.read, self._defer)
                self.bind(stores([node]))

    def _defer(self, name: str) -> None:
        self.later[name] = None

    def block(self, body: list[ast.stmt]) -> bool:
        """Whether control can reach the end of `body`."""
        for node in body:
            self.statement(node)
        return not (body and isinstance(body[-1], ast.Raise | ast.Return | ast.Continue | ast.Break))

    def branches(self, *bodies: list[ast.stmt], start: Iterable[set[str]] = ()) -> None:
        """Bodies of which one runs: what is bound after them is what each of them binds."""
        before, ends = set(self.bound), list(start)
        for body in bodies:
            self.bound = set(before)
            if self.block(body):
                ends.append(self.bound)
        self.bound = set.intersection(*ends) if ends else before

    def statement(self, node: ast.AST) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                deferred: dict[str, None] = {}
                _walk(node, _NOTHING, _NOTHING, self.read, lambda name: deferred.setdefault(name))
                self.bind([node.name])
                self.pending[node.name] = deferred
            case ast.If():
                self.expr(node.test)
                self.branches(node.body, node.orelse)
            case ast.While():
                self.expr(node.test)
                endless = isinstance(node.test, ast.Constant) and bool(node.test.value)
                self.branches(node.body, start=() if endless else [set(self.bound)])
                self.branches(node.orelse)
            case ast.For() | ast.AsyncFor():
                self.expr(node.iter)
                before = set(self.bound)
                self.expr(node.target)
                self.branches(node.body, start=[before])
                self.branches(node.orelse)
            case ast.With() | ast.AsyncWith():
                for item in node.items:
                    self.expr(item.context_expr, item.optional_vars)
                self.block(node.body)
            case ast.Try() | ast.TryStar():
                before = set(self.bound)
                ends = [self.bound] if self.block([*node.body, *node.orelse]) else []
                for handler in node.handlers:
                    self.bound = set(before)
                    self.expr(handler.type)
                    self.bind([handler.name] if handler.name else [])
                    if self.block(handler.body):
                        ends.append(self.bound)
                self.bound = set.intersection(*ends) if ends else before
                self.block(node.finalbody)
            case ast.Match():
                self.expr(node.subject)
                before, ends, irrefutable = set(self.bound), [], False
                for case in node.cases:
                    self.bound = set(before)
                    self.expr(case.pattern, case.guard)
                    irrefutable |= isinstance(case.pattern, ast.MatchAs) and not (
                        case.pattern.pattern or case.guard
                    )
                    if self.block(case.body):
                        ends.append(self.bound)
                self.bound = set.intersection(*ends, *([] if irrefutable else [before])) if ends else before
            case ast.Assign():
                self.expr(node.value, *node.targets)
            case ast.AugAssign():
                if isinstance(node.target, ast.Name):
                    self.read(node.target.id)
                self.expr(node.value, node.target)
            case ast.AnnAssign():
                _annotation(node.annotation, _NOTHING, _NOTHING, self.read, self._defer)
                self.expr(node.value)
                if node.value is not None or not isinstance(node.target, ast.Name):
                    self.expr(node.target)
            case ast.Delete():
                self.expr(*node.targets)
                self.bound -= {t.id for t in node.targets if isinstance(t, ast.Name)}
            case _:
                self.expr(node)


_Read = Callable[[str], Any]


def _walk(node: ast.AST, hidden: frozenset[str], own: frozenset[str], read: _Read, later: _Read) -> None:
    """Report the global names `node` reads: to `later` those that only a function's body does.

    `hidden` are the locals of functions around; `own` those of the class body around, which the
    functions in it don't see.
    """
    match node:
        case ast.Name():
            if not isinstance(node.ctx, ast.Store) and node.id not in hidden and node.id not in own:
                read(node.id)
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
            a = node.args
            parameters = [*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))]
            for outer in [*getattr(node, "decorator_list", ()), *a.defaults, *filter(None, a.kw_defaults)]:
                _walk(outer, hidden, own, read, later)
            generic = frozenset(p.name for p in getattr(node, "type_params", ()))
            for note in [*(p.annotation for p in parameters), getattr(node, "returns", None)]:
                _annotation(note, hidden | generic, own, read, later)
            body: Iterable[ast.AST] = node.body if isinstance(node.body, list) else [node.body]
            inner = (hidden - _declared(body)) | generic | {p.arg for p in parameters} | stores(body).keys()
            for child in body:
                _walk(child, inner, _NOTHING, later, later)
        case ast.ClassDef():
            generic = frozenset(p.name for p in getattr(node, "type_params", ()))
            for outer in [*node.decorator_list, *node.bases, *node.keywords]:
                _walk(outer, hidden | generic, own, read, later)
            mine: frozenset[str] = frozenset()
            for child in node.body:
                _walk(child, hidden | generic, mine, read, later)
                mine |= stores([child]).keys()
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            for generator in node.generators:
                _walk(generator.iter, hidden, own, read, later)
                hidden |= stores([generator.target]).keys()
                for part in [generator.target, *generator.ifs]:
                    _walk(part, hidden, own, read, later)
            for part in [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]:
                _walk(part, hidden, own, read, later)
        case ast.AugAssign(target=ast.Name(id=name)):
            if name not in hidden and name not in own:
                read(name)
            _walk(node.value, hidden, own, read, later)
        case ast.AnnAssign():
            _annotation(node.annotation, hidden, own, read, later)
            for part in filter(None, (node.value, node.target)):
                _walk(part, hidden, own, read, later)
        case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name(id="get_ipython"))), args=args):
            for arg in args:
                _walk(arg, hidden, own, read, later)
                if isinstance(arg, ast.Constant) and isinstance(arg.value, str):
                    for match in _INTERPOLATED.finditer(arg.value):
                        if (name := match[1] or match[2]) not in hidden:
                            read(name)
        case _:
            for child in ast.iter_child_nodes(node):
                _walk(child, hidden, own, read, later)


def _declared(body: Iterable[ast.AST]) -> frozenset[str]:
    # `global x` inside a function reaches past the locals of the functions around it.
    return frozenset(n for b in body for g in ast.walk(b) if isinstance(g, ast.Global) for n in g.names)


def _annotation(
    node: ast.AST | None, hidden: frozenset[str], own: frozenset[str], read: _Read, later: _Read
) -> None:
    """Names in an annotation; one written as a string is looked up later, by whoever evaluates it."""
    if node is None:
        return
    _walk(node, hidden, own, read, later)
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and len(part.value) < 1000:
            try:
                _walk(ast.parse(part.value, mode="eval"), hidden, own, later, later)
            except (SyntaxError, ValueError):
                continue
