"""What code reaches in a namespace: names, through functions and classes, and through the data that holds them."""

from __future__ import annotations

import builtins
import dis
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any

from jupyter_durable.kernel.names import needs
from jupyter_durable.kernel.state import state_of
from jupyter_durable.kernel.statements import (
    Definition,
    Namespace,
    StatementLog,
    code_of,
    function_of,
    is_notebook_class,
    is_notebook_function,
    named,
)

_BUDGET = 5_000  # objects looked at inside one value: enough for any agent, a few milliseconds at most
_WIDTH = 500  # elements of one container
_GLOBAL_OPS = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}
_HISTORY = re.compile(r"_+|_i*\d*|_[iod]h|In|Out")
_SHELL = {"get_ipython", "exit", "quit"}
ATOMS = (str, bytes, bytearray, int, float, complex, bool, type(None), BuiltinFunctionType)


@dataclass
class Reached:
    """What names lead to.

    definitions: what is imported or defined. data: every other value, and attributes of definitions that
    changed (`Agent.calls`). anonymous: notebook functions
    and classes found in data that no name leads to. absent: names that nothing binds.
    history: IPython's own names (`_`, `Out`). modules: names of modules that objects come from.
    """

    definitions: dict[str, Definition] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    anonymous: list[Any] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    history: list[str] = field(default_factory=list)
    modules: set[str] = field(default_factory=set)


def reach(names: Iterable[str], ns: Namespace, log: StatementLog) -> Reached:
    """Follow `names` through the definitions and data of `ns`, breadth first."""
    reached = Reached()
    seen: set[str] = set()
    queue = deque(names)
    while queue:
        name = queue.popleft()
        if name in seen:
            continue
        seen.add(name)
        if name.startswith("__") or name in _SHELL:
            continue
        if _HISTORY.fullmatch(name):
            reached.history.append(name)
        elif name not in ns:
            if not hasattr(builtins, name):
                reached.absent.append(name)
        elif ns[name] is getattr(builtins, name, reached) or (name == "open" and _is_open(ns[name])):
            continue
        elif definition := log.define(name, ns[name], ns):
            reached.definitions[name] = definition
            queue.extend(needs(definition.node).reads)
            if definition.kind == "definition":
                # A decorator may have put data of its own into what it returned.
                queue.extend(_inside(ns[name], name, ns, reached, defined=True))
                for attribute, value in state_of(definition, ns[name], log).items():
                    reached.data[f"{name}.{attribute}"] = value
                    queue.extend(_inside(value, name, ns, reached, defined=False))
            else:
                reached.modules.add(_module_of(ns[name]))
        else:
            reached.data[name] = ns[name]
            queue.extend(_inside(ns[name], name, ns, reached, defined=False))
    return reached


def _is_open(value: object) -> bool:
    return getattr(value, "__module__", "") in ("io", "_io")  # IPython binds `open` itself


def _module_of(value: object) -> str:
    return value.__name__ if isinstance(value, ModuleType) else str(getattr(value, "__module__", "") or "")


def _inside(value: Any, holder: str, ns: Namespace, reached: Reached, *, defined: bool) -> Iterator[str]:
    """The names that a value bound to `holder` leads to."""
    for found in walk(value, ns, reached.modules.add):
        root = (named(found, ns) or "").partition(".")[0]
        if root and (defined or root != holder):
            yield root
            continue
        for code in codes(found):
            yield from globals_of(code)
        if not defined:
            reached.anonymous.append(found)


def codes(value: object) -> Iterator[CodeType]:
    """The code of a function, or of a class's methods."""
    members = vars(value).values() if isinstance(value, type) else (value,)
    yield from filter(None, map(code_of, members))


@lru_cache(maxsize=2048)
def globals_of(code: CodeType) -> tuple[str, ...]:
    """The global names that code, and the code nested in it, reads. Attribute names are not among them.

    >>> globals_of((lambda x: [len(y.size) for y in x]).__code__)
    ('len',)
    """
    found = dict.fromkeys(str(i.argval) for i in dis.get_instructions(code) if i.opname in _GLOBAL_OPS)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= dict.fromkeys(globals_of(constant))
    return tuple(found)


def walk(value: object, ns: Namespace, module: Callable[[str], Any] = lambda name: None) -> Iterator[Any]:
    """The notebook's functions and classes that `value` holds; the modules of other objects go to `module`.

    Looks at no more than a few thousand objects, runs no code of theirs.
    """
    queue: deque[Any] = deque([value])
    seen: set[int] = set()
    while queue and len(seen) < _BUDGET:
        item = queue.popleft()
        kind = type(item)
        if kind in ATOMS or id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, FunctionType):
            if is_notebook_function(item, ns):
                yield item
                queue.extend(_contents(item.__closure__))
                queue.extend(item.__defaults__ or ())
                queue.extend((item.__kwdefaults__ or {}).values())
            else:
                module(item.__module__ or "")
            queue.extend(item.__dict__.values())
        elif isinstance(item, type):
            if is_notebook_class(item, ns):
                yield item
                if named(item, ns) is None:
                    queue.extend(item.__bases__)
                    queue.extend(filter(None, map(function_of, vars(item).values())))
            else:
                module(item.__module__)
        elif isinstance(item, ModuleType):
            module(item.__name__)
        else:
            queue.append(kind)
            queue.extend(_parts(item))


def _contents(cells: Iterable[CellType] | None) -> Iterator[Any]:
    for cell in cells or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not filled yet
            continue


def _parts(item: Any) -> Iterator[Any]:
    if isinstance(item, dict):
        pairs = list(item.items())[:_WIDTH]
        yield from (part for pair in pairs for part in pair if type(part) not in ATOMS)
    elif isinstance(item, list | tuple | set | frozenset | deque):
        yield from [part for part in list(item)[:_WIDTH] if type(part) not in ATOMS]
    elif isinstance(item, partial):
        yield from (item.func, item.args, item.keywords)
    elif isinstance(item, MethodType):
        yield from (item.__self__, item.__func__)
    yield from attributes(item).values()


def attributes(item: Any) -> dict[str, Any]:
    """What an object holds in its `__dict__` and slots; runs no code of its class."""
    found: dict[str, Any] = {}
    with suppress(AttributeError, RuntimeError):  # no `__dict__`, or one another thread changes
        found.update(object.__getattribute__(item, "__dict__"))
    for base in type(item).__mro__:
        slots = base.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            member = base.__dict__.get(slot)
            if isinstance(member, MemberDescriptorType):
                with suppress(AttributeError):
                    found[slot] = member.__get__(item)
    return found
