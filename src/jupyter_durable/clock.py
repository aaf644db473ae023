"""Time, injected: nothing else in the package reads a clock.

Times are POSIX seconds as `float`, durations are seconds.
"""

from __future__ import annotations

import datetime as _datetime
import math
import re
import time as _time
from collections.abc import Callable
from typing import Protocol

# Bound at import: while a run is live, the names in the `time` module may be the run's own.
_now = _time.time
_monotonic = _time.monotonic
_sleep = _time.sleep


class Clock(Protocol):
    """What the runtime needs to know about time."""

    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        ...

    def wait(self, seconds: float) -> None:
        """Block the calling thread for `seconds`."""
        ...


class SystemClock:
    """The machine's clocks."""

    now: Callable[[], float] = staticmethod(_now)
    monotonic: Callable[[], float] = staticmethod(_monotonic)
    wait: Callable[[float], None] = staticmethod(_sleep)


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "ms": 0.001}
_NAMES = {
    "sec": "s",
    "second": "s",
    "min": "m",
    "minute": "m",
    "hr": "h",
    "hour": "h",
    "day": "d",
    "week": "w",
}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)[\s,]*")


def duration(said: float | str | _datetime.timedelta) -> float:
    """Seconds, from a number of them, a `timedelta`, or as people write it. Raises `ValueError`.

    >>> duration("2 h"), duration("1 h 30 min"), duration("90"), duration(0.5)
    (7200.0, 5400.0, 90.0, 0.5)
    """
    if isinstance(said, _datetime.timedelta):
        seconds = said.total_seconds()
    elif isinstance(said, str):
        seconds = _read(said.strip().lower())
    else:
        seconds = float(said)
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{said!r} is no duration; say seconds, or for example '2 h' or '1 h 30 min'")
    return seconds


def _read(text: str) -> float:
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    seconds, at = 0.0, 0
    while at < len(text) or not text:
        part = _PART.match(text, at)
        unit = part[2].rstrip("s") or "s" if part is not None else ""
        unit = "ms" if part is not None and part[2] == "ms" else _NAMES.get(unit, unit)
        if part is None or unit not in _UNITS:
            return math.nan
        seconds, at = seconds + float(part[1]) * _UNITS[unit], part.end()
    return seconds


def moment(said: str, now: float) -> float:
    """POSIX seconds of a time as people write it: from now ("2 h"), today or tomorrow ("17:30"), or a date. Raises `ValueError`.

    Without a zone it is this machine's time.

    >>> moment("2 h", 100.0), moment("1970-01-02T00:00:00+00:00", 0.0)
    (7300.0, 86400.0)
    """
    text = said.strip()
    try:
        return now + duration(text)
    except ValueError:
        here = _datetime.datetime.fromtimestamp(now).astimezone()
    try:
        if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", text):
            clock = _datetime.time.fromisoformat(text.zfill(5 if text.count(":") == 1 else 8))
            found = here.replace(hour=clock.hour, minute=clock.minute, second=clock.second, microsecond=0)
            return (found if found > here else found + _datetime.timedelta(days=1)).timestamp()
        found = _datetime.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{said!r} is no time; say for example '2 h', '17:30' or '2030-01-31 17:30'"
        ) from None
    return (found if found.tzinfo is not None else found.replace(tzinfo=here.tzinfo)).timestamp()
