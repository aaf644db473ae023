"""Random bytes and ids as read, and the state of the global generators at the borders of steps.

`uuid4`, `secrets` and `random.SystemRandom` all end in `os.urandom`, looked up when they are called;
patched there, they replay however they were imported. A library's readings are recorded under its
module's name (`patches.Reader.entropy`).

`random` and numpy's global generator are not read by us but by everybody: `RandomWatch` notes their
state where a step's outcome is handed to the code, if it changed since the call (a tool that drew is
not executed on replay), and the state the run began with, once something drew from it.
"""

from __future__ import annotations

import base64
import os
import random
import struct
import sys
import uuid
from collections.abc import Callable
from types import CodeType, FunctionType, MethodType
from typing import Any

from jupyter_durable.runtime.patches import Attribute, Reader, StandIn
from jupyter_durable.runtime.values import Values


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


class _Bytes(StandIn):
    """`os.urandom` and `os.getrandom`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        found = self._reader.entropy()
        if found is None or kwargs or not all(type(arg) is int for arg in args):
            return self._live(*args, **kwargs)
        values, module = found
        size = ",".join(map(str, args))
        name = self.__wrapped__.__name__
        return values.read(f"os.{name}:{size}{module}", lambda: self._live(*args), _text, base64.b64decode)


class _Uuid:
    """A `uuid` function that keeps state between calls (the last time stamp): recorded as a whole."""

    def __init__(self, original: Callable[..., uuid.UUID], reader: Reader) -> None:
        self._original = original
        self._reader = reader

    def __call__(self, *args: Any) -> uuid.UUID:
        found = self._reader.entropy()
        if found is None:
            return self._original(*args)
        values, module = found
        source = f"uuid.{self._original.__name__}{module}"
        return values.read(source, lambda: self._original(*args), self._encode, self._decode)

    @staticmethod
    def _encode(value: uuid.UUID) -> list[Any]:
        return [value.hex, value.is_safe.value]

    @staticmethod
    def _decode(data: list[Any]) -> uuid.UUID:
        return uuid.UUID(hex=data[0], is_safe=uuid.SafeUUID(data[1]))


class _Code:
    """Gives a Python function other code: it stays itself, under every name it was imported as."""

    def __init__(self, function: FunctionType, make: Callable[[FunctionType], Callable[..., Any]]) -> None:
        self.what = f"{function.__module__}.{function.__name__}"
        self._function = function
        self._original: CodeType = function.__code__
        copy = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__)
        parameters = ", ".join(self._original.co_varnames[: self._original.co_argcount])
        space: dict[str, Any] = {}
        # The stand-in is a constant of the code, since the function's globals are not ours to add to.
        source = f"def stub({parameters}):\n    call = {self.what!r}\n    return call({parameters})"
        exec(source, space)  # noqa: S102 - made of the function's own parameter names
        code: CodeType = space["stub"].__code__
        constants = tuple(make(copy) if constant == self.what else constant for constant in code.co_consts)
        self._replacement = code.replace(co_consts=constants, co_filename=self._original.co_filename)

    def names(self) -> list[tuple[Any, Any]]:
        """None: every name holds the function itself."""
        return []

    def apply(self) -> bool:
        """Make the change."""
        self._function.__code__ = self._replacement
        return True

    def undo(self) -> None:
        """Unmake it, unless somebody else has changed it since."""
        if self._function.__code__ is self._replacement:
            self._function.__code__ = self._original


def _seed_patches(reader: Reader) -> list[Attribute]:
    original = random.Random.seed
    read_bytes = os.urandom

    def seed(self: random.Random, a: Any = None, version: int = 2) -> None:
        # `random.Random()` and `random.seed()` take their seed from the system, in C.
        if a is None and (found := reader.entropy()) is not None:
            values, module = found
            data = values.read(f"random.seed{module}", lambda: read_bytes(32), _text, base64.b64decode)
            a = int.from_bytes(data, "big")
        original(self, a, version)

    seed.__qualname__, seed.__module__, seed.__doc__ = original.__qualname__, "random", original.__doc__
    return [
        Attribute(random.Random, "seed", seed, by_name=False),
        Attribute(random, "seed", MethodType(seed, random._inst)),
    ]


def patches(reader: Reader) -> list[Any]:
    """The patches of `os`, `random` and `uuid`."""
    urandom = _Bytes(os.urandom, reader)
    found: list[Any] = [
        Attribute(os, "urandom", urandom),
        Attribute(random, "_urandom", urandom, by_name=False),
        *_seed_patches(reader),
    ]
    if hasattr(os, "getrandom"):
        found.append(Attribute(os, "getrandom", _Bytes(os.getrandom, reader)))
    for name in ("uuid1", "uuid6", "uuid7"):
        function = getattr(uuid, name, None)
        if isinstance(function, FunctionType):
            found.append(_Code(function, lambda original: _Uuid(original, reader)))
    return found


# -- global generators -------------------------------------------------------------------------------

State = tuple[Any, ...]
"""A generator's snapshot; whoever made it can encode it."""
Glance = tuple[Any, ...]
"""Its counter and a few of its words: enough to tell that it was drawn from, or was given another state."""

