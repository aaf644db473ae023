"""The clocks, as the notebook's own code reads them.

A library's readings (a timeout, an event loop's time) stay live: replaying them would stop the
world in the past. What `time.strftime` and `time.ctime` say is made from a recorded
`time.localtime`, so a changed format changes the text and nothing else.
"""

from __future__ import annotations

import datetime as _datetime
import time as _time
import warnings
from collections.abc import Callable
from typing import Any

from jupyter_durable.runtime.patches import Attribute, Reader, StandIn, TypeAttribute

_date, _dt, _utc = _datetime.date, _datetime.datetime, _datetime.UTC

_WALL = ("time", "time_ns")
_STEADY = ("monotonic", "perf_counter", "process_time", "thread_time")


class _Clock(StandIn):
    def __call__(self) -> Any:
        values = self._reader.clock()
        if values is None:
            return self._live()
        return values.read(f"time.{self.__name__}", self._live)


class _Steady(StandIn):
    """A clock that never goes back, over restarts and from machine to machine.

    Another process starts it anew: live readings go on from the last recorded one.
    """

    _ahead: Any = 0

    def __call__(self) -> Any:
        values = self._reader.clock()
        if values is None:
            return self._live()
        return values.read(f"time.{self.__name__}", self._now, decode=self._replayed)

    def _now(self) -> Any:
        return self._live() + self._ahead

    def _replayed(self, recorded: Any) -> Any:
        self._ahead = max(self._ahead, recorded - self._live())
        return recorded


def _fields(moment: _time.struct_time) -> list[Any]:
    return [*moment, moment.tm_zone, moment.tm_gmtoff]


class _Calendar(StandIn):
    """`localtime` and `gmtime`: a clock only if called without a time."""

    def __call__(self, *args: Any) -> Any:
        values = None if args and args[0] is not None else self._reader.clock()
        if values is None:
            return self._live(*args)
        return values.read(f"time.{self.__name__}", self._live, _fields, _time.struct_time)


class _Text(StandIn):
    """`strftime`, `asctime` and `ctime`: `given` arguments leave the time out."""

    given = 0
    render: Callable[..., str]
    local: Callable[[], _time.struct_time]

    def __call__(self, *args: Any) -> str:
        left_out = len(args) == self.given or (self.render is not self._live and args == (None,))
        values = self._reader.clock() if left_out else None
        if values is None:
            return self._live(*args)  # type: ignore[no-any-return]
        return self.render(
            *args[: self.given], values.read("time.localtime", self.local, _fields, _time.struct_time)
        )


def _write(moment: _datetime.datetime) -> str:
    return moment.isoformat() + "~" * moment.fold


def _read(text: str) -> _datetime.datetime:
    moment = _dt.fromisoformat(text.removesuffix("~"))
    return moment.replace(fold=1) if text.endswith("~") else moment


def _as(cls: Any, moment: _datetime.datetime) -> Any:
    if cls is _dt:
        return moment
    day = (moment.year, moment.month, moment.day)
    if not issubclass(cls, _dt):
        return cls(*day)
    clock = (moment.hour, moment.minute, moment.second, moment.microsecond)
    return cls(*day, *clock, moment.tzinfo, fold=moment.fold)


def _datetime_patches(reader: Reader) -> list[TypeAttribute]:
    now, utcnow, today = (
        vars(owner)[name] for owner, name in ((_dt, "now"), (_dt, "utcnow"), (_date, "today"))
    )
    live_now = now.__get__(None, _dt)

    def _now(cls: Any, tz: Any = None) -> Any:
        values = reader.clock()
        if values is None or not (tz is None or isinstance(tz, _datetime.tzinfo)):
            return now.__get__(None, cls)(tz)
        if tz is None:
            return _as(cls, values.read("datetime.now", live_now, _write, _read))
        return _as(cls, values.read("datetime.now:utc", lambda: live_now(_utc), _write, _read).astimezone(tz))

    def _utcnow(cls: Any) -> Any:
        values = reader.clock()
        if values is None:
            return utcnow.__get__(None, cls)()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            live = utcnow.__get__(None, _dt)()
        for warning in caught:  # deprecated since 3.12, which is said of the caller's line, not of ours
            warnings.warn(warning.message, stacklevel=2)
        moment = values.read("datetime.now:utc", lambda: live.replace(tzinfo=_utc), _write, _read)
        return _as(cls, moment.replace(tzinfo=None))

    def _today(cls: Any) -> Any:
        values = reader.clock()
        if values is None:
            return today.__get__(None, cls)()
        return _as(cls, values.read("datetime.now", live_now, _write, _read))

    patches = []
    for owner, name, function in ((_dt, "now", _now), (_dt, "utcnow", _utcnow), (_date, "today", _today)):
        function.__name__, function.__qualname__ = name, f"{owner.__name__}.{name}"
        patches.append(TypeAttribute(owner, name, classmethod(function)))
    return patches


def patches(reader: Reader) -> list[Attribute]:
    """The patches of `time` and `datetime`."""
    stand_ins: list[StandIn] = [_Clock(getattr(_time, name), reader) for name in _WALL]
    for name in _STEADY:
        stand_ins += [_Steady(getattr(_time, n), reader) for n in (name, f"{name}_ns") if hasattr(_time, n)]
    stand_ins += [_Calendar(getattr(_time, name), reader) for name in ("localtime", "gmtime")]
    for name, given, render in (
        ("strftime", 1, _time.strftime),
        ("asctime", 0, _time.asctime),
        ("ctime", 0, _time.asctime),
    ):
        text = _Text(getattr(_time, name), reader)
        text.given, text.render, text.local = given, render, _time.localtime
        stand_ins.append(text)
    found: list[Attribute] = [Attribute(_time, s.__wrapped__.__name__, s) for s in stand_ins]
    return [*found, *_datetime_patches(reader)]
