"""Secrets in this process: the known shapes, what the user added, what the environment holds.

    redact ────────── the user's own patterns and values; public as `durable.redact`
    given, restore ── these as data, for a run that goes on in another process; of the rest, marks (`codec.marks`)
    learn ─────────── values of key-like environment variables, when a run begins
    remember ──────── a value met under a secret's name: a token that `login()` returned is one as an argument, too
    holds, spans ──── what the codec asks: is there one in this text, and where
    mask, masked ──── text and data for people: errors, logs, notices, tables, with dots instead
    settled ───────── of a text that is still growing, what may be shown

All of it is process-wide. What was given stays; of what was met, the last values are remembered.
"""

from __future__ import annotations

import os
import re
import threading
from binascii import b2a_base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus

from jupyter_durable.codec import marks
from jupyter_durable.codec.packed import unpacked
from jupyter_durable.codec.plain import dumps
from jupyter_durable.codec.shapes import GATES, LOOSE, Gate, fields, find, is_secret, is_secret_variable
from jupyter_durable.errors import DurableError

HIDDEN = "•••"
"""What people see where a secret is."""


@dataclass(frozen=True, repr=False, slots=True)
class Concealed:
    """Holds a value that is a secret whatever it looks like: an argument, by its parameter's name.

    It is stored sealed, and what is read back is the value.

    >>> Concealed("hunter2")
    •••
    """

    value: Any = field(repr=False)

    def __repr__(self) -> str:
        return HIDDEN


_HEAD = 3  # characters of a secret that may be shown: fewer are anybody's
_SHORTEST = 4  # characters of a value given to `redact`: a shorter one is everywhere
_SHORTEST_VARIABLE = 8
_MET = 32  # values; each costs 40 ns a text
_WINDOW = 1 << 20
_OVERLAP = 1 << 13
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_DIGIT, _LETTER = re.compile(r"\d"), re.compile(r"[^\W\d_]")
_META = re.compile(r"[\\\[\](){}*+?|^$]")
_COMMON = frozenset("etaoinshrdlcumwfgpybvETAOINSHRDLCUMWFGPYBV")

_lock = threading.Lock()
_given: tuple[str, ...] = ()
_environment: tuple[str, ...] = ()
_met: tuple[str, ...] = ()
_literals: tuple[str, ...] = ()  # all of these
_patterns: tuple[re.Pattern[str], ...] = ()
# The literals as they stand in a text, in JSON text and in UTF-8 bytes read as Latin-1, each after its rarest
# character: most texts are done with when that was looked for.
_forms: tuple[tuple[str, str], ...] = ()
_marks: tuple[marks.Mark, ...] = ()  # of what only other processes know


def redact(*secrets: Any) -> None:
    """Keep values out of the store, the timeline, errors and logs, from now on, in every run of this process.

    A `str` or `SecretStr` is the secret itself; a `str` that is a regular expression counts as one, too;
    `re.compile(...)` only as that. What a run must give back on replay is stored encrypted with the
    store's key, and shown as dots. Raises `DurableError` for what would hide nearly everything.

    >>> redact("hunter-two", r"cust-\\d{6}")
    >>> mask("customer cust-004711 says hunter-two")
    'customer ••• says •••'
    """
    literals: list[str] = []
    patterns: list[re.Pattern[str]] = []
    for secret in secrets:
        given = secret.get_secret_value() if hasattr(secret, "get_secret_value") else secret
        if isinstance(given, bytes):
            given = given.decode("utf-8", "replace") if given is not secret else given
        if isinstance(given, re.Pattern) and isinstance(given.pattern, str):
            patterns.append(_sound(given))
        elif isinstance(given, str):
            if len(given) < _SHORTEST:
                raise DurableError(
                    f"redact: a value of {len(given)} characters is everywhere",
                    hint=f"give at least {_SHORTEST}, or a pattern with its surroundings: re.compile(r'pin=\\d+')",
                )
            literals.append(given)
            if given is secret and _META.search(given):
                try:
                    patterns.append(_sound(re.compile(given)))
                except re.error:
                    continue
        else:
            raise DurableError(
                f"redact takes str, re.Pattern of str or SecretStr, not {type(secret).__name__}",
                hint="durable.redact(r'cust-\\d+', SecretStr('...'))",
            )
    _add(literals, patterns, given=True)


def given(salt: bytes, told: Iterable[Mapping[str, Any]] = ()) -> dict[str, Any] | None:
    """What `redact` was given, and marks of the other values that are known here, as JSON data.

    `told`: what was told of it before; None if there is nothing to add.
    """
    told = list(told)
    before = {tuple(item) for data in told for name in ("m", "p") for item in data.get(name, ())}
    literals = [text for text in _given if not any(text in data.get("l", ()) for data in told)]
    patterns = [[p.pattern, p.flags] for p in _patterns if (p.pattern, p.flags) not in before]
    own = {marks.make(form, salt) for text in {*_environment, *_met} for form in _spellings(text)}
    new = sorted({*own, *(mark for mark in _marks if mark.salt == salt.hex())} - before)
    found = {"l": literals, "p": patterns, "m": new}
    return {name: items for name, items in found.items() if items} or None


