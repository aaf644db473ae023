"""The timeline's rows as JSON data: what `feed` makes of a journal and every front end draws.

    Page ─┬─ run      RunHead     the run: status, money, time
          ├─ lanes    [Lane]      its scopes, new or changed ones
          ├─ rows     [Row]       its steps, new or changed ones, each whole
          └─ waits    [Wait]      what it waits for a person to say, all of it

A reader keeps the rows by `n` and replaces what comes again. `mark` counts changes of one `feed`: a page holds
what changed after `since`; whoever has seen less has missed one, and asks for pages since his own mark. Another
`feed` than before: start anew.

Every string is untrusted text, with secrets masked. Optional fields are left out where they say nothing, so
that a row of a finished step takes about 200 bytes. Times are POSIX seconds, durations seconds, money USD.
"""

from __future__ import annotations

import sys
from typing import Any, Literal, NotRequired

from jupyter_durable.model import RunStatus, StepStatus

if sys.version_info >= (3, 12):
    from typing import TypedDict
else:  # pydantic needs what 3.12 keeps of a TypedDict
    from typing_extensions import TypedDict

VERSION = 1
MIME = f"application/vnd.jupyter-durable.timeline.v{VERSION}+json"
"""The type of a `Page` in a MIME bundle."""


class Line(TypedDict):
    """A line of `durable.log`."""

    at: float
    text: str


class Wait(TypedDict):
    """Something a person must say. `key` names the decision; the first one with that key stands.

    kind: `approval`, `ask`, `signal`, `sleep`, `doubt` (an unsafe step was cut off) or `budget`. `actions`:
    what can be said about it, each a word for `decide`: `edit` approves with other arguments. `schema` is the JSON schema of the answer (`answer`,
    `signal`) or of the arguments (`edit`), which are in `value` as they are now. `step` is None where the
    run as a whole waits. `until`: when it ends by itself.
    """

    key: str
    kind: str
    prompt: str
    actions: list[str]
    step: NotRequired[str | None]
    schema: NotRequired[dict[str, Any] | None]
    value: NotRequired[Any]
    until: NotRequired[float | None]


class Lane(TypedDict):
    """A scope: one sequential strand. `step`: the step inside whose attempt it is. `depth` is 0 for the cell's own."""

    id: int
    parent: int
    name: str
    depth: int
    step: NotRequired[str]


class Row(TypedDict):
    """A step. `n` is its place in journal order, from 0; `id` is what people type.

    `call` and `says` are one line each: the call as made, and its result or error. They are absent where
    nobody has looked yet (`texts` fetches them). `took` is absent where nobody knows. `old`: left behind by a
    retry, an edit or a fork. `taken`: made by the run this one was forked from. `given`: who gave its outcome, where the
    call did not. `tokens`: in, out, of
    those in cached. `text`: the end of what a stream has said so far. `output`: it printed or displayed something.
    """

    n: int
    id: str
    lane: int
    kind: str
    name: str
    status: StepStatus
    at: float
    end: NotRequired[float]
    took: NotRequired[float]
    attempts: NotRequired[int]
    replays: NotRequired[int]
    effect: NotRequired[str]
    given: NotRequired[str]
    old: NotRequired[bool]
    taken: NotRequired[bool]
    call: NotRequired[str]
    says: NotRequired[str]
    model: NotRequired[str]
    tokens: NotRequired[list[int]]
    cost: NotRequired[float]
    saved: NotRequired[float]
    progress: NotRequired[float]
    log: NotRequired[list[Line]]
    text: NotRequired[str]
    output: NotRequired[bool]
    wait: NotRequired[Wait]


class Counts(TypedDict):
    """How many present steps have which status; `replayed`: of the completed, answered from the journal at least once."""

    completed: int
    running: int
    waiting: int
    in_doubt: int
    failed: int
    cancelled: int
    replayed: int


class Relative(TypedDict):
    """A run this one was forked from, or that was forked from it, and at which entry of the journal.

    `step`: where a person forked it; a fork that an edit made has none.
    """

    id: str
    name: str
    status: RunStatus
    at: int
    step: NotRequired[str]


class RunHead(TypedDict):
    """The run. `now` is when this was said, so that a reader's own clock need not be right.

    `sessions`: from when to when processes advanced it; the last one is open (None) while one does.
    `steps`: how many rows there are. `owner`: who advances it. `line`: the last thing its cell said.
    """

    id: str
    name: str
    status: RunStatus
    now: float
    created: float
    updated: float
    sessions: list[tuple[float, float | None]]
    steps: int
    counts: Counts
    cost: float
    saved: float
    calls: int
    tokens: list[int]
    unpriced: int
    notebook: NotRequired[str]
    owner: NotRequired[str]
    parent: NotRequired[Relative]
    forks: NotRequired[list[Relative]]
    progress: NotRequired[float]
    log: NotRequired[list[Line]]
    error: NotRequired[str]
    line: NotRequired[str]


class Page(TypedDict):
    """What changed between two marks of a feed. `more`: there is more, ask again. `left_out`: steps without a row here."""

    v: Literal[1]
    feed: str
    since: int
    mark: int
    run: RunHead
    lanes: list[Lane]
    rows: list[Row]
    waits: list[Wait]
    more: NotRequired[bool]
    left_out: NotRequired[int]


class Detail(TypedDict):
    """A value of a step, or a part of it, as a reader may draw it without trusting it.

    form: `text` (`text`, from character `offset` of `size`), `table` (`columns`, `rows` of text, from row
    `offset` of `size`), `image` (`mime`: png, jpeg, gif or webp; `data` in base64), `messages` (`rows` of role and
    text), `none`. `type` names what the value is; `next` is the offset of what follows.
    """

    form: Literal["text", "table", "image", "messages", "none"]
    type: str
    size: int
    offset: int
    next: NotRequired[int]
    text: NotRequired[str]
    columns: NotRequired[list[str]]
    rows: NotRequired[list[list[str]]]
    mime: NotRequired[str]
    data: NotRequired[str]
    markdown: NotRequired[bool]


def schema() -> dict[str, Any]:
    """The JSON schema of a `Page`; `Detail` is among its definitions.

    >>> sorted(schema()["$defs"])
    ['Counts', 'Detail', 'Lane', 'Line', 'Relative', 'Row', 'RunHead', 'Wait']
    """
    from pydantic import TypeAdapter

    found = TypeAdapter(Page).json_schema()
    detail = TypeAdapter(Detail).json_schema()
    found["$defs"]["Detail"] = detail
    found["$id"] = MIME
    return found