_WORDS = struct.Struct("=624I")
_SOURCE = "random"
_BEGIN = -1


class _Memory:
    """A generator's own bytes, copied in 0.1 µs where `getstate` takes 10. `part`: what tells its states apart."""

    def __init__(self, address: int, size: int, part: slice) -> None:
        from ctypes import c_char

        self._view = (c_char * size).from_address(address)
        self._part = part

    def copy(self) -> bytes:
        return self._view.raw

    def glance(self) -> bytes:
        return self._view[self._part]  # type: ignore[return-value]  # of characters, a slice is bytes


class _Python:
    """The generator behind `random.random()` and its like."""

    key = "py"

    def __init__(self) -> None:
        self._inst: Any = random._inst
        self._memory: _Memory | None = None
        # CPython keeps `int index; uint32_t state[624]` after the header. Believed only where it is seen to be so.
        if (
            sys.implementation.name == "cpython"
            and type(self._inst).__basicsize__ >= object.__basicsize__ + 2500
        ):
            memory = _Memory(id(self._inst) + object.__basicsize__, 2500, slice(20))
            if memory.copy() == self._pack():
                self._memory = memory

    def _pack(self) -> bytes:
        *words, index = random.getstate()[1]
        return struct.pack("=i", index) + _WORDS.pack(*words)

    def snapshot(self) -> State:
        memory = self._memory
        return (memory.copy() if memory is not None else self._pack(), self._inst.gauss_next)

    def glance(self) -> Glance:
        memory = self._memory
        return (memory.glance() if memory is not None else self._pack(), self._inst.gauss_next)

    def split(self, state: State) -> tuple[list[Any], bytes]:
        """The state as JSON data and the 624 words, which mostly stay the same."""
        return [struct.unpack_from("=i", state[0])[0], state[1]], state[0][4:]

    def restore(self, data: list[Any], words: bytes) -> None:
        random.setstate((3, (*_WORDS.unpack(words), data[0]), data[1]))


class _Numpy:
    """The generator behind `numpy.random.rand()` and its like, once numpy.random is imported."""

    key = "np"

    def __init__(self, module: Any) -> None:
        self._module = module
        self._state = module.get_state.__self__
        self._bits = self._state._bit_generator
        if type(self._bits).__name__ != "MT19937":
            raise TypeError("set_bit_generator() was called")
        # 624 words, then the counter.
        self._twister = _Memory(self._bits.ctypes.state_address, 2500, slice(2480, 2500))
        # Where the cached second Gaussian is; another change in there costs a record, no more.
        header = object.__basicsize__
        self._object = _Memory(
            id(self._state) + header, type(self._state).__basicsize__ - header, slice(None)
        )

    @classmethod
    def find(cls) -> _Numpy | None:
        try:
            return cls(sys.modules["numpy.random"])
        except (KeyError, AttributeError, TypeError):  # not there, half imported, or none that we know
            return None

    def snapshot(self) -> State:
        return self._twister.copy(), self._object.copy()

    def glance(self) -> Glance:
        return self._twister.glance(), self._object.copy()

    def split(self, state: State) -> tuple[list[Any], bytes]:
        """As `_Python.split`; `state` must be of this moment, since the Gaussian is read from numpy."""
        current = self._module.get_state(legacy=False)
        words: bytes = current["state"]["key"].tobytes()
        return [int(current["state"]["pos"]), int(current["has_gauss"]), float(current["gauss"])], words

    def restore(self, data: list[Any], words: bytes) -> None:
        self._module.set_state(("MT19937", _WORDS.unpack(words), *data))


