"""The `%%durable` line: `%%durable [NAME] [--new | --resume RUN | --replay RUN] [--plan] ...`."""

from __future__ import annotations

import argparse
import difflib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from IPython.core.error import UsageError
from IPython.core.magic_arguments import MagicArgumentParser

from jupyter_durable.clock import duration, moment
from jupyter_durable.journal.budget import parse_cost

_DESCRIPTION = """\
Run this cell durably: every tool and model call in it is journaled before the cell may go on.

Must be line 1 of the cell. If the kernel dies, the network fails or you interrupt it, run the cell
again (in a fresh kernel `%load_ext jupyter_durable` and the cell are enough): finished steps are
answered from the journal, and the run continues at the step that was cut off.

`$name` and `{expression}` on the line are replaced by their values. `JUPYTER_DURABLE=off` in the
environment makes this an ordinary cell. See also `%durable?`.
"""
_EPILOG = """\
Examples::

  %%durable research
  %%durable research --new
  %%durable research --tool 'fetch_*' --park-after 600
  %%durable --plan
"""

CAPTURES = ("tools", "models", "http", "mcp")
"""What `--capture` names: calls of other libraries. Tools of one's own, and `--tool`, are steps in any case."""

MADE_OF = "line"
"""The key of `made_of` in a run's row; `runtime.run.Options` reads it, too."""


@dataclass(frozen=True, slots=True)
class CellArguments:
    """What a `%%durable` line asks for. `park_after` is in seconds, None means never; `budget` in USD.

    `deadline` as it is written: it counts from when the run began.
    """

    name: str | None = None
    new: bool = False
    resume: str | None = None
    replay: str | None = None
    plan: bool = False
    rerun_from: str | None = None
    tools: tuple[str, ...] = ()
    store: str | None = None
    park_after: float | None = None
    budget: float | None = None
    max_steps: int | None = None
    deadline: str | None = None
    approve: tuple[str, ...] = ()
    capture: frozenset[str] = frozenset(CAPTURES)
    ignore_hosts: tuple[str, ...] = ()
    pace: bool = False


def made_of(given: CellArguments) -> dict[str, list[str]]:
    """What of a line a run is made of, and therefore remembers: JSON data, empty for a plain line.

    >>> made_of(parse("--tool a --no-capture http"))
    {'tools': ['a'], 'capture': ['mcp', 'models', 'tools']}
    """
    found = {
        "tools": list(given.tools),
        "capture": sorted(given.capture) if given.capture != frozenset(CAPTURES) else None,
        "ignore_hosts": list(given.ignore_hosts),
        "approve": list(given.approve),
    }
    return {
        name: value for name, value in found.items() if value or (name == "capture" and value is not None)
    }


def recorded(meta: Mapping[str, Any]) -> CellArguments:
    """The line of the run whose row's `meta` this is, as far as the run is made of it."""
    made = meta.get(MADE_OF) or {}
    return CellArguments(
        tools=tuple(made.get("tools", ())),
        capture=frozenset(made.get("capture", CAPTURES)),
        ignore_hosts=tuple(made.get("ignore_hosts", ())),
        approve=tuple(made.get("approve", ())),
    )


def flags(given: CellArguments) -> str:
    """The same as it is typed, with a space before each.

    >>> flags(parse("--tool 'a_*' --no-capture"))
    " --tool 'a_*' --no-capture"
    """
    words = [word for pattern in given.tools for word in ("--tool", shlex.quote(pattern))]
    if not given.capture:
        words.append("--no-capture")
    elif given.capture != frozenset(CAPTURES):
        words += ["--capture", ",".join(name for name in CAPTURES if name in given.capture)]
    words += [word for host in given.ignore_hosts for word in ("--ignore-host", shlex.quote(host))]
    words += [word for pattern in given.approve for word in ("--approve", shlex.quote(pattern))]
    return "".join(f" {word}" for word in words)


class _Parser(MagicArgumentParser):  # type: ignore[misc]
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"%%durable: {message}\n  hint: {_hint(message, self)}")


def _hint(message: str, parser: argparse.ArgumentParser) -> str:
    for word in message.split():
        if word.startswith("--"):
            known = [option for action in parser._actions for option in action.option_strings]
            option = word.rstrip(":,").partition("=")[0]
            near = difflib.get_close_matches(option, known, 1)
            if option not in known and near:
                return f"did you mean {near[0]}?"
    return "`%%durable?` lists what the line may say"


def _seconds(text: str) -> float:
    return duration(text)


def _time(text: str) -> str:
    moment(text, 0.0)
    return text


_time.__name__ = "time (2 h, 17:30, or a date)"


def _dollars(text: str) -> float:
    return parse_cost(text)


_dollars.__name__ = "number of dollars"


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


