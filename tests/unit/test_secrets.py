"""Secrets: what counts as one, that none is stored in the clear, that each comes back, that none is shown."""

from __future__ import annotations

import dataclasses
import gzip
import json
import re
import time
from base64 import b64decode
from collections import OrderedDict, defaultdict, deque
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest

import jupyter_durable as durable
from jupyter_durable.codec import Codec, StoreKey, redaction, shapes
from jupyter_durable.codec.display import difference, show, show_call
from jupyter_durable.codec.redaction import holds, holds_bytes, learn, mask, masked
from jupyter_durable.errors import DurableError, IntegrityError
from jupyter_durable.model import Chunk, Payload

CODEC = Codec(StoreKey(b"k" * 32))

KEYS = {
    "openai": "sk-proj-Ab1_cd2-EF3gh4ij5kl6mn7op8qr9st0",
    "openai, old": "sk-" + "a1B2" * 12,
    "anthropic": "sk-ant-api03-" + "aB3_d-" * 15 + "AA",
    "deepseek": "sk-" + "0123456789abcdef" * 2,
    "google": "AIza" + "SyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY",
    "github": "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a",
    "github app": "ghs_" + "a1" * 18,
    "github fine-grained": "github_pat_11ABCDEFG0_" + "aB1" * 15,
    "gitlab": "glpat-" + "Ab1_cd2-EF3gh4ij5kl6",
    "slack bot": "xoxb-" + "1234567890-abcdefGHIJ",
    "slack user": "xoxp-" + "1234567890-abcdefGHIJ",
    "aws": "AKIA" + "IOSFODNN7EXAMPLE",
    "hugging face": "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz12345678",
    "groq": "gsk_" + "a1B2" * 13,
    "stripe": "sk_live_" + "a1B2c3D4e5F6g7H8i9",
    "langsmith": "lsv2_pt_" + "0123456789abcdef" * 2 + "_0123456789",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
}
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow" + "IBAAKCAQEA\n" * 9 + "-----END RSA PRIVATE KEY-----"

INNOCENT = [
    "for key in sorted(rows, key=lambda row: row.session_key): tokens=1000; sort_key=primary_key_of_row_1",
    "def login(user: str, password: str = None, api_key: SecretStr | None = None) -> Token: ...",
    "password = getpass.getpass('again: '); api_key=os.environ['X']; token: str = self.token",
    "The password: it is written on the wall. <password></password> <session>1234</session>",
    "task-management-system-2000-with-a-Long-Name",
    "risk-assessment-framework-V2-final",
    "sk-estimator-doc-link sk-toggleable__label-arrow sk-container-id-1",
    "disk-0b5e3a52-9f3a-4c55-8d0e-9f9f0b8a7d11",
    "hf_transformers_tokenizer_utils_fast",
    "ghp_short",
    "Basic understanding of the authorization header",
    "Bearer of bad news",
    "the -----BEGIN CERTIFICATE----- of a server",
    "eyJvZmZzZXQiOjEwMCwibGltaXQiOjUwfQ==",
    "https://example.org/search?q=secret+agent&page=2&max_tokens=100",
    "mail me@example.org: at https://example.org:8080/path",
    "Cookie: the story of a dog",
    "AKIABLE and ASIANGAMES",
    "nextPageToken, max_tokens, prompt_cache_key",
    "d41d8cd98f00b204e9800998ecf8427e 0b5e3a52-9f3a-4c55-8d0e-9f9f0b8a7d11",
]


