"""What a step prints and displays, kept with the step and shown again when it is replayed.

Output goes to the front end untouched and at once; a copy goes to the recording that is current in
the context it was made in, so the output of concurrent steps is told apart, also in threads that run
in a copied context (`asyncio.to_thread`).

What is written to is patched (the streams' `write`, the display publisher's `publish`) rather than
replaced: a logging handler that took hold of `sys.stderr` earlier is heard too, and IPython and
ipykernel find the objects they expect. Not heard, because nothing tells which step they belong to:
writes to file descriptors 1 and 2 (C libraries, child processes that inherit them), threads started
in an empty context, and figures that matplotlib shows only when the cell ends.
"""

from __future__ import annotations

import base64
import functools
import json
import sys
import threading
import weakref
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any, Final

Output = dict[str, Any]

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
_ABSENT: Final = object()

_recording: ContextVar[Recording | None] = ContextVar("durable_output", default=None)


class Recording:
    """The output of one step so far. `parent` is the step it runs inside, whose output this is too.

    `heard` says which streams it listens to: those that were there when it began. A stream that the
    step itself puts in their place (`redirect_stdout`) is its own affair.
    """

    __slots__ = ("closed", "events", "heard", "lost", "parent", "size", "updates")

    def __init__(self, parent: Recording | None) -> None:
        self.parent = parent
        self.heard = 0
        self.closed = False
        self.events: list[Output] = []
        self.updates: dict[str, Output] = {}
        self.size = 0
        self.lost = False