_count.__name__ = "number above 0"


def _kinds(text: str) -> frozenset[str]:
    found = frozenset(filter(None, text.split(",")))
    if not found or not found <= frozenset(CAPTURES):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not {', '.join(CAPTURES[:-1])} or {CAPTURES[-1]}, separated by commas (a name comes first)"
        )
    return found


_seconds.__name__ = "number of seconds"  # argparse names the type in its message


def _parser() -> _Parser:
    parser = _Parser(prog="%durable", description=_DESCRIPTION, epilog=_EPILOG)
    parser.allow_abbrev = False
    add = parser.add_argument
    add("name", nargs="?", help="the run's name; the same name finds it again")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--new", action="store_true", help="start a new run, whatever ran before")
    which.add_argument("--resume", metavar="RUN", help="continue this run (an id, or its beginning)")
    which.add_argument("--replay", metavar="RUN", help="answer every call from this run; make none")
    add("--plan", action="store_true", help="say what would be replayed and executed, and stop")
    add("--rerun-from", metavar="STEP", help="fork the run before this step and execute from there")
    add(
        "--tool",
        metavar="PATTERN",
        action="append",
        default=[],
        help="make the notebook's functions that match a tool in this cell; may be repeated",
    )
    add(
        "--approve",
        metavar="PATTERN",
        action="append",
        default=[],
        help="wait for you before calls of tools whose names match, of any kind; may be repeated",
    )
    add(
        "--capture",
        metavar="KINDS",
        action="append",
        type=_kinds,
        help="journal only these calls of other libraries: " + ",".join(CAPTURES),
    )
    add(
        "--no-capture",
        metavar="KINDS",
        action="append",
        nargs="?",
        const=frozenset(CAPTURES),
        default=[],
        type=_kinds,
        help="do not journal these calls of other libraries (alone: none); they are made again on resume",
    )
    add(
        "--ignore-host",
        metavar="HOST",
        action="append",
        default=[],
        help="let HTTP requests to this host (or pattern) pass, unjournaled; may be repeated",
    )
    add("--pace", action="store_true", help="replay streams as slowly as they came when they were recorded")
    add("--store", metavar="URL", help="where to keep the journal: a path or URL")
    add(
        "--park-after", metavar="SECONDS", type=_seconds, help="leave the kernel free after waiting this long"
    )
    add(
        "--budget",
        metavar="USD",
        type=_dollars,
        help='wait for you before model calls cost more than, say, "$2.00"',
    )
    add("--max-steps", metavar="N", type=_count, help="wait for you before the run makes more than N steps")
    add(
        "--deadline",
        metavar="TIME",
        type=_time,
        help='wait for you after "2 h" from its beginning, or at 17:30',
    )
    return parser


def _words(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    lexer.escape = ""  # the backslashes of a Windows path in --store are just that
    return list(lexer)


def parse(line: str, shell: Any = None) -> CellArguments:
    """Read what follows `%%durable` on line 1, expanding `$name` and `{expression}` in `shell`'s namespace.

    Raises `IPython.core.error.UsageError`, which IPython shows without a traceback.

    >>> parse("research --tool 'fetch_*' --park-after 60").tools
    ('fetch_*',)
    """
    if shell is not None and ("$" in line or "{" in line):
        # Expansion also looks at the locals of the frame `depth` levels up: past every frame there
        # is only the user's namespace, and never a local of ours.
        line = shell.var_expand(line, depth=1_000_000)
    parser = _parser()
    try:
        words = _words(line)
    except ValueError as error:
        parser.error(f"{str(error).lower()} in: {line}")
    given = parser.parse_args(words)
    if given.rerun_from is not None and (given.new or given.replay):
        parser.error("--rerun-from needs the run it forks, so it does not go with --new or --replay")
    capture = frozenset().union(*given.capture) if given.capture else frozenset(CAPTURES)
    return CellArguments(
        name=given.name,
        new=given.new,
        resume=given.resume,
        replay=given.replay,
        plan=given.plan,
        rerun_from=given.rerun_from,
        tools=tuple(given.tool),
        store=given.store,
        park_after=given.park_after,
        budget=given.budget,
        max_steps=given.max_steps,
        deadline=given.deadline,
        approve=tuple(given.approve),
        capture=capture.difference(*given.no_capture),
        ignore_hosts=tuple(given.ignore_host),
        pace=given.pace,
    )


def options() -> dict[str, bool]:
    """The options of a `%%durable` line, and whether a value must follow each.

    >>> options()["--new"], options()["--resume"]
    (False, True)
    """
    return {
        name: action.nargs is None
        for action in _parser()._actions
        for name in action.option_strings
        if name.startswith("--")
    }


def help_text() -> str:
    """What `%%durable?` shows."""
    return str(_parser().format_help())
