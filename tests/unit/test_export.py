"""A run exported: as data that its schema describes, as spans that a collector understands, as a file that is whole."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner
from runs import Bench

import jupyter_durable as durable
from jupyter_durable.cli import main
from jupyter_durable.errors import DurableError, RunNotFoundError
from jupyter_durable.export import FORMATS, export, html
from jupyter_durable.export.document import MOST, Document, schema
from jupyter_durable.testing import FakeProvider, fault, reply, usage

SECRET = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCD"


class Frozen:
    """What only pickle can keep."""

    def __reduce__(self) -> Any:
        return (_boom, ())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frozen)

    __hash__ = None  # type: ignore[assignment]


unpickled: list[int] = []


def _boom() -> Frozen:
    unpickled.append(1)
    return Frozen()


def _busy(bench: Bench) -> None:
    """A run with what runs have: scopes, children, failed attempts, an error that was caught, logs, secrets, a pickle."""
    tries = iter((TimeoutError(f"no answer for {SECRET}"), None))

    @bench.tool(retries=1, backoff=0.0)
    def flaky(what: str) -> str:
        durable.log("looking", what=what)
        if (error := next(tries)) is not None:
            raise error
        return what.upper()

    @bench.tool
    def outer(numbers: list[int]) -> list[int]:
        return [durable.step("inner", lambda n: n * n, n) for n in numbers]

    @bench.tool
    def broken() -> None:
        raise ValueError("<b>no</b>")

    async def agent() -> None:
        await asyncio.gather(asyncio.to_thread(outer, [1, 2]), asyncio.to_thread(flaky, "leases"))
        with pytest.raises(ValueError, match="no"):
            broken()
        durable.step("login", lambda: {"token": SECRET, "text": f"use {SECRET}"})
        durable.step("frozen", Frozen)
        durable.step("large", lambda: "x" * (MOST + 5))

    bench.new(agent)


@pytest.fixture
def busy() -> Bench:
    """A store with that run in it."""
    bench = Bench()
    _busy(bench)
    return bench


# -- json ----------------------------------------------------------------------------------------------


def test_the_document_is_what_its_schema_says(busy: Bench) -> None:
    """Everything that a run has is in it, and valid."""
    made = export(busy.facade, "run", "json")
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(json.loads(made.text), schema())
    steps = {step["name"]: step for step in json.loads(made.text)["steps"]}
    assert steps["flaky"]["attempts"] == 2
    assert [one["error"] for one in steps["flaky"]["failed_attempts"]] == ["TimeoutError: no answer for •••"]
    assert [line["text"] for line in steps["flaky"]["log"]] == ["looking what=leases"] * 2
    assert steps["inner"]["parent"] == steps["outer"]["id"]
    assert steps["outer"]["arguments"]["data"] == [[[1, 2]], {}]
    assert steps["outer"]["result"]["data"] == [1, 4]
    assert steps["broken"]["error"]["type"] == "ValueError"
    assert "in broken" in steps["broken"]["error"]["traceback"]
    assert steps["large"]["result"]["cut"]
    assert len(steps["large"]["result"]["data"]) == MOST
    assert any(f"result of step {steps['large']['id']}" in one for one in made.left_out)


def test_a_document_is_read_back(busy: Bench) -> None:
    """The round trip loses nothing."""
    text = export(busy.facade, "run", "json").text
    read = Document.model_validate_json(text)
    assert json.loads(read.model_dump_json()) == json.loads(text)


@pytest.mark.parametrize("format", ["html", "json", "otel"])
def test_no_secret_gets_out_and_nothing_is_unpickled(busy: Bench, format: str) -> None:  # noqa: A002
    """Sealed is sealed, and exporting runs none of the user's code."""
    unpickled.clear()
    how = {"content": True} if format == "otel" else {}
    text = export(busy.facade, "run", format, **how).text
    assert SECRET not in text
    assert "•••" in text or "\\u2022" in text
    assert unpickled == []


def test_strings_that_are_no_text(busy: Bench) -> None:
    """Lone surrogates, control characters, closing tags, NaN."""
    bench = Bench()
    bench.new(lambda: durable.step("odd", lambda: ["\udc80", "\x00", "</script>", float("nan"), b"\xff"]))
    for name in ("html", "json", "otel"):
        how = {"content": True} if name == "otel" else {}
        export(bench.facade, "run", name, **how).text.encode()
    assert (
        json.loads(export(bench.facade, "run", "json").text)["steps"][0]["result"]["data"][2] == "</script>"
    )


def test_unknown_formats_runs_and_options(busy: Bench) -> None:
    """Each is an error that says what there is."""
    with pytest.raises(DurableError, match="no format 'xml'") as caught:
        export(busy.facade, "run", "xml")
    assert all(name in caught.value.hint for name in FORMATS)
    with pytest.raises(RunNotFoundError):
        export(busy.facade, "other", "json")
    with pytest.raises(DurableError, match="takes no 'endpoint'"):
        export(busy.facade, "run", "json", endpoint="http://127.0.0.1:1")