class OutputRecorder:
    """Records what steps print and display, and shows it again.

    `shell` is an IPython shell, or None for plain Python (standard streams only). `limit` is how many
    bytes of output one recording keeps; what comes after is shown but not kept, and a note says so.

    >>> recorder = OutputRecorder(None)
    >>> recorder.attach()
    >>> recording = recorder.start()
    >>> print("hello")
    hello
    >>> recorder.stop(recording)
    [{'output_type': 'stream', 'name': 'stdout', 'text': 'hello\\n'}]
    >>> recorder.detach()
    """

    def __init__(self, shell: Any | None = None, *, limit: int = 10_000_000) -> None:
        self._shell = shell
        self._limit = limit
        self._lock = threading.RLock()
        self._attached = 0
        self.cleared = 0  # how often output was cleared while listening
        # (object, attribute, our wrapper). Weak: each %%capture brings streams of its own, and their
        # owner decides how long they live; a wrapper refers to its stream.
        self._patches: list[tuple[weakref.ref[Any], str, weakref.ref[Any]]] = []
        self._numbers: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._newest = 0
        self._stdout: Any = None
        self._stderr: Any = None
        self._publish: Any = None

    # -- while runs are live -------------------------------------------------------------------------

    def attach(self) -> None:
        """Start listening. Counted: the last of as many `detach` calls stops."""
        with self._lock:
            self._attached += 1
            self._listen()

    def detach(self) -> None:
        """Stop listening, and leave streams and publisher as they were found."""
        with self._lock:
            self._attached -= 1
            if self._attached:
                return
            # Under a wrapper that somebody put over ours (IPython's tee, for a sync cell) ours cannot
            # be taken out: it only passes on, and is remembered for the next time.
            self._patches = [patch for patch in reversed(self._patches) if not _restored(*patch)][::-1]

    def start(self) -> Recording:
        """Begin a recording: it gets what is written from here on, in this context and copies of it."""
        recording = Recording(_recording.get())
        _recording.set(recording)
        # Streams are exchanged in mid-run (%%capture, redirect_stdout) and so are their `write`s
        # (IPython's own tee): looking at each start is cheaper than any way of being told.
        if self._attached and not (
            getattr(sys.stdout, "write", None) is self._stdout
            and getattr(sys.stderr, "write", None) is self._stderr
            and (self._shell is None or self._shell.display_pub.publish is self._publish)
        ):
            with self._lock:
                self._listen()
        recording.heard = self._newest
        return recording

    def stop(self, recording: Recording) -> list[Output]:
        """End the recording and return it: nbformat-like outputs, in order.

        `stream` (`name`, `text`), `display_data` and `update_display_data` (`data`, `metadata`, and
        `transient` if it has a display id), and `clear_output` (`wait`). All of it is JSON data.
        What tasks of the step write later goes to the step around it, if there is one.
        """
        recording.closed = True
        if _recording.get() is recording:
            _recording.set(recording.parent)
        if not recording.events:
            return []
        with self._lock:
            return [_finished(event) for event in recording.events]

    # -- replay --------------------------------------------------------------------------------------

    def show(self, outputs: Iterable[Output]) -> None:
        """Show recorded outputs again, in order, where output goes now.

        A recording of a step around this one gets them, once, as it did when they were made.
        """
        last = None
        for output in outputs:
            kind = output["output_type"]
            if kind == "stream":
                if last not in (None, output["name"]):
                    # The two streams are sent when they please: only a flush keeps their order.
                    getattr(sys, str(last)).flush()
                last = output["name"]
                getattr(sys, last).write(output["text"])
            elif kind == "clear_output":
                self._clear(output["wait"])
            else:
                self._display(output)

    def _display(self, output: Output) -> None:
        data = {mime: value for mime, value in output["data"].items() if not _dead_widget(mime, value)}
        if self._shell is None:
            print(data.get("text/plain", ""))
            return
        self._shell.display_pub.publish(
            data or {"text/plain": "(a widget of an earlier kernel)"},
            output["metadata"],
            transient=dict(output.get("transient", {})),
            update=output["output_type"] == "update_display_data",
        )

    def _clear(self, wait: bool) -> None:
        if self._shell is not None:
            self._shell.display_pub.clear_output(wait)

    # -- listening -----------------------------------------------------------------------------------

    def _listen(self) -> None:
        self._patches = [patch for patch in self._patches if patch[2]() is not None]
        if sys.stdout is not None:
            self._stdout = self._patch(sys.stdout, "write", functools.partial(self._tee, "stdout"))
        if sys.stderr is not None:
            self._stderr = self._patch(sys.stderr, "write", functools.partial(self._tee, "stderr"))
        if self._shell is not None:
            self._publish = self._patch(self._shell.display_pub, "publish", self._tee_publish)
            self._patch(self._shell.display_pub, "clear_output", self._tee_clear)

    def _patch(self, target: Any, name: str, wrap: Callable[[Any, int], Any]) -> Any:
        current = getattr(target, name)
        if getattr(current, "durable_recorder", None) is self:
            return current  # a stream that was exchanged for another, and is back
        number = self._numbers.get(target)
        if number is None:
            number = self._numbers[target] = self._newest = self._newest + 1
        wrapper = wrap(current, number)
        wrapper.durable_recorder = self
        try:
            wrapper.durable_before = target.__dict__.get(name, _ABSENT)
            setattr(target, name, wrapper)
        except AttributeError:
            return current  # a stream that cannot be patched is not recorded
        self._patches.append((weakref.ref(target), name, weakref.ref(wrapper)))
        return wrapper

    def _tee(self, stream: str, write: Callable[[str], Any], number: int) -> Callable[[str], Any]:
        def tee(text: str, *args: Any, **kwargs: Any) -> Any:
            recording = _recording.get()
            if recording is None:
                return write(text, *args, **kwargs)
            # Below may be another wrapper of ours (somebody wrapped the first): it must not count twice.
            token = _recording.set(None)
            try:
                written = write(text, *args, **kwargs)
            finally:
                _recording.reset(token)
            if text:
                event = {"output_type": "stream", "name": stream, "text": text}
                self._add(recording, number, event, len(text))
            return written

        return tee

    def _tee_publish(self, publish: Callable[..., Any], number: int) -> Callable[..., Any]:
        @functools.wraps(publish)
        def tee(data: Any, metadata: Any = None, *args: Any, **kwargs: Any) -> Any:
            recording = _recording.get()
            if recording is None:
                return publish(data, metadata, *args, **kwargs)
            token = _recording.set(None)  # without a kernel, publishing prints
            try:
                published = publish(data, metadata, *args, **kwargs)
            finally:
                _recording.reset(token)
            kind = "update_display_data" if kwargs.get("update") else "display_data"
            event: Output = {"output_type": kind, "data": _plain(data), "metadata": _plain(metadata or {})}
            transient = kwargs.get("transient") or {}
            if "display_id" in transient:
                event["transient"] = {"display_id": transient["display_id"]}
            self._add(recording, number, event, _size(event["data"]))
            return published

        return tee

    def _tee_clear(self, clear: Callable[..., Any], number: int) -> Callable[..., Any]:
        @functools.wraps(clear)
        def tee(wait: bool = False) -> Any:
            self.cleared += 1
            recording = _recording.get()
            if recording is None:
                return clear(wait)
            token = _recording.set(None)
            try:
                cleared = clear(wait)
            finally:
                _recording.reset(token)
            self._add(recording, number, {"output_type": "clear_output", "wait": bool(wait)}, 0)
            return cleared

        return tee

    def _add(self, recording: Recording | None, number: int, event: Output, size: int) -> None:
        with self._lock:
            while recording is not None:
                if number <= recording.heard and not recording.closed:
                    self._add_one(recording, event, size)
                recording = recording.parent

    def _add_one(self, recording: Recording, event: Output, size: int) -> None:
        kind = event["output_type"]
        events = recording.events
        if kind == "clear_output":
            # Nobody will see what came before: a progress display costs its last state only.
            events.clear()
            recording.updates.clear()
            recording.size = 0
            recording.lost = False
            events.append(event)
            return
        display_id = event.get("transient", {}).get("display_id")
        earlier = recording.updates.get(display_id) if kind == "update_display_data" else None
        if earlier is not None:
            size -= _size(earlier["data"])
        if recording.lost or recording.size + size > self._limit:
            if not recording.lost:
                recording.lost = True
                note = f"[output beyond {self._limit:,} bytes was shown, but not kept]\n"
                events.append({"output_type": "stream", "name": "stderr", "text": [note]})
            return
        recording.size += size
        if kind == "stream":
            if events and events[-1].get("name") == event["name"]:
                events[-1]["text"].append(event["text"])
            else:
                events.append({**event, "text": [event["text"]]})
        elif earlier is not None:
            earlier.update(data=event["data"], metadata=event["metadata"])
        else:
            own = dict(event)
            events.append(own)
            if kind == "update_display_data":
                recording.updates[display_id] = own
            else:
                recording.updates.pop(display_id, None)


