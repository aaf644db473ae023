"""Secrets in text: what counts as one, what `durable.redact` and the environment add, that nothing else is hidden."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pydantic
import pytest
from secret_texts import INNOCENT, KEYS, PEM

import jupyter_durable as durable
from jupyter_durable.codec import redaction, shapes
from jupyter_durable.codec.display import show
from jupyter_durable.codec.redaction import holds, holds_bytes, learn, mask, masked
from jupyter_durable.errors import DurableError

pytestmark = pytest.mark.usefixtures("forgotten")


def nested(value: Any, depth: int) -> str:
    """JSON in JSON in JSON ..."""
    text = json.dumps(value, ensure_ascii=False)
    for _ in range(depth - 1):
        text = json.dumps({"a": text}, ensure_ascii=False)
    return text


# -- what is one -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize(
    "around",
    ["{}", "key {} here", '"{}"', "a\n{}\nb", "api_key={}, x", "({})", "\x1b[31m{}\x1b[0m", "a\\n{}"],
)
def test_known_keys_are_found_in_text(key: str, around: str) -> None:
    """Wherever they stand; what is found is the key, all of it and nothing else; and so in JSON text."""
    text = around.format(key)
    assert mask(text) == around.format("•••")
    assert holds(text)
    assert holds(shapes.__name__ + redaction.dumps({"t": text}))
    assert holds_bytes(text.encode())
    assert holds_bytes(b"x\0\0" + b"glued" + text.encode() + b"glued", packed=True)


@pytest.mark.parametrize(
    "text",
    [
        r'{"arguments": "{\"question\": \"Where is it?\"}"}',
        "{'direction': 'north'}",
        "is it an option: somewhere",
    ],
)
def test_bytes_are_looked_at_closely_before_they_are_sealed(text: str) -> None:
    """What ends as the names of secrets do only opens the gate: sealed, a response could not be in a cassette."""
    assert not holds_bytes(text.encode())


@pytest.mark.parametrize("text", INNOCENT)
def test_ordinary_text_is_not_taken_for_a_key(text: str) -> None:
    """Words, slugs, ids, addresses and the classes of scikit-learn."""
    assert mask(text) == text
    assert not holds(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abc.DEF-123_456", "Authorization: Bearer •••"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic •••"),
        ("Set-Cookie: sid=abc123; Path=/\r\nX: y", "Set-Cookie: •••\r\nX: y"),
        ("https://h/?q=1&api_key=abc12345&n=2", "https://h/?q=1&api_key=•••&n=2"),
        ("GET /maps?key=abc12345 HTTP/1.1", "GET /maps?key=••• HTTP/1.1"),
        ("postgresql://me:hunter2@db/x", "postgresql://me:•••@db/x"),
        (f"a {PEM} b", "a ••• b"),
        (PEM[:60], "•••"),
        (f"{KEYS['aws']},{KEYS['github']}", "•••,•••"),
        ('{"user": "me", "password": "hunter two"}', '{"user": "me", "password": "•••"}'),
        ('{"arguments": "{\\"api_key\\":\\"x1\\"}"}', '{"arguments": "{\\"api_key\\":\\"•••\\"}"}'),
        ("sent {'Authorization': 'x1', 'n': 'a'}", "sent {'Authorization': '•••', 'n': 'a'}"),
        ('{"password": "it\'s \\"x\\"", "n": 1}', '{"password": "•••", "n": 1}'),
        ("Login(user='me', password='hunter two', n=1)", "Login(user='me', password='•••', n=1)"),
        ("Server=db;User Id=me;Pwd=hunter2x;n=1", "Server=db;User Id=me;Pwd=•••;n=1"),
        ("export SERVICE_API_KEY=abc4711def\nexport N=1", "export SERVICE_API_KEY=•••\nexport N=1"),
        ("> x-api-key: abc4711def\r\n> accept: */*", "> x-api-key: •••\r\n> accept: */*"),
        ('client = OpenAI(api_key="abc")', 'client = OpenAI(api_key="•••")'),
        ("<a:apiKey kind='x'> abcd </a:apiKey><n>1</n>", "<a:apiKey kind='x'> •••</a:apiKey><n>1</n>"),
        (nested({"api_key": "hunter2"}, 4), nested({"api_key": "•••"}, 4)),
    ],
)
def test_only_the_secret_part_is_hidden(text: str, shown: str) -> None:
    """The words around it stay."""
    assert mask(text) == shown
    assert mask(shown) == shown
    assert holds(redaction.dumps(text))


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("api_key", "x", True),
        ("X-Api-Key", "x", True),
        ("openaiApiKey", "x", True),
        (b"authorization", b"x", True),
        ("password", "x", True),
        ("password", "", False),
        ("password", None, False),
        ("Set-Cookie", "a=b", True),
        ("cookies", {"sid": "x"}, True),
        ("access_token", "x", True),
        ("token", "tok-4711-0815", True),
        ("token", "the", False),
        ("max_tokens", "1000", False),
        ("next_page_token", "CAUQAA==1234", False),
        ("key", "users/7", False),
        ("primary_key", "id", False),
        ("secretary", "Ann", False),
        (7, "x", False),
    ],
)
def test_names_say_what_they_hold(name: Any, value: Any, secret: bool) -> None:
    """Key-like names; ordinary words only if the value looks like a key."""
    assert shapes.is_secret(name, value) is secret


@pytest.mark.slow
def test_looking_costs_less_than_a_microsecond_a_kilobyte() -> None:
    """Measured as a ratio, for machines differ: a fifth of the time that searching for all shapes at once takes."""
    value = {
        "text": ("It was a bright cold day in April, and the clocks struck thirteen. " * 15)[:1000],
        "n": 1,
    }
    text = redaction.dumps(value)

    def best(call: Any) -> float:
        found = []
        for _ in range(30):
            start = time.perf_counter()
            for _ in range(100):
                call(text)
            found.append(time.perf_counter() - start)
        return min(found) / 100

    everything = re.compile("|".join(map(shapes._whole, shapes.SHAPES)))
    assert best(holds) < best(everything.search) / 5


# -- durable.redact, the environment -----------------------------------------------------------------------


def test_redact_takes_values_patterns_and_secrets() -> None:
    """A text is itself, and a regular expression if it is one."""
    assert mask("hunter-two c-00123") == "hunter-two c-00123"
    durable.redact("hunter-two", r"c-\d{5}", re.compile("(?i)project zeus"), pydantic.SecretStr("a.b+c"))

    assert mask("hunter-two c-00123 Project Zeus a.b+c axbbc") == "••• ••• ••• ••• axbbc"
    assert masked({"hunter-two": ["c-00123", 7], "n": None}) == {"•••": ["•••", 7], "n": None}
    assert show({"customer": "c-00123"}) == "{'customer': '•••'}"


def test_redact_refuses_what_would_hide_everything() -> None:
    """An error with a hint, and nothing is added."""
    for wrong in ("abc", re.compile("x*"), r"\d*", 5, re.compile(b"x")):
        with pytest.raises(DurableError, match="redact") as raised:
            durable.redact(wrong)
        assert raised.value.hint
    assert mask("abc 5") == "abc 5"


def test_values_of_key_like_variables_are_secrets(tmp_path: Path) -> None:
    """By the variable's name, from eight characters on; a path to a file is none."""
    learn(
        {
            "OPENAI_API_KEY": "plain-old-words",
            "DB_PASSWORD": "hunter2!\"'\\ž",
            "SHORT_TOKEN": "abc",
            "HOME": "/home/somebody",
            "GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path),
        }
    )
    for value, hidden in (
        ("plain-old-words", True),
        ("hunter2!\"'\\ž", True),
        ("abc", False),
        (str(tmp_path), False),
    ):
        assert (mask(f"<{value}>") == "<•••>") is hidden
        assert holds(redaction.dumps({"v": [value]})) is hidden
        assert holds_bytes(f"<{value}>".encode()) is hidden
    assert mask("/home/somebody") == "/home/somebody"


def test_a_run_takes_what_was_redacted_along() -> None:
    """A process that runs nothing but the cell redacts what the cell before it did."""
    from runs import Bench

    bench = Bench()
    durable.redact("hunter-two", re.compile("(?i)project zeus"))
    bench.crash("after-call", 1, lambda: durable.step("s", str, 1))
    redaction._given = redaction._literals = redaction._patterns = redaction._forms = ()
    assert bench.resume(lambda: durable.step("s", str, 1)) == "1"
    assert mask("hunter-two Project Zeus") == "••• •••"
    assert not any(b"hunter" in repr(entry).encode() for entry in bench.store.entries(bench.record.id))
