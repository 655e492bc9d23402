"""Sentences of providers: made safe to show, and matched where the provider gives no code.

Codes count before words everywhere. All patterns are linear, and are given texts of a bounded length.
"""

import re
from collections.abc import Iterable

from batchgen.text import printable

LONGEST_READ = 20_000
SHORTEST_SECRET = 6
"""A shorter part of a key is not secret, and may be a word."""
SHORTEST_NAME = 3

POLICY = re.compile(
    r"\bnsfw\b|flagged (?:as|by|for|content)|was flagged|sensitive (?:content|material)|flagged as sensitive"
    r"|content[ _]polic(?:y|ies)|content management policy|usage polic(?:y|ies)"
    r"|safety (?:system|filter|polic|checker|reason)"
    r"|(?:blocked|rejected|refused|filtered) (?:by|due to|because of|as a result of) (?:our |the |its )?"
    r"(?:content |safety |image )?(?:moderation|safety|polic|filter)"
    r"|moderation (?:system|filter|policy|check|rules|guidelines)|content moderation|\bmoderated\b|moderation_blocked"
    r"|violat\w{1,4} (?:our|the|openai'?s|google'?s) (?:\w{1,20} ){0,2}(?:polic|guideline|guardrail|rule|term)"
    r"|prohibited content|responsible ai|inappropriate content|unsafe content",
    re.IGNORECASE,
)
PARAMETER = re.compile(
    r"(?:unknown|unrecogni[sz]ed|unsupported|unexpected|invalid|extra|missing|required) (?:\w{1,20} )?"
    r"(?:parameter|argument|field|option|property|value|keyword|input)"
    r"|does not support (?:the )?param|not a valid (?:parameter|value)|unsupportedparams"
    r"|extra (?:inputs|fields) are not",
    re.IGNORECASE,
)
"""A refusal that names an input is about that input, whatever the input is called."""
MONEY = re.compile(
    r"balance|credits?\b|billing|payment|top.?up|spend(?:ing)? limit|invoice"
    r"|exceeded your current quota|insufficient.?quota",
    re.IGNORECASE,
)
KEY = re.compile(
    r"(?:incorrect|invalid|expired|revoked|missing|wrong|no) (?:\w{1,20} )?(?:api[ _-]?key|token|credential)"
    r"|(?:api[ _-]?key|token|credentials?) (?:\w{1,20} ){0,2}?(?:not valid|invalid|incorrect|expired|revoked|missing)"
    r"|api[ _]key[ _](?:not[ _]valid|invalid)|authentication (?:is )?(?:required|failed)"
    r"|unauthenticated|api_key_invalid",
    re.IGNORECASE,
)
ACCOUNT_BLOCKED = re.compile(
    r"(?:resource|account|user|organi[sz]ation|team|subscription) (?:is |has been |was )?(?:temporarily )?"
    r"(?:blocked|locked|suspended|deactivated|disabled)|admin lock",
    re.IGNORECASE,
)
"""About the whole account, although some providers give their content policy as the reason."""
OF_A_MODEL = re.compile(
    r"\b(?:this|the|that|requested|private|gated) (?:\w{1,20} )?(?:model|application|app|endpoint|deployment)\b"
    r"|access to (?:the |this |a )?(?:model|application|app|endpoint)|verified to use"
    r"|accept the (?:license|terms)|\bgated\b",
    re.IGNORECASE,
)
NO_MODEL = re.compile(
    r"(?:version|model|application|app|endpoint) (?:\S{1,120} )?"
    r"(?:does not exist|not found|could not be found|is unknown)|no such (?:model|version)|invalid version",
    re.IGNORECASE,
)
VERIFY = re.compile(r"must be verified|verify (?:the |your )?organi[sz]ation", re.IGNORECASE)
TERMS = re.compile(r"license|terms|gated", re.IGNORECASE)

_QUERY = re.compile(r"(https?://[^\s?#\"'<>]{1,2000})[?#][^\s\"'<>]*", re.IGNORECASE)
_USERINFO = re.compile(r"(https?://)[^\s/@\"'<>]{1,300}@", re.IGNORECASE)
_TOKENS = re.compile(
    r"\b(?:sk|rk|pk|r8|hf|xai|gsk|key)[-_][A-Za-z0-9*._-]{8,200}|\b(?:bearer|basic) [A-Za-z0-9+/=._~-]{8,400}"
    r"|\bAIza[A-Za-z0-9_-]{20,60}|\beyJ[A-Za-z0-9_-]{10,4000}(?:\.[A-Za-z0-9_-]{1,4000}){0,2}",
    re.IGNORECASE,
)


def shown(text: object, limit: int, *, secret: str = "") -> str:
    """A provider's words, safe to show and store: one short line without keys and without signatures of addresses.

    `secret` is our key there. Anything that looks like a key is removed as well.
    """
    plain = (text if isinstance(text, str) else str(text))[:LONGEST_READ]
    for part in _parts(secret):
        plain = plain.replace(part, "[key]")
    plain = _TOKENS.sub("[key]", plain)
    return printable(_USERINFO.sub(r"\1", _QUERY.sub(r"\1", plain)), limit)


def speaks_of(text: str, model: str | None) -> bool:
    """Whether a text names this model, by its whole id or the last part of it."""
    name = (model or "").partition(":")[0].lower()
    said = text[:LONGEST_READ].lower()
    return any(len(part) >= SHORTEST_NAME and _has_name(said, part) for part in (name, name.rpartition("/")[2]))


def is_policy(text: str) -> bool:
    said = text[:LONGEST_READ]
    is_other = PARAMETER.search(said) or ACCOUNT_BLOCKED.search(said)
    return not is_other and POLICY.search(said) is not None


def remedy(text: str) -> str:
    """What the operator must do about a model that this account may not use."""
    if VERIFY.search(text[:LONGEST_READ]):
        return "Verify the organisation in the provider's settings"
    if TERMS.search(text[:LONGEST_READ]):
        return "Accept the model's terms at the provider"
    return "Ask the provider for access, or point the model's row elsewhere"


def _parts(secret: str) -> Iterable[str]:
    """The key and its parts, longest first: some keys consist of an id and a secret."""
    parts = [secret, *secret.split(":")]
    return sorted({part for part in parts if len(part) >= SHORTEST_SECRET}, key=len, reverse=True)


def _has_name(text: str, name: str) -> bool:
    """Whether the name occurs as a word: `flux` does not in `influx`."""
    return re.search(rf"(?<![\w/-]){re.escape(name)}(?![\w-])", text) is not None