def nested(value: Any, depth: int) -> str:
    """JSON in JSON in JSON ..."""
    text = json.dumps(value, ensure_ascii=False)
    for _ in range(depth - 1):
        text = json.dumps({"a": text}, ensure_ascii=False)
    return text


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test redacts is not redacted in the others."""
    for name in ("_given", "_environment", "_met", "_literals", "_patterns", "_forms", "_marks"):
        monkeypatch.setattr(redaction, name, ())


def encode(value: Any, **how: Any) -> tuple[Payload, dict[bytes, Chunk]]:
    """The payload, and its chunks apart."""
    payload = CODEC.encode(value, bind="run", has_chunk=lambda digest: False, **how)
    return payload._replace(chunks=()), {chunk.digest: chunk for chunk in payload.chunks}


def decode(stored: tuple[Payload, dict[bytes, Chunk]], **how: Any) -> Any:
    """The value again."""
    return CODEC.decode(stored[0], bind="run", load=stored[1].__getitem__, **how)


def written(stored: tuple[Payload, dict[bytes, Chunk]]) -> bytes:
    """All that gets to the disk, and what base64 in it stands for, inflated."""
    data = stored[0].body + b"".join(chunk.data for chunk in stored[1].values())
    texts = re.findall(rb'"([A-Za-z0-9+/]{8,}=*)"', data)
    parts = [data, *(b64decode(text) for text in texts if len(text) % 4 == 0)]
    return b"".join([*parts, *(gzip.decompress(part) for part in parts if part[:2] == b"\x1f\x8b")])


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


def test_a_value_met_under_a_secret_name_is_a_secret_everywhere() -> None:
    """A token that `login()` returned, passed on by position; also after it was read back; words are not remembered."""
    stored = encode(
        {
            "access_token": "plain-8h8h-token",
            "password": "understanding",
            "s": pydantic.SecretStr("wx-4z4z-yy"),
        }
    )
    for secret in ("plain-8h8h-token", "wx-4z4z-yy"):
        assert secret.encode() not in written(encode([f"GET with {secret}", secret]))
        assert decode(encode([secret])) == [secret]
    assert mask("understanding") == "understanding"
    for name in ("_met", "_literals", "_forms"):
        setattr(redaction, name, ())
    assert mask("plain-8h8h-token") == "plain-8h8h-token"
    decode(stored)
    assert mask("plain-8h8h-token wx-4z4z-yy") == "••• •••"
    for number in range(1000):
        encode({"access_token": f"token-number-{number}"})
    assert len(redaction._literals) < 50
    assert mask("token-number-999 token-number-1") == "••• token-number-1"


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


# -- stored ------------------------------------------------------------------------------------------------

KEY = KEYS["openai"]


@dataclasses.dataclass
class Account:
    """A record."""

    user: str
    note: str
    password: str = "hunter-two-plain"


class Bag(set):  # type: ignore[type-arg]
    """Only pickle keeps it."""


class Login(pydantic.BaseModel):
    """A model."""

    user: str
    refresh_token: str = "hunter-two-plain"
    note: str = ""


def _raised() -> ValueError:
    try:
        raise ValueError(f"bad key {KEY}")
    except ValueError as error:
        error.add_note(f"sent {KEY}")
        return error


def _bag() -> Bag:
    bag = Bag({1})
    bag.note = f"hunter-two-plain {KEY}"  # type: ignore[attr-defined]
    return bag


LONG = "lorem ipsum dolor sit amet, " * 400
VALUES: dict[str, Any] = {
    "text": f"call with {KEY} please",
    "bare": KEY,
    "dict": {"q": "a", "h": {"k": KEY}},
    "key of a dict": {KEY: 1, "n": 2},
    "list of dicts": [{"a": 1}, {"b": [KEY]}],
    "named": {"user": "me", "password": "hunter-two-plain"},
    "named, large": {"user": "me" * 4000, "password": "hunter-two-plain"},
    "named container": {"cookies": {"sid": "hunter-two-plain"}, "credentials": ["me", "hunter-two-plain"]},
    "header pairs": [("Accept", "x"), ("Cookie", "hunter-two-plain")],
    "raw headers": ((b"Authorization", b"authorization", b"hunter-two-plain"),),
    "tuple, set": (KEY, {KEY}, frozenset({KEY})),
    "ordered": OrderedDict([("n", "1"), ("secret", "hunter-two-plain")]),
    "default": defaultdict(list, {"api_key": "hunter-two-plain"}),
    "deque": deque([KEY]),
    "bytes": f"x {KEY}".encode(),
    "many bytes": f"{LONG} {KEY} {LONG}".encode(),
    "body": b'{"user": "me", "refresh_token": "hunter-two-plain"}',
    "gzipped body": gzip.compress(b'{"user": "me", "refresh_token": "hunter-two-plain"}' * 20),
    "JSON in a text": json.dumps({"call": json.dumps({"user": "me", "password": "hunter-two-plain"})}),
    "bytearray": bytearray(f"x {KEY}".encode()),
    "long text": f"{LONG} {KEY} {LONG}",
    "long text, late": LONG * 30 + KEY,
    "dataclass": Account("me", f"use {KEY}"),
    "model": Login(user="me", note=KEY),
    "secret": {"s": pydantic.SecretStr("hunter-two-plain"), "b": pydantic.SecretBytes(b"hunter-two-plain")},
    "pickled": [_bag()],
    "path": Path("/tmp") / KEY,
    "array of texts": np.array(["a", KEY]),
    "array of bytes": np.array([b"a", KEY.encode()]),
    "array of objects": np.array([None, KEY], dtype=object),
    "pem": {"cert": PEM},
    "name and value": [{"name": "DB_PASSWORD", "value": "hunter-two-plain"}, {"name": "n", "value": "1"}],
    "key and value": {"key": "authorization", "value": "hunter-two-plain", "n": 1},
    "a record as text": f"it was {Account('me', 'n')!r}",
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_secrets_are_sealed_wherever_they_stand(value: Any) -> None:
    """Not in the stored bytes, also compressed or in base64; the value comes back as it was, types and all."""
    stored = encode(value)
    for secret in (KEY, "hunter-two-plain", PEM[40:80]):
        assert secret.encode() not in written(stored)
        assert "".join(f"{char}\0\0\0" for char in secret).encode() not in written(stored)
    back = decode(stored)
    assert type(back) is type(value)
    assert np.array_equal(back, value) if isinstance(value, np.ndarray) else repr(back) == repr(value)
    if isinstance(value, list) and isinstance(value[0], Bag):
        assert back[0].note == value[0].note  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_sealed_values_are_shown_as_dots(value: Any) -> None:
    """Whoever shows a stored value needs to know no pattern."""
    shown = show(decode(encode(value), hide=True), 400)
    assert KEY not in shown
    assert "hunter-two-plain" not in shown


def test_errors_are_sealed_with_their_notes_and_source_lines() -> None:
    """Message, note, attribute, and the line of code in the traceback."""
    stored = encode(_raised())
    assert KEY.encode() not in written(stored)
    assert b"raise ValueError" in written(stored)
    back = decode(stored)
    assert str(back) == f"bad key {KEY}"
    assert back.__notes__ == [f"sent {KEY}"]

    try:
        exec(compile(f"client = dict(api_key='{KEY}', n=1 / 0)", "cell", "exec"), {})
    except ZeroDivisionError as error:
        import linecache

        linecache.cache["cell"] = (1, None, [f"client = dict(api_key='{KEY}', n=1 / 0)\n"], "cell")
        stored = encode(error)
    assert KEY.encode() not in written(stored)
    assert b"client = dict(api_key='" in written(stored)


def test_what_the_user_redacts_is_sealed_in_every_shape() -> None:
    """Literals with quotes and other alphabets, patterns, in JSON, in text, in bytes; shown as dots by whoever shows it."""
    durable.redact('pass"wörd\n', r"cust-\d+")
    value = {"a": 'the pass"wörd\n!', "b": ["cust-4711"], "c": 'x pass"wörd\n'.encode(), "cust-1": 0}
    stored = encode(value)
    for secret in ("wörd", "w\\u00f6rd", "cust-4711", "cust-1"):
        assert secret.encode() not in written(stored)
    assert decode(stored) == value
    redaction._literals = redaction._patterns = redaction._forms = ()
    assert show(decode(stored, hide=True)) == "{'a': 'the •••!', 'b': ['•••'], 'c': •••, '•••': 0}"


def test_arguments_are_sealed_too() -> None:
    """Of a call in a few atoms, and of any other."""
    for args, kwargs in (
        ((KEY,), {}),
        ((1,), {"password": "hunter-two-plain"}),
        (({"a": [KEY]}, object()), {}),
    ):
        from jupyter_durable.codec.canonical import Canonical

        text = Canonical(b"k" * 32).identify(args, kwargs)[1]
        payload = CODEC.encode_call(args, kwargs, text, bind="run", has_chunk=lambda digest: False)
        data = written((payload, {}))
        assert KEY.encode() not in data
        assert b"hunter" not in data
        back = CODEC.decode(payload, bind="run", load=lambda digest: Chunk(digest, b""))
        assert repr(back[1]) == repr(kwargs)


def test_a_conversation_with_a_secret_still_shares_its_chunks() -> None:
    """Sealing is deterministic within a run: one more message is one more message on disk."""
    messages = [{"role": "user", "content": f"{n} {KEY} " + LONG[:900]} for n in range(60)]
    before = encode(messages)[1]
    after = encode([*messages, {"role": "user", "content": "next"}])[1]
    assert sum(len(chunk.data) for digest, chunk in after.items() if digest not in before) < 3000


def test_a_whole_payload_can_be_sealed() -> None:
    """Nothing of it is readable; large data shares chunks all the same, in other runs too; compression is kept."""
    value = {"cell": "print('a readable cell')", "blob": LONG.encode() * 20, "rows": [LONG[:2000]] * 3}
    stored = encode(value, seal=True)
    assert stored[0].codec == "sealed1"
    assert b"readable" not in written(stored)
    assert b"lorem" not in written(stored)
    assert decode(stored) == value
    assert len(written(stored)) < 30_000

    other = CODEC.encode(value, bind="other", has_chunk=lambda digest: False, seal=True)
    assert {chunk.digest for chunk in other.chunks} == stored[1].keys()
    assert other.body != stored[0].body
    for wrong in (other, stored[0]._replace(body=stored[0].body[:-1]), stored[0]._replace(body=b"")):
        with pytest.raises(IntegrityError, match="sealed secret"):
            CODEC.decode(wrong, bind="run", load=stored[1].__getitem__)
    readings = CODEC.seal_json({"os.urandom:16": ["AAAA"]}, bind="run")
    assert b"urandom" not in readings.body
    assert decode((readings, {})) == {"os.urandom:16": ["AAAA"]}


def test_innocent_values_are_written_as_before() -> None:
    """No secret, no other codec."""
    for value in ({"q": "a", "max_tokens": 5}, ["x"] * 5, "text", b"bytes", {"a": {"b": "risk-free"}}):
        assert encode(value)[0].codec in ("json1", "bytes1")
    many, chunks = encode([{"n": n, "text": INNOCENT[n % 16]} for n in range(40)])
    assert b"mix" not in many.body + b"".join(chunk.data for chunk in chunks.values())


# -- shown -------------------------------------------------------------------------------------------------


def test_a_secret_that_is_cut_is_not_shown_in_part() -> None:
    """Shortening comes after hiding."""
    for start in range(150, 215):
        assert "sk-" not in show("x" * start + " " + KEY, 200)
        assert "MIIE" not in show("x" * start + " " + PEM, 200)
    assert show_call("f", (KEY,), {"token": "tok-4711-0815"}) == "f('•••', token=•••)"


def test_differences_name_the_argument_and_not_the_secret() -> None:
    """In a divergence's text."""
    a, b = KEYS["github"], KEYS["github app"]
    assert difference({"k": a}, {"k": b}) == "k: '•••' recorded, another '•••' now"
    assert a not in difference({"x": f"{a} 1"}, {"x": f"{a} 2"})
    assert difference({"password": "a"}, {"password": "b"}) == "password: ••• recorded, another ••• now"
