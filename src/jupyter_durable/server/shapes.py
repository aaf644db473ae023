"""What goes over the wire, as types: JSON data out, checked bodies in.

Out are the timeline's own shapes (`timeline.rows`) and an item for each run of a list. Every string of an item is
untrusted text with secrets masked. Times are POSIX seconds, money USD.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from jupyter_durable.model import RunStatus
from jupyter_durable.timeline.rows import Counts, Detail, Page, Row, Wait

if sys.version_info >= (3, 12):
    from typing import TypedDict
else:  # pydantic needs what 3.12 keeps of a TypedDict
    from typing_extensions import TypedDict

RUN_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
"""A whole run id: nothing else reaches the store."""
STEP_ID = r"[0-9]{1,9}\.[0-9]{1,9}"
WHAT = "arguments|result|error|messages|text|output|log"


class RunItem(TypedDict):
    """A run in a list.

    `live`: a process advances it; `cut`: the one that did is gone without a word. `path`: its notebook as the server's file browser names it, None outside of its
    root; `notebook`: the same for people. `cell`: the id of its cell. `done`: steps that a resume replays,
    `steps`: those recorded. `left`: a fork goes on with it, so that nothing is to be done about it here.
    """

    id: str
    name: str
    status: RunStatus
    live: bool
    cut: bool
    path: str | None
    notebook: str | None
    cell: str | None
    created: float
    updated: float
    counts: Counts
    done: int
    steps: int
    cost: float
    saved: float
    waits: list[Wait]
    left: bool
    parent: NotRequired[str]
    headless: NotRequired[bool]


class RunList(TypedDict):
    """Runs, newest first. `next`: what to give as `before` for those that follow."""

    runs: list[RunItem]
    next: NotRequired[str]


class Rows(TypedDict):
    """Rows with what they say of their values."""

    rows: list[Row]


class Recorded(TypedDict):
    """A decision was written. `by`: who it says decided."""

    recorded: bool
    by: str
    says: str


class Forked(TypedDict):
    """A fork was made. It goes on when its cell is run. `repeats`: effects of the part left behind, by name."""

    run: str
    name: str
    replayed: int
    repeats: dict[str, int]


class Deleted(TypedDict):
    """A run is gone. `kept`: what its forks need of it stays until they go, too."""

    deleted: bool
    kept: bool


class Status(TypedDict):
    """That the extension is there. `can`: which operations it has."""

    version: str
    can: list[str]


class Fault(TypedDict):
    """Why something was refused. `hint`: the next step; `decided_by`: who was first."""

    message: str
    hint: NotRequired[str]
    decided_by: NotRequired[str]
    reason: NotRequired[str | None]


# -- in ------------------------------------------------------------------------------------------------

Text = Annotated[str, Field(max_length=10_000)]
Key = Annotated[str, Field(min_length=1, max_length=300)]


class Body(BaseModel):
    """A request's body: nothing is coerced, nothing unknown passes."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Nothing(Body):
    """An empty object."""


class Decision(Body):
    """What a person says about a wait; `key` is the wait's. `edit` approves with `value` for those arguments."""

    key: Key
    action: Literal["approve", "reject", "edit", "answer", "retry", "supply", "fail", "signal", "raise"]
    value: JsonValue = None
    message: Text = ""


class Signal(Body):
    """A value under a name. Two with the same `once` are one."""

    name: Key
    value: JsonValue = None
    once: Annotated[str, Field(max_length=200)] = ""


class Supply(Body):
    """The result of a step in doubt."""

    value: JsonValue


class Fail(Body):
    """Why a step in doubt counts as failed."""

    message: Text


class Fork(Body):
    """Where a fork goes on: step `at` is made again, or with other `arguments`, or gives `result` without being made."""

    at: Annotated[str, Field(pattern=f"^{STEP_ID}$")]
    result: JsonValue = None
    arguments: dict[str, JsonValue] | None = None


# -- the stream ----------------------------------------------------------------------------------------


class Follow(Body):
    """Send this run's pages from `mark` of `feed` on; another feed or none: from the beginning."""

    type: Literal["follow"]
    run: Annotated[str, Field(pattern=f"^{RUN_ID}$")]
    feed: Annotated[str, Field(max_length=40)] = ""
    mark: Annotated[int, Field(ge=0, le=2**53)] = 0


class Unfollow(Body):
    """Send no more of it."""

    type: Literal["unfollow"]
    run: Annotated[str, Field(pattern=f"^{RUN_ID}$")]


class RunsEvent(TypedDict):
    """Runs that are new or changed. `id`: say it as `last` when you come again. `all`: forget the others."""

    type: Literal["runs"]
    id: str
    runs: list[RunItem]
    all: NotRequired[bool]
    gone: NotRequired[list[str]]


class PageEvent(TypedDict):
    """A page of a run that is followed."""

    type: Literal["page"]
    run: str
    page: Page


class LostEvent(TypedDict):
    """A run that was to be followed is not there, or cannot be read."""

    type: Literal["lost"]
    run: str
    message: str


Event = RunsEvent | PageEvent | LostEvent
Message = Annotated[Follow | Unfollow, Field(discriminator="type")]

OUT: dict[str, Any] = {
    "RunItem": RunItem,
    "RunList": RunList,
    "Page": Page,
    "Rows": Rows,
    "Detail": Detail,
    "Recorded": Recorded,
    "Forked": Forked,
    "Deleted": Deleted,
    "Status": Status,
    "Fault": Fault,
    "RunsEvent": RunsEvent,
    "PageEvent": PageEvent,
    "LostEvent": LostEvent,
}
IN: dict[str, Any] = {
    "Nothing": Nothing,
    "Decision": Decision,
    "Signal": Signal,
    "Supply": Supply,
    "Fail": Fail,
    "Fork": Fork,
    "Follow": Follow,
    "Unfollow": Unfollow,
}