def _restored(target_ref: weakref.ref[Any], name: str, wrapper_ref: weakref.ref[Any]) -> bool:
    target, wrapper = target_ref(), wrapper_ref()
    if target is None or wrapper is None:
        return True
    if target.__dict__.get(name) is not wrapper:
        return False
    if wrapper.durable_before is _ABSENT:
        delattr(target, name)
    else:
        setattr(target, name, wrapper.durable_before)
    return True


def _finished(event: Output) -> Output:
    return {**event, "text": "".join(event["text"])} if event["output_type"] == "stream" else event


def _plain(bundle: Any) -> dict[str, Any]:
    """A copy of a MIME bundle as JSON data: images in base64, as in a notebook file."""
    plain = {}
    for mime, value in bundle.items():
        if isinstance(value, str):
            plain[mime] = value
        elif isinstance(value, bytes):
            plain[mime] = base64.b64encode(value).decode()
        else:
            plain[mime] = json.loads(json.dumps(value, default=repr))
    return plain


def _size(bundle: dict[str, Any]) -> int:
    return sum(len(value) if isinstance(value, str) else len(json.dumps(value)) for value in bundle.values())


def _dead_widget(mime: str, value: Any) -> bool:
    # A front end shows an error for the view of a model that died with its kernel, in place of the text.
    if mime != WIDGET_VIEW:
        return False
    comm = sys.modules.get("comm")
    return comm is None or value.get("model_id") not in comm.get_comm_manager().comms
