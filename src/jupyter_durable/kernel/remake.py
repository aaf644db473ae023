"""Which statements may be executed again to make what cannot be stored: clients, locks, events.

Executing a statement again may truncate a file or charge a card, so the rule is an allow list:
`name = Constructor(...)` where the constructor is known to do nothing to the outside, and every argument
is a constant, a name, an attribute, an environment variable, a collection of such, or such a constructor.

>>> import threading
>>> log = StatementLog.from_history(["import threading", "lock = threading.Lock()"])
>>> harmless("lock", log, {"threading": threading, "lock": threading.Lock()})
'lock = threading.Lock()'
"""

from __future__ import annotations

import ast
import io
import os
from types import GeneratorType, ModuleType
from typing import Any

from jupyter_durable.kernel.statements import Namespace, StatementLog

# Constructors of these packages' client classes open their first connection with their first request.
_CLIENTS = frozenset(
    {
        "openai",
        "anthropic",
        "httpx",
        "httpx2",
        "mistralai",
        "cohere",
        "groq",
        "together",
        "ollama",
        "voyageai",
    }
    | {"huggingface_hub", "fireworks", "cerebras", "tavily", "exa_py", "replicate", "xai_sdk", "zhipuai"}
    | {
        "langchain_openai",
        "langchain_anthropic",
        "langchain_mistralai",
        "langchain_google_genai",
        "langchain_ollama",
    }
    | {"langchain_groq", "pydantic_ai", "pydantic", "boto3", "botocore"}
)
_CLIENT_MODULES = ("google.genai", "google.generativeai")
_EXACT = {
    "_thread": {"allocate_lock", "lock", "RLock", "_local"},
    "_contextvars": {"ContextVar"},
    "_queue": {"SimpleQueue"},
    "_io": {"StringIO", "BytesIO"},
    "builtins": {"object"},
    "contextvars": {"ContextVar"},
    "asyncio.locks": {"Lock", "Event", "Condition", "Semaphore", "BoundedSemaphore", "Barrier"},
    "asyncio.queues": {"Queue", "LifoQueue", "PriorityQueue"},
    "concurrent.futures.process": {"ProcessPoolExecutor"},
    "concurrent.futures.thread": {"ThreadPoolExecutor"},
    "logging": {"getLogger"},
    "queue": {"Queue", "LifoQueue", "PriorityQueue"},
    "random": {"Random", "SystemRandom"},
    "requests.sessions": {"Session"},
    "threading": {"Lock", "RLock", "Event", "Condition", "Semaphore", "BoundedSemaphore", "Barrier"},
    "anyio": {"Lock", "Event", "Condition", "Semaphore", "CapacityLimiter"},
    "anyio._core._synchronization": {"Lock", "Event", "Condition", "Semaphore", "CapacityLimiter"},
}
_FUNCTIONS = {"boto3": {"client", "resource"}, "requests.sessions": {"session"}}


def harmless(name: str, log: StatementLog, ns: Namespace) -> str | None:
    """The statement that made the value of `name`, if executing it again is known to be harmless."""
    statement = log.last(name)
    if statement is None:
        return None
    match statement.node:
        case ast.Assign(targets=[ast.Name()], value=value):
            pass
        case ast.AnnAssign(target=ast.Name(), value=ast.expr() as value):
            pass
        case _:
            return None
    if not isinstance(value, ast.Call) or not _is_harmless(value, ns):
        return None
    made = _resolve(value.func, ns)
    # The statement must be the one this value came from: a later cell may have failed before it.
    if isinstance(made, type) and not isinstance(ns.get(name), made):
        return None
    return statement.source


def _is_harmless(node: ast.AST, ns: Namespace) -> bool:
    match node:
        case ast.Constant() | ast.Name():
            return True
        case ast.Call(func=function, args=args, keywords=keywords):
            parts = [*args, *(k.value for k in keywords)]
            return _is_constructor(_resolve(function, ns)) and all(_is_harmless(part, ns) for part in parts)
        case ast.Attribute():
            return _resolve(node, ns) is not None
        case ast.Subscript(value=value, slice=index):
            plain = _resolve(value, ns)
            return (plain is os.environ or type(plain) in (dict, list, tuple)) and _is_harmless(index, ns)
        case ast.List() | ast.Tuple() | ast.Dict() | ast.Set() | ast.Starred() | ast.JoinedStr():
            return all(
                _is_harmless(c, ns) for c in ast.iter_child_nodes(node) if not isinstance(c, ast.expr_context)
            )
        case ast.FormattedValue(value=value):
            return isinstance(value, ast.Name) and type(ns.get(value.id)) in (str, int, float)
        case ast.BoolOp(values=values):
            return all(_is_harmless(v, ns) for v in values)
        case ast.UnaryOp(operand=ast.Constant()):
            return True
        case ast.BinOp(left=left, right=right):
            return all(_is_plain(side, ns) for side in (left, right))
    return False


def _is_plain(node: ast.AST, ns: Namespace) -> bool:
    if isinstance(node, ast.BinOp):
        return _is_plain(node.left, ns) and _is_plain(node.right, ns)
    value = node.value if isinstance(node, ast.Constant) else _resolve(node, ns)
    return type(value) in (str, int, float)


def _resolve(node: ast.AST, ns: Namespace) -> Any:
    """What a dotted name stands for, looked up in the namespace and in modules only (running no property)."""
    if isinstance(node, ast.Name):
        return ns.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _resolve(node.value, ns)
        if owner is os.environ and node.attr == "get":
            return os.getenv
        if isinstance(owner, ModuleType | type):
            return vars(owner).get(node.attr) or (
                getattr(owner, node.attr, None) if isinstance(owner, ModuleType) else None
            )
        if owner is not None:
            try:
                return object.__getattribute__(owner, "__dict__").get(node.attr)
            except AttributeError:
                return None
    return None


def _is_constructor(found: Any) -> bool:
    if found is os.getenv:
        return True
    module = str(getattr(found, "__module__", None) or "")
    name = str(getattr(found, "__name__", ""))
    if name in _EXACT.get(module, ()):
        return True
    if isinstance(found, type):
        return module.partition(".")[0] in _CLIENTS or module.startswith(_CLIENT_MODULES)
    return name in _FUNCTIONS.get(module, ())


def advice(name: str, value: object, log: StatementLog) -> str:
    """Why a value is not captured, and what to do about it: one line."""
    kind = type(value).__name__
    if isinstance(value, GeneratorType):
        why = "a generator cannot be stored"
    elif isinstance(value, io.IOBase):
        why = "an open file cannot be stored, and opening it again could destroy its content"
    else:
        why = f"this {kind} cannot be stored"
    statement = log.last(name)
    if statement is None:
        return f"{why}; make it in the durable cell"
    source = statement.source.splitlines()
    shown = source[0][:80] + (" …" if len(source) > 1 or len(source[0]) > 80 else "")
    return f"{why}; make it in the durable cell, or run `{shown}` again before you resume"
