"""Credentials on the wire: where requests carry them, and which requests are about nothing else.

    is_secret ─── a field, parameter or header that carries a credential
    scrub ─────── JSON-like data with a visible mark where a credential was
    split_url ─── a URL to show, and one to recognise the call by
    meet ──────── the credentials of a request: secrets from here on, wherever else they stand
    is_exchange ─ a request whose answer is a credential (token endpoints, STS, metadata hosts)

What names and shapes say so wherever they stand is `codec.shapes`' to know. In URLs some ordinary words do, too
(`key`, `sig`): `?key=users/7` tells two calls apart and must stay part of them, so there the value must look like a
credential as well. The mark (`HIDDEN`) is the same for all: a new key is not a new call.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import SplitResult, unquote, unquote_plus, urlsplit

from jupyter_durable.codec import shapes
from jupyter_durable.codec.redaction import HIDDEN as HIDDEN
from jupyter_durable.codec.redaction import mask
from jupyter_durable.codec.redaction import remember as remember
from jupyter_durable.codec.shapes import find, hide, is_plain_word, looks_random
from jupyter_durable.codec.shapes import is_secret_name as is_secret_name

# In URLs these are words that carry a credential if the value looks like one; in JSON they do not.
_URL_WORDS = frozenset(("key", "code", "sig", "signature"))
_NOT_LETTERS = re.compile(r"[^a-z0-9]")

# What signs a URL changes with every signature: none of it tells two calls apart.
_SIGNED_PREFIXES = ("x-amz-", "x-goog-", "x-ms-sas")
_SIGNATURES = frozenset(("sig", "signature", "x-amz-signature", "x-goog-signature"))
_SIGNED_NAMES = """
    awsaccesskeyid expires expiry policy key-pair-id googleaccessid
    se st sp sv sr spr srt ss ske skt sks skv skoid sktid
"""
_SIGNED_WITH = frozenset(_SIGNED_NAMES.split())

# Services that put the credential into the path.
_IN_PATH = re.compile(
    r"(?P<keep>/bot(?=\d{6,}:)|/services/T\w+/B\w+/|/webhooks/\d+/|/api/webhooks/\d+/)(?P<secret>[^/]+)"
)


def is_secret(name: str, value: Any, *, in_url: bool = False) -> bool:
    """Whether the field carries a credential. `in_url`: a query parameter, or a field of a form.

    >>> is_secret("token", "BTC"), is_secret("token", "tok-4711-0815")
    (False, True)
    """
    if shapes.is_secret(name, value):
        return True
    if not isinstance(value, str):
        return False
    if in_url and _NOT_LETTERS.sub("", name.lower()) in _URL_WORDS:
        return looks_random(value) or any(find(value))
    return is_plain_word(name) and any(find(value))


def scrub(value: Any) -> Any:
    """JSON-like data with `HIDDEN` where it held a credential: under a secret name, or in a URL.

    What holds none is returned as it is, not copied. A JSON schema under a secret name (a tool's parameter
    called `password`) is no credential.

    >>> scrub({"q": "a", "auth": {"api_key": "k"}})
    {'q': 'a', 'auth': {'api_key': '•••'}}
    """
    kind = type(value)
    if kind is str:
        return _scrub_text(value) if value.startswith(("http://", "https://", "wss://")) else value
    if kind is dict:
        return _scrub_dict(value)
    if kind is list:
        scrubbed = [scrub(item) for item in value]
        return value if all(a is b for a, b in zip(value, scrubbed, strict=True)) else scrubbed
    return value


def _scrub_dict(value: dict[Any, Any]) -> dict[Any, Any]:
    changed: dict[Any, Any] | None = None
    for name, item in value.items():
        if type(name) is str and (is_secret_name(name) or (is_plain_word(name) and is_secret(name, item))):
            scrubbed = _hide(item)
        elif type(item) in (dict, list, str):
            scrubbed = scrub(item)
        else:
            continue
        if scrubbed is not item:
            changed = dict(value) if changed is None else changed
            changed[name] = scrubbed
    return value if changed is None else changed


def _hide(value: Any) -> Any:
    """All that a secret field holds."""
    if isinstance(value, dict):
        if "type" in value or "$ref" in value or "anyOf" in value or "enum" in value:  # a schema
            return scrub(value)
        return {name: _hide(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_hide(item) for item in value]
    if value is None or isinstance(value, bool) or value == "":
        return value
    remember(value)
    return HIDDEN


def _scrub_text(text: str) -> str:
    if ("?" not in text and "@" not in text and "/bot" not in text) or len(text) > 8192 or " " in text:
        return text
    return split_url(text).shown


def meet(headers: Mapping[str, str], parts: SplitResult | None = None) -> None:
    """Remember what a request carries as credentials: what the user's code prints of them is hidden, too.

    Names of headers are lower case. Never raises.
    """
    for name, value in headers.items():
        if is_secret_name(name) or (name.endswith("-token") and looks_random(value)):
            if name == "cookie":
                for cookie in value.split(";"):
                    remember(cookie.partition("=")[2].strip())
                continue
            scheme, _, rest = value.partition(" ")
            remember(rest or value)
            if scheme.lower() == "basic":
                remember(_password(rest))
    if parts is None:
        return
    if parts.netloc.find("@") > 0:
        remember(unquote(parts.netloc.rpartition("@")[0].partition(":")[2]))
    if "=" in parts.query:
        for pair in parts.query.split("&"):
            name, _, value = pair.partition("=")
            if value and is_secret(unquote_plus(name), plain := unquote_plus(value), in_url=True):
                remember(value)
                remember(plain)


def _password(basic: str) -> str:
    try:
        return b64decode(basic).decode().partition(":")[2]
    except ValueError:
        return ""


class Url(NamedTuple):
    """`shown` has a mark where a credential was; `identity` is without it, and without what signs a URL."""

    shown: str
    identity: str
    parts: SplitResult


def split_url(url: str) -> Url:
    """A URL without its credentials: userinfo, key-like parameters, signatures, known shapes in the path.

    The order of parameters stays, a fragment goes. Never raises.

    >>> split_url("https://me:pw@h.example/v1?q=1&api_key=abc").shown
    'https://•••@h.example/v1?q=1&api_key=•••'
    >>> split_url("https://me:pw@h.example/v1?q=1&api_key=abc").identity
    'https://h.example/v1?q=1'
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # a bracket that is no IPv6 address
        parts = SplitResult("", "", url.partition("?")[0].rpartition("@")[2], "", "")
    userinfo, at, place = parts.netloc.rpartition("@")
    path = hide(_IN_PATH.sub(rf"\g<keep>{HIDDEN}", parts.path), HIDDEN)
    shown, identity = _split_query(parts.query)
    scheme = f"{parts.scheme}://" if parts.scheme else ""
    place = place.lower()
    return Url(
        f"{scheme}{HIDDEN + at if userinfo or at else ''}{place}{mask(path)}{'?' if shown else ''}{shown}",
        f"{scheme}{place}{path}{'?' if identity else ''}{identity}",
        parts,
    )