class RandomWatch:
    """Notes and restores the state of the global generators of `random` and numpy, for one run.

    What holds: code between two durable calls of a scope draws again what it drew, wherever the
    journal reaches, though the kernel is fresh and tools that drew are not executed; provided that no
    other scope draws within the same stretch (there is one generator, and no one can say whose turn it was).

    Nothing is recorded for a step that leaves the generators alone, nor for a run in which nobody draws.

    >>> watch, values = RandomWatch(), Values()
    >>> watch.begin(values)
    >>> token = watch.before_step()          # live: where the call is made, before its start is committed
    >>> _ = random.random()                  # (the tool draws)
    >>> watch.after_step(values, 0, token)   # where its outcome is handed to the code
    >>> after = random.random()
    >>> watch.replayed(Values(values.drain()), 0)   # the same place, on replay
    >>> random.random() == after
    True
    """

    def __init__(self) -> None:
        self._python = _Python()
        self._numpy = _Numpy.find()
        self._root: Values | None = None
        self._begun: Glance = ()
        self._initial: dict[str, tuple[Glance, list[Any], bytes]] = {}

    def begin(self, root: Values) -> None:
        """The run's code is about to start, or to start again. `root` are the values of its first scope."""
        self._root = root
        if not self._restore(root, _BEGIN):
            self._begun = self._glance()
            self._initial = {g.key: (g.glance(), *g.split(g.snapshot())) for g in self._generators()}

    def before_step(self) -> Glance:
        """A call is made live. Returns what `after_step` compares with. Before the start is committed."""
        token = self._glance()
        if self._initial and token != self._begun:
            self._note_initial(token)
        return token

    def drew(self, token: Glance) -> bool:
        """Whether `after_step` has anything to record."""
        return self._glance() != token

    def after_step(self, values: Values, pos: int, token: Glance) -> None:
        """The outcome of the step at `pos` is handed to the code of the scope that `values` belongs to.

        Records the state if it is not `token`'s; committed, like every reading, with the next start.
        """
        now = self._glance()
        if now == token:
            return
        if self._initial:
            self._note_initial(token)
        changed = {}
        for generator, before, after in zip(self._generators(), token, now, strict=False):
            if after is not None and before != after:
                changed[generator.key] = generator.split(generator.snapshot())
        self._record(values, pos, changed)

    def replayed(self, values: Values, pos: int) -> None:
        """The recorded outcome of the step at `pos` is handed to the code: restore what is noted for it."""
        if values.peek(_SOURCE) is not None:
            self._restore(values, pos)

    def _generators(self) -> list[_Python | _Numpy]:
        return [self._python, self._numpy] if self._numpy is not None else [self._python]

    def _glance(self) -> Glance:
        numpy = self._numpy
        if numpy is None:
            if "numpy.random" not in sys.modules:
                return self._python.glance(), None
            numpy = self._numpy = _Numpy.find()
        elif numpy._state._bit_generator is not numpy._bits:
            numpy = self._numpy = _Numpy.find()
        return self._python.glance(), numpy.glance() if numpy is not None else None

    def _note_initial(self, token: Glance) -> None:
        drawn = {}
        for generator, state in zip(self._generators(), token, strict=False):
            initial = self._initial.get(generator.key)
            if initial is not None and initial[0] != state:
                drawn[generator.key] = self._initial.pop(generator.key)[1:]
        if drawn and self._root is not None:
            self._record(self._root, _BEGIN, drawn)

    @staticmethod
    def _record(values: Values, pos: int, states: dict[str, tuple[list[Any], bytes]]) -> None:
        item: dict[str, Any] = {"at": pos}
        for key, (data, words) in states.items():
            # 2.5 KB that change every 624th draw only: written again when they have.
            known = values.memo.get(key) == words
            values.memo[key] = words
            item[key] = [data, None if known else _text(words)]
        values.record(_SOURCE, item, capped=False)

    def _restore(self, values: Values, pos: int) -> bool:
        found = {}
        while (item := values.peek(_SOURCE)) is not None and item["at"] <= pos:
            values.skip(_SOURCE)
            for key, (data, text) in _parts(item):
                if text is not None:
                    values.memo[key] = base64.b64decode(text)
                if item["at"] == pos:
                    found[key] = data, values.memo[key]
        if "np" in found and self._numpy is None:
            self._numpy = _Numpy.find() or _import_numpy()
        for generator in self._generators():
            if generator.key in found:
                generator.restore(*found[generator.key])
        return bool(found)


def _parts(item: dict[str, Any]) -> list[tuple[str, list[Any]]]:
    return [(key, part) for key, part in item.items() if key != "at"]


def _import_numpy() -> _Numpy | None:
    # The tool that is not executed now was the first to import it.
    try:
        import numpy.random  # noqa: F401
    except ImportError:
        return None
    return _Numpy.find()
