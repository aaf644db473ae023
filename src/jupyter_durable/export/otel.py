"""`otel`: a run as OpenTelemetry spans, by the semantic conventions for generative AI.

    invoke_agent RUN
    ├── chat MODEL             a model call: provider, model, tokens, finish reason
    ├── execute_tool NAME      a tool, also of an MCP server; what was called inside of it is below it
    └── SCOPE                  a task or thread, around its calls

Failed attempts are events, errors are statuses. Ids are made from those of run and steps, so the spans of a run
that was exported twice are the same spans; a child run is in the trace of the run that called it, and a fork links
to the run it was forked from, whose steps it does not repeat.

Arguments, results and messages are left out, as the conventions ask, unless `content` is given. Needs the extra
`otel`; encoding and transport are the official packages'.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from jupyter_durable.errors import DurableError, RunNotFoundError
from jupyter_durable.export import Exported, slug
from jupyter_durable.export.reading import Reading, made_by
from jupyter_durable.journal import spend
from jupyter_durable.journal.index import MAIN, ROOT
from jupyter_durable.session import exchanged
from jupyter_durable.timeline import inert
from jupyter_durable.timeline.rows import Row

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.trace import Link, SpanContext, SpanKind

    from jupyter_durable.model import RunRecord
    from jupyter_durable.session.reading import Store

_PROVIDERS = {
    "google": "gcp.gen_ai",
    "aws": "aws.bedrock",
    "azure": "azure.ai.openai",
    "mistral": "mistral_ai",
    "x-ai": "x_ai",
}
"""Names of the conventions, where they are not ours."""
_APIS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "gemini": "gcp.gemini",
    "bedrock": "aws.bedrock",
    "mistral": "mistral_ai",
}
"""What a server speaks says who it is like, where its host does not."""
_BATCH = 256  # spans of a request
_MOST = 20_000  # characters of a value with `content`


def export(store: Store, run_id: str, *, endpoint: str | None = None, content: bool = False) -> Exported:
    """See `jupyter_durable.export.export`; with `endpoint` the spans are sent there, and no file is made."""
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
        import opentelemetry.sdk.trace  # noqa: F401
    except ImportError:
        raise DurableError(
            "OpenTelemetry is not installed", hint='pip install "jupyter-durable[otel]"'
        ) from None
    made = _Spans(Reading(store, run_id), content=content)
    made.make()
    left = tuple(made.left)
    if endpoint is not None:
        where = _send(made.spans, endpoint)
        return Exported("otel", made.run_id, {}, left, says=f"{len(made.spans)} spans sent to {where}")
    text = json.dumps(otlp(made.spans), indent=1, ensure_ascii=False)
    name = f"{slug(made.reading.head['name'])}.otlp.json"
    return Exported("otel", made.run_id, {name: text.encode("utf-8", "replace")}, left)


def otlp(spans: Sequence[ReadableSpan]) -> dict[str, Any]:
    """The spans as OTLP in JSON: protobuf's JSON, but ids in hex, as its specification says."""
    from google.protobuf.json_format import MessageToDict
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    found: dict[str, Any] = MessageToDict(encode_spans(spans), use_integers_for_enums=True)
    for resource in found.get("resourceSpans", ()):
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for one in (span, *span.get("links", ())):
                    for name in ("traceId", "spanId", "parentSpanId"):
                        if name in one:
                            one[name] = b64decode(one[name]).hex()
    return found


def _send(spans: Sequence[ReadableSpan], endpoint: str) -> str:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import SpanExportResult

    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise DurableError(
            f"{endpoint} is no endpoint of OTLP over HTTP", hint="for example http://127.0.0.1:4318"
        )
    where = urlunsplit(parts._replace(path=parts.path.rstrip("/") or "/v1/traces"))
    exporter = OTLPSpanExporter(endpoint=where, timeout=10)
    try:
        for start in range(0, len(spans), _BATCH):
            if exporter.export(spans[start : start + _BATCH]) is not SpanExportResult.SUCCESS:
                raise DurableError(
                    f"the collector at {where} did not take the spans",
                    hint="is it running, and does it receive OTLP over HTTP? Sending them again does no harm",
                )
    finally:
        exporter.shutdown()
    return where