def restore(data: Mapping[str, Any]) -> None:
    """Redact what `given` gave in another process."""
    global _marks
    literals = data.get("l", ())
    patterns = [re.compile(text, flags) for text, flags in data.get("p", ())]
    if not set(literals) <= set(_given) or not set(patterns) <= set(_patterns):
        _add(literals, patterns, given=True)
    new = {marks.Mark(*mark) for mark in data.get("m", ())}.difference(_marks)
    if new:
        known = {
            marks.make(form, bytes.fromhex(salt)) for salt in {m.salt for m in new} for _, form in _forms
        }
        with _lock:
            _marks = tuple(dict.fromkeys((*_marks, *sorted(new - known))))


def remember(value: object) -> None:
    """Treat a value that stood under a secret's name as a secret wherever it stands: the last 32 of them.

    One that could be a word is forgotten at once.
    """
    global _met
    if not isinstance(value, str) or value in _literals or not 8 <= len(value) <= 4096:
        return
    if any(map(str.isspace, value)) or (
        len(value) < 20 and not (_DIGIT.search(value) and _LETTER.search(value))
    ):
        return
    if not mask(value).replace(HIDDEN, ""):
        return  # known by its shape
    with _lock:
        _met = (*_met[1 - _MET :], value)
    _add([], [])


def learn(environment: Mapping[str, str] | None = None) -> None:
    """Treat the values of key-like environment variables (default: this process's) as secrets."""
    found = os.environ if environment is None else environment
    new = [
        value
        for name, value in found.items()
        if len(value) >= _SHORTEST_VARIABLE
        and is_secret_variable(name)
        and value not in _literals
        and not _is_path(value)
    ]
    if new:
        _add(new, [])


def _is_path(value: str) -> bool:
    # GOOGLE_APPLICATION_CREDENTIALS says where the secret is.
    return value.startswith(("/", "~", ".")) and os.path.exists(os.path.expanduser(value))  # noqa: PTH110, PTH111


def _sound(pattern: re.Pattern[str]) -> re.Pattern[str]:
    if pattern.search("") is not None:
        raise DurableError(
            f"redact: the pattern {pattern.pattern!r} matches nothing at all, and so everything",
            hint="say what must be there: \\d+ instead of \\d*",
        )
    return pattern


def _add(literals: list[str], patterns: list[re.Pattern[str]], *, given: bool = False) -> None:
    global _given, _environment, _literals, _patterns, _forms
    with _lock:
        if given:
            _given = tuple(dict.fromkeys((*_given, *literals)))
        else:
            _environment = tuple(dict.fromkeys((*_environment, *literals)))
        # The longest first: one may be a part of another.
        known = sorted({*_given, *_environment, *_met}, key=lambda text: (-len(text), text))
        forms = dict.fromkeys(form for text in known for form in _spellings(text))
        _forms = tuple((min(form, key=_frequency), form) for form in forms)
        _patterns = tuple(dict.fromkeys((*_patterns, *patterns)))
        _literals = tuple(known)


def _spellings(text: str) -> Iterator[str]:
    """How a literal may stand in a text."""
    yield from (text, dumps(text)[1:-1], str(text.encode("utf-8", "surrogatepass"), "latin-1"))
    if text in _given or text in _environment:  # it lasts
        yield from _coded(text)


