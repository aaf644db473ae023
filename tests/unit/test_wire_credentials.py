"""No credential gets out of a request: the rules, and laws over requests that carry one anywhere."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_durable.capture.wire import describe
from jupyter_durable.capture.wire.credentials import HIDDEN, is_secret, is_secret_name, scrub, split_url

PLANTED = "zq7PLANTEDx9"
JSON = [("content-type", "application/json")]
FORM = [("content-type", "application/x-www-form-urlencoded")]
SECRET_NAMES = """
    api_key apiKey X-Api-Key openai_api_key access_token refresh-token id_token client_secret Password passwd
    authorization authorization_token Proxy-Authorization x-amz-security-token private_key Cookie Set-Cookie jwt
    aws_secret_access_key webhook_secret db_password Ocp-Apim-Subscription-Key AccountKey
"""
PLAIN_NAMES = """
    max_tokens token_count prompt_tokens nextPageToken page_token continuation_token cursor key id prompt_cache_key
    partition_key idempotency_key model messages signature secretary keyboard tokenizer cookies_enabled author
"""


@pytest.mark.parametrize("name", SECRET_NAMES.split())
def test_names_that_say_it_all(name: str) -> None:
    """Whatever such a field holds is hidden."""
    assert is_secret_name(name)
    assert is_secret(name, "x")


@pytest.mark.parametrize("name", PLAIN_NAMES.split())
def test_names_that_only_sound_like_it(name: str) -> None:
    """Limits, cursors and cache keys tell calls apart and stay."""
    assert not is_secret_name(name)


def test_words_that_depend_on_their_value() -> None:
    """`token` and `key` are ordinary words, too."""
    assert is_secret("token", "tok_live_9f8e7d")
    assert not is_secret("token", "ETH")
    assert not is_secret("token", 7)
    assert is_secret("key", "AIzaSyA1234567890", in_url=True)
    assert not is_secret("key", "users/7", in_url=True)
    assert not is_secret("key", "some-long-key-of-a-dict-1")  # in JSON


def test_schemas_of_tools_stay() -> None:
    """A tool's parameter called password is no password."""
    tool = {"parameters": {"properties": {"password": {"type": "string", "description": "the user's"}}}}
    assert scrub(tool) is tool


def test_what_a_secret_holds_is_hidden_whole() -> None:
    """All strings and numbers inside, whatever they are called there."""
    found = scrub({"credentials": {"user": "me", "value": "x"}, "secret": ["a", 1, None, True, ""], "n": 1})
    assert found == {
        "credentials": {"user": HIDDEN, "value": HIDDEN},
        "secret": [HIDDEN, HIDDEN, None, True, ""],
        "n": 1,
    }


def test_signed_addresses_are_the_same_call() -> None:
    """A signature, and what it is made with, changes every time."""
    s3 = "https://b.s3.amazonaws.com/k?versionId=3&X-Amz-Date={0}&X-Amz-Credential=c{0}&X-Amz-Signature={0}"
    sas = "https://a.blob.core.windows.net/c/b?comp=block&se={0}&sp=r&sig={0}%3D"
    cloud = "https://d.cloudfront.net/x?Expires={0}&Signature={0}&Key-Pair-Id=K"
    for url in (s3, sas, cloud):
        first, second = split_url(url.format("1111")), split_url(url.format("2222"))
        assert first.identity == second.identity
        assert first.shown == second.shown
    assert split_url(s3).identity.endswith("?versionId=3")
    assert split_url("https://h.example/?se=sv&sp=1").identity.endswith(
        "?se=sv&sp=1"
    )  # unsigned: words like others


@pytest.mark.parametrize(
    "url",
    [
        "https://api.telegram.org/bot123456789:AAE-PLANTED_abcdefghijklmnopqrstuv/sendMessage",
        "https://hooks.slack.com/services/T0001/B0002/PLANTEDabcdef",
        "https://discord.com/api/webhooks/12345/PLANTEDabcdef",
        "https://h.example/v1/sk-PLANTED0123456789abcd/x",
        "https://me:PLANTED@h.example/x",
        "https://h.example/x?q=sk-PLANTED0123456789abcd",
        "https://[broken/?api_key=PLANTED",
    ],
)
def test_credentials_in_a_path(url: str) -> None:
    """Some services put the credential where the name of the step comes from."""
    found = describe("POST", url, [], b"")
    assert found is not None
    assert "PLANTED" not in repr(found)