def _digest(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(("jupyter-durable", *parts)).encode()).digest()


def _nanoseconds(at: float) -> int:
    return int(at * 1_000_000) * 1000


class _Spans:
    """The spans of one run."""

    def __init__(self, reading: Reading, *, content: bool) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        self.reading = reading
        self.run_id = reading.run_id
        self.spans: list[ReadableSpan] = []
        self.left: list[str] = []
        self._content = content
        name, _, version = made_by().partition(" ")
        self._scope = InstrumentationScope(name, version or None)
        self._resource = Resource.create(
            {"service.name": "jupyter-durable", "service.instance.id": self.run_id}
        )
        self._trace, self._above = self._place(reading.record)
        self._lanes = {lane["id"]: lane for lane in reading.lanes}
        self._alone: set[int] = set()  # lanes with a span of their own

    def _place(self, record: RunRecord) -> tuple[bytes, SpanContext | None]:
        """The trace that a run belongs to, and the span of the step whose child it is."""
        if record.parent_id is None:
            return _digest("trace", record.id)[:16], None
        try:
            trace, _ = self._place(self.reading.store.journal.run(record.parent_id))
        except RunNotFoundError:
            return _digest("trace", record.parent_id)[:16], None
        step = str(record.meta.get("step", ""))
        return trace, self._context(record.parent_id, f"step {step}", trace)

    def _context(self, run: str, what: str, trace: bytes | None = None) -> SpanContext:
        from opentelemetry.trace import SpanContext, TraceFlags

        return SpanContext(
            int.from_bytes(trace or self._trace),
            int.from_bytes(_digest("span", run, what)[:8]),
            is_remote=False,
            trace_flags=TraceFlags(TraceFlags.SAMPLED),
        )

    def _add(
        self,
        what: str,
        name: str,
        parent: SpanContext | None,
        times: tuple[float, float],
        attributes: Mapping[str, Any],
        *,
        client: bool = False,
        events: Sequence[Event] = (),
        links: Sequence[Link] = (),
        error: str | None = None,
    ) -> None:
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanKind, Status, StatusCode

        kind: SpanKind = SpanKind.CLIENT if client else SpanKind.INTERNAL
        start, end = times
        self.spans.append(
            ReadableSpan(
                _clean(name),
                self._context(self.run_id, what),
                parent,
                self._resource,
                {key: _clean(value) for key, value in attributes.items() if value is not None},
                events,
                links,
                kind,
                status=Status(StatusCode.ERROR, _clean(error))
                if error is not None
                else Status(StatusCode.UNSET),
                start_time=_nanoseconds(start),
                end_time=_nanoseconds(max(start, end)),
                instrumentation_scope=self._scope,
            )
        )

    # -- the run ---------------------------------------------------------------------------------

    def make(self) -> None:
        """Make them all, parents first."""
        reading, record = self.reading, self.reading.record
        rows = [row for row in reading.rows if not row.get("taken")]
        if taken := len(reading.rows) - len(rows):
            self.left.append(f"{taken} steps of the run that it was forked from, which are spans of that run")
        self._run(record)
        times = self._times(rows)
        for lane in reading.lanes:
            if lane["id"] in times and lane["id"] not in (ROOT, MAIN) and "step" not in lane:
                self._alone.add(lane["id"])
                self._add(
                    f"scope {lane['id']}",
                    lane["name"].rpartition("/")[2],
                    self._parent(lane["parent"]),
                    times[lane["id"]],
                    {"jupyter_durable.run.id": self.run_id, "jupyter_durable.scope.id": str(lane["id"])},
                )
        for row in rows:
            self._step(row)

    def _times(self, rows: Sequence[Row]) -> dict[int, tuple[float, float]]:
        """From when to when there were steps in each lane, and in those below it."""
        found: dict[int, tuple[float, float]] = {}
        for row in rows:
            start, end, number = row["at"], row.get("end", self.reading.head["updated"]), row["lane"]
            while number in self._lanes:
                first, last = found.get(number, (start, end))
                found[number] = min(first, start), max(last, end)
                number = self._lanes[number]["parent"]
        return found

    def _parent(self, number: int) -> SpanContext:
        """The span around what is in lane `number`: of its scope, of the step it is inside of, or of the run."""
        while number in self._lanes and number != MAIN:
            lane = self._lanes[number]
            if number in self._alone:
                return self._context(self.run_id, f"scope {number}")
            if "step" in lane:
                return self._context(self.run_id, f"step {lane['step']}")
            number = lane["parent"]
        return self._context(self.run_id, "run")

    def _run(self, record: RunRecord) -> None:
        from opentelemetry.trace import Link

        head = self.reading.head
        links = []
        if record.forked_from is not None:
            try:
                trace, _ = self._place(self.reading.store.journal.run(record.forked_from))
            except RunNotFoundError:
                trace = _digest("trace", record.forked_from)[:16]
            links.append(Link(self._context(record.forked_from, "run", trace)))
        failed = head["status"] == "failed"
        self._add(
            "run",
            f"invoke_agent {head['name']}",
            self._above,
            (head["created"], head["updated"]),
            {
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.agent.name": head["name"],
                "gen_ai.usage.input_tokens": head["tokens"][0] or None,
                "gen_ai.usage.output_tokens": head["tokens"][1] or None,
                "error.type": (head.get("error", "").partition(":")[0] or "error") if failed else None,
                "jupyter_durable.run.id": self.run_id,
                "jupyter_durable.run.status": head["status"],
                "jupyter_durable.run.sessions": len(head["sessions"]),
                "jupyter_durable.notebook": head.get("notebook"),
                "jupyter_durable.cost_usd": head["cost"] or None,
            },
            links=links,
            error=head.get("error", "") if failed else None,
        )

    # -- steps -----------------------------------------------------------------------------------

    def _step(self, row: Row) -> None:
        kind = row["kind"]
        attributes: dict[str, Any] = {
            "jupyter_durable.run.id": self.run_id,
            "jupyter_durable.step.id": row["id"],
            "jupyter_durable.step.kind": kind,
            "jupyter_durable.step.status": row["status"],
            "jupyter_durable.step.attempts": row.get("attempts", 1),
            "jupyter_durable.step.replays": row.get("replays"),
            "jupyter_durable.step.left_behind": row.get("old"),
            "jupyter_durable.cost_usd": row.get("cost"),
        }
        if kind == "model":
            name = self._model(row, attributes)
        elif kind in ("tool", "mcp"):
            name = f"execute_tool {row['name']}"
            attributes |= {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": row["name"],
                "gen_ai.tool.type": "function" if kind == "tool" else "extension",
            }
            if self._content:
                attributes["gen_ai.tool.call.arguments"] = _text(self.reading.arguments(row))
                attributes["gen_ai.tool.call.result"] = _text(self.reading.result(row))
        elif kind == "http":
            name = self._http(row, attributes)
        else:
            name = row["name"] if kind == row["name"] else f"{kind} {row['name']}"
        error = self.reading.error(row)
        if error is not None:
            attributes["error.type"] = error[0] or "error"
        elif row["status"] == "failed":
            attributes["error.type"] = "error"
        end = row.get("end", self.reading.head["updated"])
        self._add(
            f"step {row['id']}",
            name,
            self._parent(row["lane"]),
            (row["at"], end),
            attributes,
            client=kind in ("model", "http", "mcp"),
            events=self._events(row, error, end),
            error=(error[1] if error else row.get("says", "")) if row["status"] == "failed" else None,
        )

    def _events(self, row: Row, error: tuple[str, str, str] | None, end: float) -> list[Event]:
        from opentelemetry.sdk.trace import Event

        events = []
        for number, (at, said) in enumerate(self.reading.attempts.get(row["id"], ()), 1):
            kind, _, message = said.partition(": ")
            told: dict[str, Any] = {"jupyter_durable.attempt": number}
            told |= {"exception.type": _clean(kind), "exception.message": _clean(message)}
            events.append(Event("jupyter_durable.attempt_failed", told, _nanoseconds(at)))
        for at, text in self.reading.log(row):
            events.append(Event("jupyter_durable.log", {"message": _clean(text)}, _nanoseconds(at)))
        if error is not None:
            parts = zip(("type", "message", "stacktrace"), error, strict=True)
            told = {f"exception.{name}": _clean(part) for name, part in parts}
            events.append(Event("exception", told, _nanoseconds(end)))
        return events

    def _request(self, row: Row) -> dict[str, Any]:
        step = self.reading.step(row)
        decode = self.reading.watch._session.decoder(self.reading.watch.feed.record)
        found = inert.glance(lambda: exchanged._recorded(step, decode))
        return found[0] if isinstance(found, tuple) else {}

    def _model(self, row: Row, attributes: dict[str, Any]) -> str:
        used = spend.used(self.reading.step(row)) or {}
        request = self._request(row)
        described = inert.glance(lambda: exchanged._described(request))
        api = getattr(described, "name", None) or ""
        provider = used.get("provider") or getattr(described, "provider", None) or ""
        if provider in ("", "local"):
            provider = next((name for start, name in _APIS.items() if api.startswith(start)), provider)
        model = getattr(described, "model", None) or used.get("model")
        operation = "embeddings" if "embed" in api else "chat"
        parts = urlsplit(str(request.get("url", "")))
        finish = used.get("finish")
        attributes |= {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": _PROVIDERS.get(provider, provider) or "unknown",
            "gen_ai.request.model": model,
            "gen_ai.response.model": used.get("model"),
            "gen_ai.usage.input_tokens": used.get("input"),
            "gen_ai.usage.output_tokens": used.get("output"),
            "gen_ai.usage.cache_read.input_tokens": used.get("cached") or None,
            "gen_ai.usage.reasoning.output_tokens": used.get("reasoning") or None,
            "gen_ai.response.finish_reasons": [str(finish)] if finish else None,
            "server.address": parts.hostname,
            "server.port": parts.port,
        }
        if self._content:
            said = [
                {"role": role, "parts": [{"type": "text", "content": text[:_MOST]}]}
                for role, text in self.reading.messages(row)
            ]
            asked = [one for one in said if not one["role"].startswith("assistant")]  # type: ignore[attr-defined]
            answer = said[-1:] if said and said[-1] not in asked else []
            attributes["gen_ai.input.messages"] = json.dumps(said[: len(said) - len(answer)])
            attributes["gen_ai.output.messages"] = json.dumps(answer)
        return f"{operation} {model}" if model else operation

    def _http(self, row: Row, attributes: dict[str, Any]) -> str:
        request = self._request(row)
        parts = urlsplit(str(request.get("url", "")))
        method = str(request.get("method", "")) or "HTTP"
        said = row.get("says", "").split(" ", 1)[0]
        attributes |= {
            "http.request.method": method,
            "url.full": str(request.get("url", "")) or None,
            "server.address": parts.hostname,
            "server.port": parts.port,
            "http.response.status_code": int(said) if said.isdigit() else None,
        }
        return f"{method} {parts.hostname}" if parts.hostname else method


def _clean(value: Any) -> Any:
    """Protobuf's strings are Unicode, and Python's need not be."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _text(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)[:_MOST]
