"""What a call cost, in USD, by `genai-prices` (the extra `prices`): known or said to be unknown, never guessed.

Prices change, so a cost is worked out when the answer is recorded and kept with it. The package takes a tenth of
a second to import, so `warm` does it in a thread while the first request is under way; an answer that arrives
sooner is recorded with its usage instead, and priced when it is looked at, at the prices of its day.
"""

from __future__ import annotations

import importlib
import math
import threading
from datetime import UTC, datetime
from typing import Any

from jupyter_durable.capture.wire.usage import tokens

_FLAVOURS: dict[str, tuple[str, ...]] = {
    "chat": ("chat", "default"),
    "embeddings": ("embeddings", "chat", "default"),
    "responses": ("responses", "default"),
    "messages": ("anthropic", "default"),
    "gemini": ("default",),
    "converse": ("default",),
    "invoke": ("anthropic", "default"),
}

_MOST = 1000

_package: Any = None
_missing = False
_unknown: set[tuple[str, str]] = (
    set()
)  # (provider, model): to look for one in vain takes longer than to find it
_snapshot: Any = None  # of the package's data, in which they are unknown
_lock = threading.Lock()


def load() -> bool:
    """Import `genai-prices`; False if it is not installed. Blocks for 0.1 to 2 s the first time."""
    global _package, _missing
    with _lock:
        if _package is None and not _missing:
            try:
                _package = importlib.import_module("genai_prices")
            except ImportError:
                _missing = True
    return _package is not None


def warm() -> None:
    """Begin to import it, in a thread. Cheap when done before."""
    if _package is None and not _missing and not _lock.locked():
        threading.Thread(target=load, name="durable-prices", daemon=True).start()


def ready() -> bool:
    """Whether `cost` can answer now."""
    return _package is not None


def cost(
    provider: str | None, api: str | None, model: str | None, usage: dict[str, Any], at: float | None = None
) -> float | None:
    """What `usage` (the provider's own report) cost in USD at POSIX time `at` (default: now); None if not known.

    Does not import the package: `load` or `warm` do.
    """
    if provider is None or provider == "local" or not usage:
        return None
    told = usage.get("cost")
    if provider == "openrouter" and isinstance(told, int | float) and not isinstance(told, bool):
        return float(told)  # what it bills
    if _package is None or model is None or _is_unknown(provider, model):
        return None
    when = datetime.fromtimestamp(at, UTC) if at is not None else None
    for flavour in _FLAVOURS.get(api or "", ()):
        if flavour == "anthropic" and provider == "anthropic":
            continue  # there, it is the default
        envelope = {"model": model, "modelVersion": model, "usage": usage, "usageMetadata": usage}
        found = _extracted(envelope if api != "converse" else {**usage, **envelope}, provider, flavour, when)
        if found is not None:
            return found
    return _counted(provider, model, usage, when)


def _is_unknown(provider: str, model: str) -> bool:
    global _snapshot
    source = getattr(_package, "data_snapshot", None)  # early versions have none
    now = source.get_snapshot() if source is not None else _package
    if now is not _snapshot:  # the first call, or the package has fetched newer prices
        _snapshot = now
        _unknown.clear()
    return (provider, model) in _unknown


def _extracted(data: dict[str, Any], provider: str, flavour: str, when: datetime | None) -> float | None:
    try:
        extracted = _package.extract_usage(data, provider_id=provider, api_flavor=flavour)
        return _float(extracted.calc_price(genai_request_timestamp=when).total_price)
    except (LookupError, ValueError, TypeError, ArithmeticError):
        return None


def _counted(provider: str, model: str, usage: dict[str, Any], when: datetime | None) -> float | None:
    """For providers whose usage the package does not read."""
    count = tokens(usage)
    if count.input is None and count.output is None:
        return None
    try:
        used = _package.Usage(
            input_tokens=count.input, output_tokens=count.output, cache_read_tokens=count.cached
        )
        found = _package.calc_price(used, model, provider_id=provider, genai_request_timestamp=when)
        return _float(found.total_price)
    except (LookupError, ValueError, TypeError, ArithmeticError, AttributeError) as error:
        if (
            type(error) is LookupError and len(_unknown) < _MOST
        ):  # not one of its kinds, which may be due to `usage`
            _unknown.add((provider, model))
        return None


def _float(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) and number >= 0 else None