def _split_query(query: str) -> tuple[str, str]:
    if not query:
        return "", ""
    pairs = [(pair, unquote_plus(pair.partition("=")[0]).lower()) for pair in query.split("&")]
    signed = any(name in _SIGNATURES for _, name in pairs)
    shown: list[str] = []
    identity: list[str] = []
    for pair, name in pairs:
        raw, _, value = pair.partition("=")
        if (
            name.startswith(_SIGNED_PREFIXES)
            or (signed and (name in _SIGNED_WITH or name in _SIGNATURES))
            or is_secret(unquote_plus(raw), unquote_plus(value), in_url=True)
        ):
            shown.append(f"{raw}={HIDDEN}")
            continue
        # What this process alone knows to be secret must not change what the call is recognised by.
        shown.append(f"{raw}={mask(value)}" if "=" in pair else pair)
        identity.append(f"{raw}={hide(value, HIDDEN)}" if "=" in pair else pair)
    return "&".join(shown), "&".join(identity)


# -- requests whose answer is a credential ----------------------------------------------------------

_METADATA_HOSTS = """
    169.254.169.254 169.254.170.2 169.254.170.23 100.100.100.200 metadata.google.internal metadata
    fd00:ec2::254 fd00:ec2::23
"""
_METADATA = frozenset(_METADATA_HOSTS.split())
_ISSUERS = re.compile(
    r"^(sts(\.[a-z0-9-]+)?\.amazonaws\.com(\.cn)?|sts-fips\.[a-z0-9-]+\.amazonaws\.com|sts\.googleapis\.com|"
    r"(oidc|portal\.sso|signin|cognito-identity|cognito-idp)\.[a-z0-9-]+\.(amazonaws\.com|aws\.amazon\.com)|"
    r"oauth2\.googleapis\.com|iamcredentials\.googleapis\.com|securetoken\.googleapis\.com|"
    r"identitytoolkit\.googleapis\.com|accounts\.google\.com|"
    r"login\.(microsoftonline\.com|microsoft\.com|windows\.net|live\.com)|[a-z0-9-]+\.b2clogin\.com|"
    r"auth\.openai\.com|[a-z0-9-]+\.(okta|auth0)\.com)$"
)
_TOKEN_PATH = re.compile(
    r"(?i)(/oauth2?/(v[\d.]+/)?(token|authorize|revoke|introspect|access_token|device/code|device_authorization)|"
    r"/login/(oauth/access_token|device/code)|/oauth2/v[\d.]+/(token|devicecode)|/connect/token|"
    r"/protocol/openid-connect/(token|auth(/device)?)|/device(/|_)?code|/device_authorization|"
    r"/\.well-known/(openid-configuration|oauth-[a-z-]+)|/client_secrets|/access_tokens?|/copilot_internal/v\d/token)/?$"
)
_LOGIN_PATH = re.compile(r"(?i)/(tokens?|login|log-in|sign-?in|auth|authenticate|sessions?|token/refresh)/?$")


def is_exchange(method: str, parts: SplitResult, body: Any) -> bool:
    """Whether the answer to a request is a credential: it is never journaled, and made again on resume.

    `body` is parsed: a dict for JSON and forms.
    """
    host = (parts.hostname or "").lower()
    if host in _METADATA or _ISSUERS.match(host) or _TOKEN_PATH.search(parts.path):
        return True
    fields = body if isinstance(body, dict) else {}
    if isinstance(fields.get("grant_type"), str) or "grantType" in fields:
        return True
    if not _LOGIN_PATH.search(parts.path):
        return False
    if method.upper() != "POST":  # a container registry's
        return (
            parts.path.rstrip("/").endswith("/token")
            and "scope=" in parts.query
            and "service=" in parts.query
        )
    last = parts.path.rstrip("/").rpartition("/")[2].lower()
    return last in ("token", "refresh") or any(
        type(name) is str and (is_secret_name(name) or is_plain_word(name)) for name in fields
    )
