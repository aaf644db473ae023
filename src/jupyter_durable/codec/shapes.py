"""What a secret looks like: the table of known keys, and the names of fields that carry one.

A shape is a literal beginning, which makes keys cheap to find, and what follows it. `find` tells where
secrets are in a text; `holds` tells in well under a microsecond a kilobyte that there are none: each
beginning has one rare character (its anchor, `-` of `sk-`), which C looks for, and only around an
anchor does a regular expression look closer. Nothing here knows the user's own patterns: `codec.redaction` does.

A false positive costs little (what is sealed comes back exactly, and is shown as dots), a false
negative is a leak: so the shapes are as loose as ordinary text allows.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

# -- names -------------------------------------------------------------------------------------------


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SECRET_FIELDS: frozenset[str] = _words(
    """
    apikey accesskey accesskeyid awsaccesskeyid secretkey secretaccesskey privatekey signingkey subscriptionkey
    accesstoken refreshtoken idtoken authtoken authorizationtoken bearertoken sessiontoken securitytoken
    csrftoken xsrftoken apitoken bottoken accountkey sharedkey connectionstring clientassertion codeverifier devicecode
    secret password passwd passphrase authorization cookie cookies setcookie credential credentials jwt
    """
)
"""Names, without case and punctuation, that end like this carry a secret: `X-Api-Key`, `openai_api_key`."""

PLAIN_WORDS: frozenset[str] = _words("token auth pwd pass sessionid bearer")
"""Names that carry one if the value looks like one: `{"token": "ETH"}` is a word."""

_NOT_LETTERS = re.compile(r"[^a-z0-9]")
_ENDINGS = tuple(sorted(SECRET_FIELDS))
_LONGEST_NAME = 100
_ENVIRONMENT = re.compile(
    r"(?i)(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?)(?:_?\d+)?$|PASSWORD"
)


@functools.lru_cache(4096)
def is_secret_name(name: str) -> bool:
    """Whether whatever a field of that name holds is a secret.

    >>> is_secret_name("X-Api-Key"), is_secret_name("clientSecret"), is_secret_name("max_tokens")
    (True, True, False)
    """
    return _NOT_LETTERS.sub("", name.lower()).endswith(_ENDINGS)


@functools.lru_cache(4096)
def is_plain_word(name: str) -> bool:
    """Whether a field of that name may hold a secret."""
    return _NOT_LETTERS.sub("", name.lower()) in PLAIN_WORDS


def looks_random(value: str) -> bool:
    """Whether a value could be a secret by itself: no space or slash, and long, or with digits in it.

    >>> looks_random("ya29.a0AfH6"), looks_random("users/7"), looks_random("ETH")
    (True, False, False)
    """
    if len(value) < 8 or any(c.isspace() or c == "/" for c in value[:512]):
        return False
    return len(value) >= 12 or any(c.isdigit() for c in value)


def is_secret(name: object, value: object) -> bool:
    """Whether a field holds a secret, by its name; the value decides where the name alone does not.

    >>> is_secret("token", "BTC"), is_secret("token", "tok-4711-0815"), is_secret("password", "")
    (False, True, False)
    """
    if value is None or (type(value) in (str, bytes) and not value):
        return False
    text = str(name, "latin-1") if type(name) is bytes else name
    if type(text) is not str:
        return False
    if len(text) > _LONGEST_NAME:
        return False
    if is_secret_name(text):
        return True
    if not is_plain_word(text) or not isinstance(value, str | bytes):
        return False
    return looks_random(value if isinstance(value, str) else str(value[:1000], "latin-1"))


def label(fields: Iterable[str]) -> str | None:
    """What the `value` of a dict is called beside it: headers and variables come as `{"name": ..., "value": ...}`, too.

    >>> label({"name": "API_KEY", "value": "x"})
    'API_KEY'
    """
    if type(fields) is dict and "value" in fields:
        called = fields.get("name") or fields.get("key")
        return called if type(called) is str and len(called) <= _LONGEST_NAME else None
    return None


_innocent: set[str] = set()
_INNOCENT = 10_000


def innocent(names: Iterable[str]) -> bool:
    """Whether no field of these names may hold a secret. Names seen before cost 20 ns each.

    >>> innocent({"q": 1, "max_tokens": 2}), innocent({"api_key": 1})
    (True, False)
    """
    if _innocent.issuperset(names):
        return True
    if (called := label(names)) is not None and (is_secret_name(called) or is_plain_word(called)):
        return False
    for name in names:
        if name == "value":  # never one of those that need not be looked at
            continue
        if name not in _innocent and type(name) is str and len(name) <= _LONGEST_NAME:
            if is_secret_name(name) or is_plain_word(name):
                return False
            if len(_innocent) < _INNOCENT:
                _innocent.add(name)
    return True


def is_secret_variable(name: str) -> bool:
    """Whether an environment variable of that name holds a secret.

    >>> is_secret_variable("OPENAI_API_KEY"), is_secret_variable("PATH")
    (True, False)
    """
    return _ENVIRONMENT.search(name) is not None


# -- shapes -----------------------------------------------------------------------------------------


class Shape(NamedTuple):
    """One kind of key.

    head, anchor, tail: its literal beginning (`head` and `tail` are patterns of fixed width; `anchor` is one
    character). rest: what follows. keep: that beginning is no part of the secret (`Bearer `). free: it
    may begin in the middle of a word. needs: a character that must be there, too, and is rarer than the anchor.
    """

    name: str
    head: str
    anchor: str
    tail: str
    rest: str
    keep: bool = False
    free: bool = False
    needs: str = ""


_W = r"[A-Za-z0-9_-]"
_QUERY = (
    r"(?:[a-z-]*(?:api[_-]?key|access[_-]?key|access[_-]?token|refresh[_-]?token|id[_-]?token|auth[_-]?token|"
    r"client[_-]?secret|password|passwd|signature)|token|key|secret|sig|code|auth)=(?!•)"
)

SHAPES: tuple[Shape, ...] = (
    # OpenAI, Anthropic (sk-ant-), OpenRouter (sk-or-), DeepSeek and whoever else speaks their dialect. A digit
    # or capital: the classes of scikit-learn's HTML (sk-estimator-doc-link) have neither.
    Shape("sk", "sk", "-", "", rf"(?=[a-z_-]*[A-Z0-9]|[a-z]{{20}}){_W}{{16,}}"),
    Shape("slack", "xox[abeoprs]", "-", "", r"[A-Za-z0-9-]{10,}"),
    Shape("gitlab", "glpat", "-", "", rf"{_W}{{20,}}"),
    Shape("perplexity", "pplx", "-", "", r"[A-Za-z0-9]{30,}"),
    Shape("xai", "xai", "-", "", r"[A-Za-z0-9]{30,}"),
    Shape("nvidia", "nvapi", "-", "", rf"{_W}{{30,}}"),
    Shape("tavily", "tvly", "-", "", rf"(?=[a-z-]*[A-Z0-9]){_W}{{20,}}"),
    Shape("pypi", "pypi", "-", "", rf"AgE{_W}{{40,}}"),
    Shape("github", "gh[pousr]", "_", "", r"[A-Za-z0-9]{20,}"),
    Shape("github fine-grained", "github_pat", "_", "", r"\w{20,}"),
    Shape("hugging face", "hf", "_", "", r"[A-Za-z0-9]{20,}"),
    Shape("groq", "gsk", "_", "", r"[A-Za-z0-9]{20,}"),
    Shape("replicate", "r8", "_", "", r"[A-Za-z0-9]{30,}"),
    Shape("npm", "npm", "_", "", r"[A-Za-z0-9]{30,}"),
    Shape("langsmith", "lsv2", "_", "", r"(?:pt|sk)_[0-9a-f]{30,}\w*"),
    Shape("stripe", "[rs]k", "_", "", r"(?:live|test)_[A-Za-z0-9]{16,}"),
    Shape("google", "A", "I", "za", rf"{_W}{{30,}}"),
    Shape("aws", "(?:AK|AS)", "I", "A", r"[A-Z0-9]{16}"),
    # JSON Web Tokens: the header is JSON (`{"` is eyJ); a cursor is, too, but has no second part.
    Shape("jwt", "ey", "J", "", rf"{_W}{{8,}}\.{_W}{{8,}}(?:\.{_W}*)*"),
    Shape(
        "private key",
        "-----",
        "B",
        "EGIN ",
        r"[A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----(?s:.*?)(?:-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----|\Z)",
        free=True,
    ),
    Shape("bearer", "", "B", "earer ", r"[A-Za-z0-9._~+/-]{8,}=*", keep=True),
    # A digit, sign, padding or capital inside: `Basic understanding` is English.
    Shape(
        "basic", "", "B", "asic ", r"(?=[A-Za-z]*(?:[0-9+/=]|[a-z][A-Z]))[A-Za-z0-9+/]{8,}={0,2}", keep=True
    ),
    Shape("cookie", "", "C", "ookie: ", r"(?=[^\s=\\]{1,80}=)[^\r\n\"\\]{4,}", keep=True),
    Shape("query", "", "?", "", rf"(?i:{_QUERY})([^&\s\"'#<>\\]{{6,}})", free=True),
    Shape("query", "", "&", "", rf"(?i:{_QUERY})([^&\s\"'#<>\\]{{6,}})", free=True),
    Shape("userinfo", ":/", "/", "", r"[^\s/:@\"'\\]*:(?!•)([^\s/@\"'\\]{3,})@", free=True, needs="@"),
)
"""Every known shape. A group in `rest` is the secret; without one it is all, or all but the beginning (`keep`)."""

# Where a key may begin: not inside a word (`task-...`), unless what looks like its end is the `n` of a line break
# in JSON text, or the end of a colour (`ESC[31m`).
_EDGES = ("(?<![A-Za-z0-9]{0})", r"(?<=\\[bfnrt]{0})", "(?<=[0-9]m{0})")


def _edge(beginning: str) -> str:
    return f"(?:{'|'.join(edge.format(beginning) for edge in _EDGES)})"


def _anchored(shape: Shape, *, loose: bool) -> str:
    """A pattern that begins at the anchor and looks back."""
    before = shape.head + re.escape(shape.anchor)
    edge = "" if shape.free or loose else _edge(before)
    return f"(?<={before}){edge}{shape.tail}{shape.rest}"


def _whole(shape: Shape) -> str:
    """A pattern with one group, which is the secret."""
    beginning = shape.head + re.escape(shape.anchor) + shape.tail
    edge = "" if shape.free else _edge("")
    if re.compile(shape.rest).groups:
        return f"{edge}{beginning}{shape.rest}"
    return f"{edge}{beginning}({shape.rest})" if shape.keep else f"{edge}({beginning}{shape.rest})"


Gate = tuple[str, Callable[[str], object]]


def _gates(*, loose: bool) -> tuple[Gate, ...]:
    groups: dict[tuple[str, str], list[Shape]] = {}
    for shape in SHAPES:
        groups.setdefault((shape.needs or shape.anchor, shape.anchor), []).append(shape)
    return tuple((needs, _search(anchor, shapes, loose=loose)) for (needs, anchor), shapes in groups.items())


def _search(anchor: str, shapes: list[Shape], *, loose: bool) -> Callable[[str], object]:
    anchor = re.escape(anchor)
    heads = [shape.head for shape in shapes]
    # Most anchors in a text are told by the one character before them.
    before = "".join(h.rpartition("[")[2].rstrip("]") if h.endswith("]") else h[-1:] for h in heads)
    glance = f"(?<=[{re.escape(before)}]{anchor})" if all(heads) and before.isalnum() else ""
    patterns = "|".join(_anchored(shape, loose=loose) for shape in shapes)
    return re.compile(f"{anchor}{glance}(?:{patterns})").search


# Fields inside a text: JSON in a string (in JSON text its quotes have backslashes), the repr of a dict; keyword arguments,
# the repr of a record, settings, the headers of a log; XML.
_FIELD = re.compile(r"(\\{0,31}[\"'])([\w.-]{3,60})\1\s*:\s*(\\{0,31})([\"'])(?=.)", re.DOTALL)
_ASSIGNED = re.compile(
    r"([A-Za-z_][\w.-]{2,59})\s?[=:]\s?(?:(\\{0,31})([\"'])(?=.)|([^\s\"'`&;,<>()\[\]{}\\•]{8,}))", re.DOTALL
)
_ELEMENT = re.compile(r"<([\w:.-]{3,60})(?:\s[^<>]*)?>\s*([^<>\s][^<>]{3,})</\1>")
_ENDS = "|".join(sorted({word[-3:] for word in SECRET_FIELDS | PLAIN_WORDS}))
_FIELDS: tuple[Gate, ...] = tuple(
    (quote, re.compile(f"(?i){re.escape(quote)}(?<=(?:{_ENDS}){re.escape(quote)}){rest}").search)
    for quote, rest in (("\\", r"\\*\"\s*:\s*\\+\""), ("'", r"\s*:\s*'"))
)
# How secret names end that stand without quotes, in as many letters as keep `sort_key=` and `session: ` out.
_TAILS = {
    6: """
        pi_key pi-key apikey ss_key ss-key esskey et_key et-key retkey te_key te-key atekey ng_key ng-key ingkey
        on_key on-key ionkey nt_key nt-key untkey ed_key ed-key redkey _token -token stoken htoken dtoken itoken
        rtoken ntoken ytoken ftoken ttoken ssword passwd phrase secret cookie ookies ential ntials
    """,
    8: "rization onstring n_string n-string verifier ice_code ice-code vicecode",
    3: "pwd",
}
_LAST = (
    "key ken ret ord swd pwd ase kie ies ial als ion ing ier ode"  # three letters of each: told at a glance
)


def _assigning(sign: str) -> Gate:
    def after(gap: str) -> str:
        glance = f"(?<=[{''.join({w[-1] + w[-1].upper() for w in _LAST.split()})}]{gap})"
        last = f"(?<=(?:{_LAST.replace(' ', '|')}){gap})"
        tails = "|".join(f"(?<=(?:{'|'.join(words.split())}){gap})" for words in _TAILS.values())
        return f"{glance}(?i:{last}(?:{tails}))"

    either = f"{after(sign)}|{after(' ' + sign)}" if sign == "=" else after(sign)
    bare = r"[^\s\"'`&;,<>()\[\]{}\\•]"
    value = rf" ?(?:\\*[\"']|(?={bare}{{0,40}}\d){bare}{{8}}|{bare}{{20}})"
    return sign, re.compile(f"{sign}(?:{either}){value}").search


_ASSIGNING = _assigning("="), _assigning(": ")
_CLOSING: Gate = (
    "</",
    re.compile(rf"</(?<=[^>]</)(?i:[\w:.-]*(?:{'|'.join(' '.join(_TAILS.values()).split())}))>").search,
)
GATES: tuple[Gate, ...] = (*_gates(loose=False), *_FIELDS, *_ASSIGNING, _CLOSING)
"""A character, and what looks closer if it is there: a text in which no gate opens has no secret in it."""

LOOSE: tuple[Gate, ...] = _gates(loose=True)
"""The same for bytes in which texts stand without borders: a column of Arrow data."""

_all = re.compile("|".join(map(_whole, SHAPES)))


def find(text: str) -> Iterator[tuple[int, int]]:
    """Where known secrets stand in `text`, in order.

    >>> list(find("key sk-abc123def456ghi789 here"))
    [(4, 25)]
    """
    for match in _all.finditer(text):
        yield match.span(match.lastindex or 0)


def hide(text: str, mark: str) -> str:
    """`text` with `mark` for every known shape: the same in every process, whatever it learned to be secret.

    >>> hide("/v1/sk-abc123def456ghi789/x", "-")
    '/v1/-/x'
    """
    if not any(anchor in text and search(text) for anchor, search in GATES):
        return text
    parts: list[str] = []
    last = 0
    for start, end in find(text):
        parts += [text[last:start], mark]
        last = end
    return "".join([*parts, text[last:]])


def fields(text: str) -> Iterator[tuple[int, int]]:
    """Where the values of fields with secret names stand in a text that is JSON, code, settings, XML, or holds some.

    >>> list(fields('say {"password": "hunter2"}')), list(fields("Login(user='me', password='hunter2')"))
    ([(18, 25)], [(27, 34)])
    """
    if '":' in text or "':" in text or '" :' in text:
        for match in _FIELD.finditer(text):
            start, end = match.end(), _closed(text, match.end(), len(match[3]), match[4])
            if end > start and is_secret(match[2], text[start:end]):
                yield start, end
    if any(sign in text and search(text) for sign, search in _ASSIGNING):
        for match in _ASSIGNED.finditer(text):
            if match[4] is not None:
                if _looks_assigned(match[4]) and is_secret(match[1], match[4]):
                    yield match.span(4)
                continue
            start, end = match.end(), _closed(text, match.end(), len(match[2]), match[3])
            if end > start and is_secret(match[1], text[start:end]):
                yield start, end
    if "</" in text and _CLOSING[1](text):
        for match in _ELEMENT.finditer(text):
            if is_secret(match[1].rpartition(":")[2], match[2]):
                yield match.span(2)


def _closed(text: str, start: int, level: int, quote: str) -> int:
    """Where the string that begins at `start` ends; its quotes have `level` backslashes, those inside it more."""
    end = text.find(quote, start)
    while end >= 0:
        back = end
        while back > start and text[back - 1] == "\\":
            back -= 1
        if end - back <= level:
            return back
        end = text.find(quote, end + 1)
    return len(text)


def _looks_assigned(value: str) -> bool:
    """Without quotes, a name or an expression may stand there."""
    return looks_random(value) and (len(value) >= 20 or any(map(str.isdigit, value)))
