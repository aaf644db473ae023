"""One HTTP exchange, as far as the journal answers it: what it was, and how a response is given back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from jupyter_durable.errors import DivergenceError, EncodingError
from jupyter_durable.journal.engine import Diverged
from jupyter_durable.journal.index import RecordedStep
from jupyter_durable.model import Draft, Payload
from jupyter_durable.runtime.context import Scope
from jupyter_durable.runtime.exchange import Ask, Head, Reader
from jupyter_durable.runtime.left import breaks_off, cut, is_edited
from jupyter_durable.runtime.origins import mark
from jupyter_durable.runtime.recordings import (
    at_once,
    decode_head,
    delivered,
    split,
    turns,
    without_requests,
)
from jupyter_durable.runtime.step import Spec, Step
from jupyter_durable.runtime.unsettled import exchanges_of


class Answered(Step):
    """An exchange, as far as the journal answers it; `runtime.exchange_step` makes it."""

    __slots__ = ("ask", "count", "ended", "exchanges", "reader")

    def __init__(self, scope: Scope, ask: Ask) -> None:
        described = ask.described
        super().__init__(scope, Spec(described.name, kind=described.kind), (described.identity,), {})
        shown = described.shown
        # The digest is made; from here on arguments are what people see.
        named = isinstance(shown, dict) and all(type(key) is str for key in shown)
        self.args, self.kwargs = ((), shown) if named else ((shown,), {})
        self.text = None
        self.fixed = True
        self.ask = ask
        self.exchanges = exchanges_of(self.run)
        self.reader: Reader | None = None
        self.count = 0  # chunks delivered, the head among them
        self.ended = False

    @property
    def at(self) -> tuple[int, int]:
        """Scope and position of its entries."""
        return self.decision.scope, self.decision.pos

    @property
    def place(self) -> tuple[str, int, int]:
        """Run, scope and position, for `mark`."""
        return self.run.id, *self.at

    def diverged(self, found: Diverged) -> DivergenceError:
        """Of all that is shown of two requests, what tells them apart."""
        compared = self.ask.described.compared
        return self.run.divergence(found, (self.args, self.kwargs), lambda given: compared(given[1]))

    def outcome(self, status: str, payload: Payload | None = None, **more: Any) -> Draft:
        """The checkpoint, with what the reader has found."""
        self.ended = True
        if self.count:
            more["n"] = self.count
        if self.reader is not None and status != "cancelled" and (found := self.reader.summary()):
            more["m"] = dict(found)
        return super().outcome(status, payload, **more)

    def give_back(self, recorded: RecordedStep) -> tuple[Head, bytes]:
        """The whole response that was recorded, or its error, raised."""
        value = self.deliver(recorded)
        head, body = decode_head(value["head"]), value["body"]
        gave_up = recorded.status == "failed" and self.ask.retryable(head)
        self.exchanges.answered(self, recorded, gave_up=gave_up)
        return at_once(head) if gave_up else head, body

    def deliver(self, step: RecordedStep) -> Any:
        """What the outcome holds: a response, or an error, raised."""
        run = self.run
        run.stats.replayed += 1
        outcome = step.outcome
        assert outcome is not None
        self.draw_again(step)
        value = run.decode(outcome.payload, outcome.seq)
        if isinstance(value, BaseException):
            self.exchanges.answered(self, step, gave_up=True)
            mark(value, run.id, step.scope, step.pos)
            raise value
        return value

    def head_again(self, recorded: RecordedStep) -> Head:
        """The head of a stream. It counts as replayed from here on."""
        run = self.run
        run.stats.replayed += 1
        self.draw_again(recorded)
        assert recorded.chunks
        self.count = delivered(recorded)  # whatever becomes of it from here on
        entry = recorded.chunks[0]
        return decode_head(run.decode(entry.payload, entry.seq))

    def draw_again(self, recorded: RecordedStep) -> None:
        """The global generators are what they were when this was handed on."""
        run, strand = self.run, self.scope.state.recorded
        if run.random is not None and strand is not None and strand.values:
            run.random.replayed(run.values_of(self.scope), recorded.pos)

    def pace(self) -> Callable[[float], float] | None:
        """How long to wait before a chunk that came so many seconds after the head; None: never."""
        run = self.run
        if not run.options.pace:
            return None
        began = run.clock.monotonic()
        return lambda at: began + at - run.clock.monotonic()

    def last_again(self, recorded: RecordedStep) -> bool:
        """The last chunk that was delivered is about to be again: if nobody asked for more then, nobody waits for it.

        Whether it was all of the response.
        """
        outcome = recorded.outcome
        if outcome is None:
            return False
        if "left" in outcome.meta or "closed" in outcome.meta:
            self.closed_again(recorded)
        return outcome.meta["s"] == "completed" and "closed" not in outcome.meta

    def end_again(self, recorded: RecordedStep) -> None:
        """A stream that was read to its end ends: as then, maybe by an error, which is raised."""
        outcome = recorded.outcome
        if outcome is None or outcome.meta["s"] != "failed":
            return
        value = self.run.decode(outcome.payload, outcome.seq)
        self.exchanges.answered(self, recorded, gave_up="cut" not in outcome.meta)
        mark(value, self.run.id, recorded.scope, recorded.pos)
        raise value

    def pieces(self, recorded: RecordedStep) -> Iterator[tuple[int, list[bytes], list[float]]]:
        """What followed the head: place in the order of the replay, chunks, when they came (seconds after the head)."""
        places = iter(recorded.chunks_at[1:])
        for entry in (recorded.chunks or ())[1:]:
            chunks, times = split(self.run.decode(entry.payload, entry.seq), entry.meta)
            for first, last in turns(entry.meta, len(chunks)):
                yield next(places, -1), chunks[first:last], times[first:last]

    def closed_again(self, recorded: RecordedStep) -> None:
        """The consumer wants no more of it: nobody need wait for what is left."""
        run = self.run
        with run.lock:
            run.engine.order.drop(recorded)
            run.turns.changed()
        if recorded.outcome is None and run.lease is not None:  # the crash came before it was left
            self.count = delivered(recorded)
            run.writer.put([self.outcome("completed", closed=True)])

    def past_end(self, recorded: RecordedStep) -> None:
        """The consumer asks for more than was recorded. Raises `DivergenceError` if it had stopped there."""
        meta = recorded.outcome.meta if recorded.outcome is not None else {}
        if meta.get("closed"):
            raise DivergenceError(
                f"{self.spec.name}: this response was read up to chunk {meta.get('n')} and left when it was "
                "recorded, and is read further now",
                hint=f"%durable fork {self.run.id[:13]} --at {recorded.id}",
            )

    def gone(self, recorded: RecordedStep) -> None:
        """The consumer asks for more when its run has ended. Raises the client's own error, unless that was the end."""
        outcome, run = recorded.outcome, self.run
        if run.closed and (outcome is None or outcome.meta["s"] == "cancelled" or outcome.meta.get("closed")):
            read = delivered(recorded) - 1
            raise self.ask.cut_off(
                f"{self.spec.name}: run {run.name!r} has recorded the {read} chunk{'s' if read != 1 else ''} of this response "
                "that it has read itself; what was read of it after its end, it does not know"
            )

    def stopped(self, recorded: RecordedStep) -> bool:
        """Whether the caller was cancelled when it waited for more."""
        outcome = recorded.outcome
        return outcome is not None and (outcome.meta["s"] == "cancelled" or "stopped" in outcome.meta)

    def cut_off(self, recorded: RecordedStep) -> bool:
        """Whether the connection breaks after what was recorded: at the crash or the error, or where an edit reads further."""
        return recorded.outcome is None or recorded.status == "cancelled" or breaks_off(self.run, recorded)

    def broken(self, recorded: RecordedStep) -> tuple[Exception | None, list[Draft]]:
        """How a prefix ends, whose connection was cut: in an error, if its last event had not come."""
        run = self.run
        entries = recorded.chunks or []
        self.count = delivered(recorded)
        reader = self.ask.reader(decode_head(run.decode(entries[0].payload, entries[0].seq)))
        if reader is not None:
            for entry in entries[1:]:
                reader.feed(run.decode(entry.payload, entry.seq))
            if reader.finished:
                self.reader = reader
                return None, [self.outcome("completed", left=True)]
        drafts: list[Draft] = []
        chunks = f"{self.count - 1} chunk{'s' if self.count != 2 else ''}"
        if is_edited(run, recorded):
            drafts.append(cut(self.scope, entries[-1].seq))
            text = (
                f"{self.spec.name}: {chunks} of this response were read before the code was edited, and no more came; "
                "the request is made again when it is repeated, or the cell is run again"
            )
        else:
            text = f"the connection was cut off after {chunks} when this was recorded"
        error = self.ask.cut_off(text)
        mark(error, run.id, recorded.scope, recorded.pos)
        text = f"{type(error).__name__}: {error}"
        return error, [*drafts, self.outcome("failed", self.encode_error(error), x=text, cut=True)]

    def encode_error(self, error: Exception) -> Payload:
        """An error without the request it may hold."""
        run = self.run
        with without_requests(error):
            try:
                return run.encode(error, f"the error of {self.spec.name}")
            except EncodingError:
                return run.encode(self.ask.cut_off(f"{type(error).__name__}: {error}"), "an error")
