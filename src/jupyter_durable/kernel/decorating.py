"""`--tool` for functions that the cell itself defines: a decorator, put on them on their way to the compiler.

It asks the run that is open when the definition is executed; here nobody knows yet which names its patterns match.
Light: imported with the extension.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

Function = ast.FunctionDef | ast.AsyncFunctionDef


class TopLevel(ast.NodeTransformer):
    """Goes through the functions that become names of the notebook, whatever block they stand in."""

    def __init__(self, change: Callable[[Function], None]) -> None:
        self._change = change

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        """Not what is defined inside of it."""
        self._change(node)
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> Any:
        """The same."""
        self._change(node)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> Any:
        """Methods are no names of the notebook."""
        return node

    def visit_Lambda(self, node: ast.Lambda) -> Any:
        """Nothing can be defined in it."""
        return node


class Decorating:
    """An AST transformer for `shell.ast_transformers`.

    `marker` is the attribute of the shell whose call begins a durable cell; `header()` gives the line of the
    cell that is running, for code that a magic such as `%%time` compiles inside of it.
    """

    def __init__(self, marker: str, header: Callable[[], str | None]) -> None:
        self._marker = marker
        self._running = header

    def visit(self, tree: Any) -> Any:
        """Decorate the functions of a cell whose line names tools; every other tree is left alone."""
        header = self._header(tree)
        # A command (`@resume RUN`) executes code whose line it looks up.
        if header is not None and ("--tool" in header or header.startswith("@")):
            TopLevel(self._decorate).visit(tree)
        return tree

    def _header(self, tree: Any) -> str | None:
        body = getattr(tree, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Call):
            called = first.value
            if isinstance(called.func, ast.Attribute) and called.func.attr == self._marker and called.args:
                return str(ast.literal_eval(called.args[0]))
        return self._running()

    def _decorate(self, node: Function) -> None:
        # The outermost: what other decorators make of the function is the tool.
        call = ast.parse(f"get_ipython().{self._marker}.tool({node.name!r})", mode="eval").body
        for part in ast.walk(call):
            ast.copy_location(part, node)
        node.decorator_list.insert(0, call)