EXCHANGES: list[tuple[str, str, Any]] = [
    ("POST", "https://oauth2.googleapis.com/token", "grant_type=x"),
    ("POST", "https://login.microsoftonline.com/t/oauth2/v2.0/token", "grant_type=client_credentials"),
    ("GET", "https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration", ""),
    ("POST", "https://sts.eu-west-1.amazonaws.com/", "Action=AssumeRole"),
    ("POST", "https://sts.amazonaws.com/", "Action=GetCallerIdentity"),
    ("GET", "http://169.254.169.254/latest/meta-data/iam/security-credentials/", ""),
    ("PUT", "http://169.254.169.254/latest/api/token", ""),
    ("GET", "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token", ""),
    ("POST", "https://github.com/login/oauth/access_token", "client_id=1"),
    ("POST", "https://github.com/login/device/code", "client_id=1"),
    ("POST", "https://api.github.com/app/installations/1/access_tokens", ""),
    ("POST", "https://idp.example/realms/r/protocol/openid-connect/token", "grant_type=password"),
    ("POST", "https://idp.example/anything", "grant_type=refresh_token&refresh_token=r"),
    ("POST", "https://api.example/oauth/device_authorization", ""),
    ("GET", "https://auth.docker.io/token?service=registry.docker.io&scope=repository:a:pull", ""),
    ("POST", "https://api.example/api/token/", {"username": "a", "password": "b"}),
    ("POST", "https://api.example/login", {"user": "a", "password": "b"}),
    ("POST", "https://api.openai.com/v1/realtime/client_secrets", {"session": {}}),
    ("POST", "https://tenant.auth0.com/oauth/token", {"grant_type": "client_credentials"}),
    ("GET", "https://portal.sso.us-east-1.amazonaws.com/federation/credentials?role_name=r", ""),
]


@pytest.mark.parametrize(("method", "url", "body"), EXCHANGES)
def test_exchanges_are_never_journaled(method: str, url: str, body: Any) -> None:
    """Token endpoints, STS, metadata hosts, device flows and logins are made live."""
    headers, data = (JSON, json.dumps(body)) if isinstance(body, dict) else (FORM, body)
    assert describe(method, url, headers, data.encode()) is None


@pytest.mark.parametrize(
    ("method", "url", "body"),
    [
        ("GET", "https://api.example/v1/tokens/ETH", ""),
        ("GET", "https://api.example/v1/token", ""),
        ("POST", "https://api.example/sessions", {"title": "a talk"}),
        ("POST", "https://api.anthropic.com/v1/messages/count_tokens", {"messages": [], "model": "m"}),
        ("GET", "https://sts.example.com/", ""),
    ],
)
def test_what_only_sounds_like_an_exchange_is_a_step(method: str, url: str, body: Any) -> None:
    """A token may be a coin."""
    headers, data = (JSON, json.dumps(body)) if isinstance(body, dict) else (FORM, body)
    assert describe(method, url, headers, data.encode()) is not None


# -- laws ---------------------------------------------------------------------------------------------

NAMES = st.sampled_from(
    [
        "api_key",
        "apiKey",
        "X-API-Key",
        "access_token",
        "client_secret",
        "password",
        "authorization",
        "token",
        "auth",
    ]
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("abc ", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcd", min_size=1, max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@st.composite
def planted(draw: st.DrawFn) -> tuple[Any, Any]:
    """JSON data with a secret somewhere, and the same with another one."""
    name, around, steps = draw(NAMES), draw(PLAIN), draw(st.lists(st.booleans(), max_size=4))
    pair = []
    for secret in (PLANTED, PLANTED[::-1]):
        value: Any = {"a": around, name: secret}
        for as_list in steps:
            value = [around, value] if as_list else {"x": value, "y": around}
        pair.append(value)
    return pair[0], pair[1]


@pytest.mark.slow
@given(planted())
def test_no_secret_in_json_gets_out_and_none_tells_calls_apart(pair: tuple[Any, Any]) -> None:
    """Wherever it is planted, and a new key is not a new call."""
    found = [describe("POST", "https://h.example/x", JSON, json.dumps(value).encode()) for value in pair]
    assert found[0] is not None
    assert PLANTED not in repr(found[0])
    assert HIDDEN in repr(found[0].shown)
    assert found[0] == found[1]


@pytest.mark.slow
@given(
    NAMES,
    st.lists(st.tuples(st.text("abc", min_size=1, max_size=3), st.text(max_size=4)), max_size=4),
    st.data(),
)
def test_no_secret_in_a_url_or_form_gets_out(
    name: str, pairs: list[tuple[str, str]], data: st.DataObject
) -> None:
    """In any place of a query or form, and the identity is as if it were not there."""
    at = data.draw(st.integers(0, len(pairs)))
    query = urlencode([*pairs[:at], (name, PLANTED), *pairs[at:]])
    url = f"https://{quote(PLANTED)}@h.example/x?{query}"
    found = describe("POST", url, FORM, query.encode())
    assert found is not None
    assert PLANTED not in repr(found)
    without = urlencode(pairs)
    assert found.identity["url"] == f"https://h.example/x{'?' + without if without else ''}"


@given(PLAIN)
def test_what_holds_no_secret_is_left_alone(value: Any) -> None:
    """Scrubbing changes nothing else."""
    assert scrub(value) is value or scrub(value) == value


@given(planted())
def test_scrubbing_twice_is_scrubbing_once(pair: tuple[Any, Any]) -> None:
    """Kept data can be scrubbed again."""
    once = scrub(pair[0])
    assert scrub(once) == once


@given(st.text(max_size=60), st.binary(max_size=60), st.sampled_from(["application/json", "multipart/form-data; boundary=x", "a", ""]))  # fmt: skip
def test_nothing_raises(url: str, body: bytes, kind: str) -> None:
    """Whatever goes over the wire."""
    describe("POST", url, [("content-type", kind)], body)
    describe("POST", f"https://{url}", [("content-type", kind), ("content-encoding", "gzip")], body)
