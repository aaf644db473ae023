"""What the SDKs in `sdks` have in common: the question, the tools, and what each of them has to be able to do."""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from pydantic import BaseModel

from jupyter_durable.testing.provider.addresses import Addresses

QUESTION = "What is a lease?"


class City(BaseModel):
    """What structured output is asked for."""

    name: str
    people: int


def search(q: str) -> str:
    """Search."""
    return f"found {q}"


def add(a: int, b: int) -> str:
    """Add."""
    return str(a + b)


TOOLS = {"search": search, "add": add}
SCHEMAS: dict[str, dict[str, Any]] = {
    "search": {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]},
    "add": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
}


def run(name: str, arguments: Any) -> str:
    """What the tool says; `arguments` as JSON or parsed."""
    return TOOLS[name](**(json.loads(arguments) if isinstance(arguments, str) else arguments))  # type: ignore[operator]


def transport_errors() -> tuple[type[BaseException], ...]:
    """What SDKs let through that do not make an error of their own when a stream breaks."""
    found: list[type[BaseException]] = []
    for name in ("httpx", "httpx2"):
        with contextlib.suppress(ImportError):
            found.append(importlib.import_module(name).TransportError)
    return tuple(found)


class Sdk:
    """What one SDK can do. `has_async` says whether it has async clients."""

    name: str
    module: str
    has_async = True

    def available(self) -> bool:
        try:
            importlib.import_module(self.module)
        except ImportError:
            return False
        return True

    def agent(self, provider: Addresses) -> str:
        raise NotImplementedError

    async def agent_async(self, provider: Addresses) -> str:
        raise NotImplementedError

    def stream(self, provider: Addresses) -> Iterator[str]:
        raise NotImplementedError

    def stream_async(self, provider: Addresses) -> AsyncIterator[str]:
        raise NotImplementedError

    def structured(self, provider: Addresses) -> City:
        raise NotImplementedError

    def tokens(self, provider: Addresses) -> tuple[int, int, int]:
        """Input (in all), output (in all) and cached tokens, as the SDK says them."""
        raise NotImplementedError

    def errors(self) -> tuple[type[BaseException], ...]:
        """What a broken connection raises in this SDK."""
        raise NotImplementedError

    def refusal(self) -> type[BaseException]:
        """What an error status raises."""
        raise NotImplementedError
