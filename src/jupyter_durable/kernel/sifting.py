"""Sorts the values a cell needs: stored, made again by a statement, or missing; and plans their return."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

from jupyter_durable.errors import EncodingError
from jupyter_durable.kernel.names import needs, parse
from jupyter_durable.kernel.pickles import TooLargeError, Writer
from jupyter_durable.kernel.reach import Reached
from jupyter_durable.kernel.remake import advice, harmless
from jupyter_durable.kernel.snapshot import EMPTY, Item
from jupyter_durable.kernel.sorting import arrange, leads
from jupyter_durable.kernel.state import is_plain
from jupyter_durable.kernel.statements import Definition, StatementLog


@dataclass
class Sieve:
    """The values that `reached` names, sorted by `fill`; `limit` is in bytes.

    data: stored in `blob`, in this order. remade: the statement, by name. missing: why, by name.
    """

    ns: dict[str, Any]
    log: StatementLog
    reached: Reached
    limit: int
    data: dict[str, Any] = field(default_factory=dict)
    remade: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    blob: bytes = b""
    _sizes: dict[str, int] = field(default_factory=dict)
    _refers: dict[str, set[str]] = field(default_factory=dict)

    def fill(self) -> None:
        """Store what can be stored. Raises `EncodingError` if that is too large."""
        ordered = sorted(self.reached.data, key=lambda name: self.log.order(name.partition(".")[0]))
        self.data = {name: self.reached.data[name] for name in ordered}
        if self._write_all() is None:
            return
        failing = [name for name in self.data if not self._can(name, {})]
        for name in failing:
            if (source := harmless(name, self.log, self.ns)) is not None:
                self.remade[name] = source
                del self.data[name]
        # A value may fail only for what it holds: then it is stored, and refers to that by name.
        rest = [name for name in failing if name in self.data and not self._can(name, {})]
        others = {id(self.data[name]): name for name in rest}
        for name in rest:
            own = id(self.data[name])
            if not self._can(name, {key: other for key, other in others.items() if key != own}):
                self.missing[name] = advice(name, self.data[name], self.log)
        for name in self.missing:
            del self.data[name]
        while (failed := self._write_all()) is not None:
            self.missing[failed] = advice(failed, self.data.pop(failed), self.log)

    def wanted(self) -> set[str]:
        """Names that what was stored refers to, and statements read, and that are not captured yet."""
        names = {name for found in self._refers.values() for name in found}
        for source in self.remade.values():
            names.update(needs(parse(source)).reads)
        known = {*self.reached.definitions, *self.data, *self.remade, *self.missing, *self.reached.absent}
        return {name for name in names - known if name in self.ns}

    def plan(self) -> tuple[tuple[Item, ...], bytes]:
        """The items in an order in which each finds what it needs, and the blob in that order."""
        definitions = self.reached.definitions
        age = {name: self.log.order(name.partition(".")[0]) for name in (*self.data, *self.remade)}
        age |= {name: definition.order for name, definition in definitions.items()}
        eager = {name: needs(definition.node).eager for name, definition in definitions.items()}
        loose = {
            name: [n for n in self._while_executed(names) if n in self.data] for name, names in eager.items()
        }
        while True:
            firm: dict[str, Any] = {n: [o for o in names if o not in self.data] for n, names in eager.items()}
            firm |= {name: needs(parse(source)).reads for name, source in self.remade.items()}
            firm |= {name: {*refers, *_owner(name)} for name, refers in self._refers.items()}
            order = arrange(age, firm, loose)
            values = [name for name in order if name in self.data]
            if values == list(self.data):
                break
            # Which record is the first to refer to a name depends on their order: references add up.
            self.data = {name: self.data[name] for name in values}
            self._write_all()
        return tuple(self._item(name, firm, loose) for name in order), self.blob

    def _while_executed(self, eager: tuple[str, ...]) -> dict[str, None]:
        """What may be read while a definition is executed: also by the functions it calls then."""
        found: dict[str, None] = {}
        queue = list(eager)
        while queue:
            name = queue.pop(0)
            if name not in found:
                found[name] = None
                if name in self.reached.definitions:
                    queue += needs(self.reached.definitions[name].node).reads
        return found

    def _item(self, name: str, firm: Mapping[str, Any], loose: Mapping[str, Any]) -> Item:
        if name in self.data:
            kinds = {} if "." in name else EMPTY
            empty = next((source for source, kind in kinds.items() if kind is type(self.data[name])), "")
            return Item("value", name, empty, self._sizes[name])
        if name in self.remade:
            return Item("statement", name, self.remade[name])
        definition = self.reached.definitions[name]
        if definition.kind == "import":
            return Item("import", name, definition.source)
        source = definition.source
        if (bare := _undecorated(definition, self.ns[name])) is not None:
            registries = self._while_executed(needs(ast.Module(definition.node.decorator_list, [])).reads)  # type: ignore[union-attr]
            if any(n in self.data and leads(n, name, firm, loose) for n in registries):
                # The data it registers with is captured with the registration in it.
                source = bare
        return Item("definition", name, self.log.futures(definition.order) + source)

    def _by_name(self, more: Mapping[int, str]) -> dict[int, str]:
        definitions = {id(self.ns[name]): name for name in self.reached.definitions}
        made = {id(self.ns[name]): name for name in (*self.missing, *self.remade) if name in self.ns}
        return {**definitions, **more, **made}

    def _can(self, name: str, more: Mapping[int, str]) -> bool:
        try:
            Writer(self.ns, self._by_name(more), self.data, self.limit).write(self.data[name])
        except TooLargeError:
            return True  # `_write_all` reports it with all sizes
        except Exception:  # noqa: BLE001 - a stranger's `__reduce__` may raise anything
            return False
        return True

    def _write_all(self) -> str | None:
        """Write every value; the name of the first that cannot be, None if all can."""
        writer = Writer(self.ns, self._by_name({}), self.data, self.limit)
        self._sizes = {}
        for name, value in self.data.items():
            try:
                self._sizes[name], refers = writer.write(value)
            except TooLargeError:
                raise self._too_large(name) from None
            except Exception:  # noqa: BLE001 - a stranger's `__reduce__` may raise anything
                return name
            self._refers.setdefault(name, set()).update(refers)
        self.blob = writer.getvalue()
        return None

    def _too_large(self, last: str) -> EncodingError:
        sizes = {**self._sizes, last: self.limit - sum(self._sizes.values())}
        largest = sorted(sizes, key=sizes.__getitem__, reverse=True)[:3]
        shown = ", ".join(f"{n} ({'over ' if n == last else ''}{_megabytes(sizes[n])})" for n in largest)
        return EncodingError(
            f"the values this cell needs take more than {_megabytes(self.limit)}: {shown}",
            path=largest[0],
            hint=f"load {largest[0]} inside the durable cell (in a durable.step), or pass only the part it needs",
        )


def _owner(name: str) -> list[str]:
    root, _, attribute = name.partition(".")
    return [root] if attribute else []


def _undecorated(definition: Definition, value: Any) -> str | None:
    """The definition without its decorators, if these returned the function as it was."""
    node = definition.node
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.decorator_list:
        return None
    if not isinstance(value, FunctionType) or value.__code__.co_name != node.name:
        return None
    if not is_plain(value.__dict__):
        return None  # what a decorator hung on it would be lost
    fields = {name: getattr(node, name) for name in node._fields if hasattr(node, name)}
    return ast.unparse(ast.fix_missing_locations(type(node)(**{**fields, "decorator_list": []})))


def _megabytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MB" if size >= 2**20 else f"{size:,} bytes"