def test_files_are_written_whole(busy: Bench, tmp_path: Path) -> None:
    """Under their own names or the given one; no temporary file stays."""
    made = export(busy.facade, "run", "json")
    assert made.write(tmp_path) == [tmp_path / "run.json"]
    assert made.write(tmp_path / "new" / "here.json") == [tmp_path / "new" / "here.json"]
    assert (tmp_path / "new" / "here.json").read_text() == made.text
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["run.json"]


def test_a_report_says_what_is_left_out(busy: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long values, the values of many steps, the oldest steps: none of them goes missing in silence."""
    made = export(busy.facade, "run", "html")
    assert len(made.left_out) == 1
    assert "1 value with more than" in made.left_out[0]
    monkeypatch.setattr(html, "STEPS", 3)
    monkeypatch.setattr(html, "VALUES", 100)
    made = export(busy.facade, "run", "html")
    assert any(one.startswith("the first 5 of 8 steps") for one in made.left_out)
    assert any("the values of" in one for one in made.left_out)
    assert "Not in this report:" in made.text
    assert all(one in made.text for one in made.left_out)


# -- otel ----------------------------------------------------------------------------------------------


class Collector:
    """An OTLP/HTTP receiver: keeps the spans of what is posted to it by their ids."""

    def __init__(self) -> None:
        self.spans: dict[tuple[bytes, bytes], Any] = {}
        self.requests = 0
        self.answer = 200
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

                body = self.rfile.read(int(self.headers["content-length"]))
                outer.requests += 1
                if self.path == "/v1/traces" and outer.answer == 200:
                    assert self.headers["content-type"] == "application/x-protobuf"
                    request = ExportTraceServiceRequest.FromString(body)
                    for resource in request.resource_spans:
                        for scope in resource.scope_spans:
                            outer.spans |= {(span.trace_id, span.span_id): span for span in scope.spans}
                self.send_response(outer.answer)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def named(self, name: str) -> Any:
        return next(span for span in self.spans.values() if span.name == name)


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector on loopback."""
    made = Collector()
    yield made
    made.server.shutdown()
    made.server.server_close()


def _said(span: Any) -> dict[str, Any]:
    found = {}
    for one in span.attributes:
        kind = one.value.WhichOneof("value")
        value = getattr(one.value, kind)
        found[one.key] = [v.string_value for v in value.values] if kind == "array_value" else value
    return found


def test_spans_arrive_once_however_often_they_are_sent(busy: Bench, collector: Collector) -> None:
    """Ids are made from run and steps."""
    made = export(busy.facade, "run", "otel", endpoint=collector.url)
    assert not made.files
    assert collector.url in made.says
    once = dict(collector.spans)
    export(busy.facade, "run", "otel", endpoint=f"{collector.url}/v1/traces")
    assert collector.requests == 2
    assert collector.spans == once
    assert len({trace for trace, _ in once}) == 1


@pytest.mark.slow
def test_spans_stand_below_one_another(busy: Bench, collector: Collector) -> None:
    """Run, scopes, steps, steps inside of steps."""
    export(busy.facade, "run", "otel", endpoint=collector.url)
    root = collector.named("invoke_agent run")
    assert not root.parent_span_id
    outer, inner = collector.named("execute_tool outer"), collector.named("execute_tool inner")
    assert inner.parent_span_id == outer.span_id
    by_id = {span.span_id: span for span in collector.spans.values()}
    above = outer
    while above.parent_span_id:  # a task, and the thread that it hands its work to
        above = by_id[above.parent_span_id]
    assert by_id[outer.parent_span_id].name.startswith("outer")
    assert above == root
    assert collector.named("execute_tool broken").parent_span_id == root.span_id
    for span in collector.spans.values():
        assert span.start_time_unix_nano <= span.end_time_unix_nano
        if span.parent_span_id:
            assert by_id[span.parent_span_id].start_time_unix_nano <= span.start_time_unix_nano


@pytest.mark.slow
def test_attempts_are_events_and_errors_are_statuses(busy: Bench, collector: Collector) -> None:
    """As the conventions have exceptions."""
    export(busy.facade, "run", "otel", endpoint=collector.url)
    flaky = collector.named("execute_tool flaky")
    assert [event.name for event in flaky.events] == ["jupyter_durable.attempt_failed"] + [
        "jupyter_durable.log"
    ] * 2
    assert _said(flaky.events[0])["exception.type"] == "TimeoutError"
    assert flaky.status.code == 0
    broken = collector.named("execute_tool broken")
    assert (broken.status.code, broken.status.message) == (2, "<b>no</b>")
    assert _said(broken)["error.type"] == "ValueError"
    [event] = broken.events
    assert "in broken" in _said(event)["exception.stacktrace"]


@pytest.mark.slow
def test_a_model_call_by_the_conventions(collector: Collector) -> None:
    """What a dashboard of model calls looks for, from a real SDK's request."""
    openai = pytest.importorskip("openai")
    bench = Bench()
    with FakeProvider([fault(429), reply("A lock that expires.", usage=usage(31, 7))]) as provider:

        def agent() -> str:
            with openai.OpenAI(base_url=provider.openai_base, api_key="k", max_retries=2) as client:
                said = client.chat.completions.create(
                    model="gpt-fake", messages=[{"role": "user", "content": "What is a lease?"}]
                )
                return str(said.choices[0].message.content)

        bench.new(agent)
    export(bench.facade, "run", "otel", endpoint=collector.url)
    span = collector.named("chat gpt-fake")
    said = _said(span)
    assert said["gen_ai.operation.name"] == "chat"
    assert said["gen_ai.provider.name"] == "openai"
    assert said["gen_ai.request.model"] == "gpt-fake"
    assert (said["gen_ai.usage.input_tokens"], said["gen_ai.usage.output_tokens"]) == (31, 7)
    assert said["gen_ai.response.finish_reasons"] == ["stop"]
    assert said["server.address"] == "127.0.0.1"
    assert span.kind == 3  # client
    assert [event.name for event in span.events] == ["jupyter_durable.attempt_failed"]
    assert "gen_ai.input.messages" not in said
    export(bench.facade, "run", "otel", endpoint=collector.url, content=True)
    said = _said(collector.named("chat gpt-fake"))
    assert json.loads(said["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "What is a lease?"}]}
    ]
    assert "A lock that expires." in said["gen_ai.output.messages"]


@pytest.mark.slow
def test_forks_and_child_runs(collector: Collector, tmp_path: Path) -> None:
    """A fork links to its parent run and does not repeat it; a child run is below its step."""
    bench = Bench()
    bench.new(lambda: [durable.step("a", lambda: 1), durable.step("b", lambda: 2)])
    first = bench.record.id
    bench.fork(lambda: [durable.step("a", lambda: 1), durable.step("c", lambda: 3)])
    made = export(bench.facade, bench.record.id, "otel", endpoint=collector.url)
    assert any("fork" in one for one in made.left_out)
    root = collector.named("invoke_agent run")
    assert {span.name for span in collector.spans.values()} == {"invoke_agent run", "execute_tool c"}
    fork_spans = dict(collector.spans)
    export(bench.facade, first, "otel", endpoint=collector.url)
    assert (root.links[0].trace_id, root.links[0].span_id) in collector.spans.keys() - fork_spans.keys()

    store = str(tmp_path / "journal.db")

    @durable.run("child", store=store)
    def child() -> int:
        return int(durable.step("inside", lambda: 1))

    @durable.run("above", store=store)
    def above() -> int:
        return int(child())

    above()
    with durable.open_store(store) as opened:
        export(opened, "above", "otel", endpoint=collector.url)
        export(opened, "child", "otel", endpoint=collector.url)
    call, inner = collector.named("run child"), collector.named("invoke_agent child")
    assert (inner.trace_id, inner.parent_span_id) == (call.trace_id, call.span_id)


@pytest.mark.slow
def test_spans_as_a_file(busy: Bench, collector: Collector) -> None:
    """The file has the same spans, with ids in hex."""
    made = export(busy.facade, "run", "otel")
    assert list(made.files) == ["run.otlp.json"]
    export(busy.facade, "run", "otel", endpoint=collector.url)
    spans = json.loads(made.text)["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert {(bytes.fromhex(s["traceId"]), bytes.fromhex(s["spanId"])) for s in spans} == set(collector.spans)
    assert made.text == export(busy.facade, "run", "otel").text


@pytest.mark.slow
def test_a_collector_that_is_not_there(busy: Bench, collector: Collector) -> None:
    """Refusals and wrong endpoints are errors with a way on."""
    collector.answer = 400
    with pytest.raises(DurableError, match="did not take the spans"):
        export(busy.facade, "run", "otel", endpoint=collector.url)
    with pytest.raises(DurableError, match="no endpoint"):
        export(busy.facade, "run", "otel", endpoint="127.0.0.1:4318")


# -- the command line ----------------------------------------------------------------------------------


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`jupyter durable export` makes files, prints, and prints the schema."""
    store = str(tmp_path / "journal.db")
    with durable.run("nightly report", store=store):
        durable.step("one", lambda: 1)
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    made = run(main, ["export", "nightly report", "--store", store])
    assert made.exit_code == 0
    assert made.stdout.strip() == "nightly_report.html"
    assert (tmp_path / "nightly_report.html").read_text().startswith("<!doctype html>")
    made = run(main, ["export", "nightly report", "--format", "json", "-o", "-", "--store", store])
    assert Document.model_validate_json(made.stdout).run.name == "nightly report"
    made = run(main, ["export", "nightly report", "-o", "a.html", "--json", "--store", store])
    assert json.loads(made.stdout)["files"] == ["a.html"]
    assert json.loads(run(main, ["export", "--schema"]).stdout) == schema()
    assert run(main, ["export"]).exit_code == 2