def _coded(text: str) -> Iterator[str]:
    """What `text` is within a URL, and within base64, wherever it begins there."""
    data = text.encode("utf-8", "surrogatepass")
    yield from (quote(text, safe="", errors="replace"), quote_plus(text, errors="replace"))
    if len(data) < _SHORTEST_VARIABLE:
        return
    for ahead in range(3):
        code = b2a_base64(bytes(ahead) + data, newline=False)[
            -(-ahead * 8 // 6) : (ahead + len(data)) * 8 // 6
        ]
        yield code.decode()
        yield code.translate(_URL_SAFE).decode()


def _frequency(char: str) -> int:
    if not char.isalnum():
        return 3 if char in ' -_.,:/"\\' else 0
    return 4 if char in _COMMON else 2 if char.isdigit() else 1


def holds(text: str, gates: tuple[Gate, ...] = GATES) -> bool:
    """Whether there may be a secret in `text`, which may be JSON text. False is certain, patterns of the user's apart.

    >>> holds("Disk-space-management"), holds('{"h": "Bearer abcdefgh12"}')
    (False, True)
    """
    for anchor, search in gates:
        if anchor in text and search(text):
            return True
    if _forms and any(rarest in text and form in text for rarest, form in _forms):
        return True
    return bool(_marks) and any(marks.find(text, _marks))


def matches(text: str) -> bool:
    """Whether one of the user's patterns is in `text`."""
    return any(pattern.search(text) for pattern in _patterns)


def holds_plain(value: Any, text: str) -> bool:
    """`holds` for a value that is JSON as it is, and its JSON text; patterns of the user's included."""
    # Numbers are quickly done with.
    return '"' in text and (holds(text) or (bool(_patterns) and any(map(matches, _strings(value)))))


def concerns(text: str) -> bool:
    """Whether `mask` or `masked` may have something to hide in `text`, or in the data of which it is the JSON text."""
    return holds(text) or (bool(_patterns) and matches(text))


def _strings(value: Any) -> Iterator[str]:
    todo = [value]
    for part in todo:
        if type(part) is str:
            yield part
        elif type(part) is dict:
            todo += part
            todo += part.values()
        elif type(part) is list or type(part) is tuple:
            todo += part


def holds_bytes(data: Any, *, packed: bool = False) -> bool:
    """The same for bytes, which may be text in UTF-8, compressed or not; patterns of the user's and fields included.

    `packed`: texts may stand in it without borders, or with their letters in four bytes each. Such data is
    looked at a megabyte at a time (about 3 ms).

    >>> holds_bytes(b'{"h": "Bearer abcdefgh12"}')
    True
    """
    view = memoryview(data)
    if view.format != "B" or view.ndim != 1:
        view = view.cast("B")
    return _in_window(view, packed) or (
        not packed and any(_in_window(memoryview(p), False) for p in unpacked(view))
    )


def _in_window(view: memoryview, packed: bool) -> bool:
    for start in range(0, max(len(view), 1), _WINDOW):
        text = str(view[max(start - _OVERLAP, 0) : start + _WINDOW], "latin-1")
        if packed:
            text = text.replace("\0", "")
            if holds(text, LOOSE) or any(fields(text)) or (_patterns and matches(text)):
                return True
        elif spans(text):
            return True
    return False


def spans(text: str) -> list[tuple[int, int]]:
    """Where secrets stand in `text`, in order, not touching each other."""
    found = [*fields(text)]
    if not found and not _patterns and not holds(text):
        return []
    found += find(text)
    for rarest, form in _forms:
        start = text.find(form) if rarest in text else -1
        while start >= 0:
            found.append((start, start + len(form)))
            start = text.find(form, start + len(form))
    found += marks.find(text, _marks)
    for pattern in _patterns:
        found += [match.span() for match in pattern.finditer(text) if match.end() > match.start()]
    found.sort()
    merged: list[tuple[int, int]] = []
    for start, end in found:
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def mask(text: str) -> str:
    """`text` with dots for every secret in it.

    >>> mask("401: bad key sk-abc123def456ghi789")
    '401: bad key •••'
    """
    found = spans(text)
    if not found:
        return text
    parts: list[str] = []
    last = 0
    for start, end in found:
        parts += [text[last:start], HIDDEN]
        last = end
    return "".join([*parts, text[last:]])


_PLAIN_WORD = re.compile(r"[^\w\s]*[^\W\d_]{0,20}[^\w\s@/+=-]*")


def settled(text: str) -> str:
    """`text`, of which there may be more to come, without an end that may turn out to be the beginning of a secret.

    >>> settled("the key is sk-pro"), settled("a word is a wo")
    ('the key is …', 'a word is a wo')
    """
    cut = marks.cut(text, _marks)
    if text and not text[-1].isspace():
        start = len(text) - len(text.rsplit(None, 1)[-1])
        if not _PLAIN_WORD.fullmatch(text, start):
            cut = min(cut, start)
    for _, form in _forms:
        start = text.find(form[:_HEAD], max(len(text) - len(form) + 1, 0))
        while start >= 0:
            if form.startswith(text[start:]):
                cut = min(cut, start)
                break
            start = text.find(form[:_HEAD], start + 1)
    return text if cut == len(text) else f"{text[:cut]}…"


def step_name(name: str) -> str:
    """A step's name without what `redact` was given: it is in the clear wherever the step is.

    It is also part of what the step is, so nothing else counts that differs between processes: what the
    environment holds, what was met. Known shapes are hidden when the name is given (`shapes.hide`).
    """
    if _given or _patterns:
        for literal in _given:
            name = name.replace(literal, HIDDEN)
        for pattern in _patterns:
            name = pattern.sub(HIDDEN, name)
    return name


def masked(data: Any) -> Any:
    """JSON-like data with dots for every secret: in texts, and under key-like names.

    >>> masked({"m": "hello", "f": {"password": "x", "n": 1}})
    {'m': 'hello', 'f': {'password': '•••', 'n': 1}}
    """
    if isinstance(data, str):
        return mask(data)
    if isinstance(data, Mapping):
        return {
            mask(name) if isinstance(name, str) else name: HIDDEN
            if isinstance(item, str | bytes) and is_secret(name, item)
            else masked(item)
            for name, item in data.items()
        }
    if isinstance(data, list | tuple):
        return [masked(item) for item in data]
    return data
