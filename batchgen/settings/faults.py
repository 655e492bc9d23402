"""What is wrong with a setting, told in our words: its name, the fault, what is allowed, and what to do."""

import base64
import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast, get_args, get_origin

from pydantic import HttpUrl, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings

PREFIX = "BATCHGEN_"
READ_ELSEWHERE = frozenset(
    {
        "BATCHGEN_CACHE_DIR",
        "BATCHGEN_CHECKS",
        "BATCHGEN_ENV_FILE",
        "BATCHGEN_FUZZ_CASES",
        "BATCHGEN_OPERATOR",
        "BATCHGEN_USER",
    }
)
"""By the command line, the dev stack and the tests; so is all that begins with `BATCHGEN_TEST_`."""
MISSPELT = 0.8
"""Names that are so much alike, of 1, mean the same setting."""
ALIKE = 0.4

JWT_PARTS = 3
HOSTED = ".supabase.co"

WRONG_URLS = ("url_parsing", "url_scheme", "url_type", "url_syntax_violation", "url_too_long")
NO_NUMBERS = {
    "int_parsing": "is no whole number",
    "int_parsing_size": "is no whole number",
    "int_from_float": "is no whole number",
    "float_parsing": "is no number",
    "finite_number": "is no number",
    "bool_parsing": "is neither true nor false",
    "greater_than_equal": "is too small",
    "less_than_equal": "is too large",
    "string_too_short": "is too short",
    "string_too_long": "is too long",
    "too_short": "is too short",
    "too_long": "is too long",
    "literal_error": "is none of the values that are known",
}


def variables(kind: type[BaseSettings]) -> Mapping[str, str]:
    """Each environment variable of these settings, and the name of its field."""
    found: dict[str, str] = {}
    for name, field in kind.model_fields.items():
        for variable in _names(name, field):
            found[variable] = name
    return found


def faults(kind: type[BaseSettings], error: ValidationError, given: Iterable[str]) -> list[tuple[str | None, str]]:
    """For each fault the variable's name, and a sentence about it that shows no value."""
    return [_fault(kind, one, list(given)) for one in error.errors(include_input=False, include_url=False)]


def unknown(known: Iterable[str], given: Iterable[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """The misspelt names among the given ones, each with a sentence; and sentences about other unknown ones."""
    settings = [name for name in known if name.startswith(PREFIX)]
    suffixes = {name.removeprefix(PREFIX): name for name in (*settings, *READ_ELSEWHERE)}
    misspelt: list[tuple[str, str]] = []
    others: list[str] = []
    for name in sorted({one.upper() for one in given}):
        rest = name.removeprefix(PREFIX)
        if not name.startswith(PREFIX) or rest in suffixes or rest.startswith("TEST_"):
            continue
        if near := difflib.get_close_matches(rest[:200], suffixes, 1, MISSPELT):
            misspelt.append((name, f"{name}: is no setting; did you mean {suffixes[near[0]]}? Rename or remove it"))
            continue
        near = difflib.get_close_matches(rest[:200], suffixes, 1, ALIKE)
        hint = f"the nearest one is {suffixes[near[0]]}" if near else "docs/settings.md lists them all"
        others.append(f"{name} is no setting of batchgen and has no effect; {hint}")
    return misspelt, others


def _fault(kind: type[BaseSettings], error: ErrorDetails, given: list[str]) -> tuple[str | None, str]:
    if not error["loc"]:  # of settings that do not go together: the sentence names them
        words = _own_words(error)
        first = words.partition(" ")[0].strip(":")
        return (first if first.isupper() else None), words
    place = str(error["loc"][0])
    all_of_it = variables(kind)
    name = all_of_it.get(place.upper(), place.lower())
    field = kind.model_fields[name]
    names = _names(name, field)
    variable = next((one for one in names if one in {known.upper() for known in given}), names[0])
    return variable, f"{variable}: {_words(variable, field, error, given)}"


def _words(variable: str, field: FieldInfo, error: ErrorDetails, given: list[str]) -> str:
    match error["type"]:
        case "missing":
            near = difflib.get_close_matches(variable, [one.upper() for one in given], 1, MISSPELT)
            return f"is missing; {f'{near[0]} is set: rename it' if near else 'set it'}"
        case "value_error":
            return _own_words(error)
        case kind if kind in WRONG_URLS:
            return "is no http(s) address; it has to be such as https://host or http://127.0.0.1:8000"
        case kind:
            default = "" if field.default is None or field.is_required() else f" (default {_shown(field.default)})"
            return f"{NO_NUMBERS.get(kind, 'is not right')}; {_allowed(field)}; change or remove it{default}"


def _own_words(error: ErrorDetails) -> str:
    """Of an error that a validator of ours raised."""
    return str(error.get("ctx", {}).get("error", "is not right"))


def _allowed(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return f"allowed are {', '.join(get_args(field.annotation))}"
    if field.annotation is bool:
        return "allowed are true and false"
    bounds: dict[str, Any] = {}
    for rule in field.metadata:
        bounds |= {key: getattr(rule, key) for key in ("ge", "le", "min_length", "max_length") if hasattr(rule, key)}
    if "ge" in bounds:
        what = "whole numbers" if field.annotation is int else "numbers"
        return f"allowed are {what} from {bounds['ge']:,} to {bounds['le']:,}"
    if "max_length" in bounds:
        return f"allowed are {bounds['min_length']} to {bounds['max_length']} characters"
    return "docs/settings.md says what is allowed"


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)


def _names(name: str, field: FieldInfo) -> list[str]:
    choices = getattr(field.validation_alias, "choices", None)
    return [str(one) for one in choices if str(one).isupper()] if choices else [f"{PREFIX}{name}".upper()]


def fault_of_project_url(url: HttpUrl) -> str | None:
    """Why this cannot be a project's address: paths and keys are added to it."""
    if url.username or url.password:
        return "holds a user or password; give the address alone, keys are settings of their own"
    if url.query is not None or url.fragment is not None:
        return "holds a query or fragment (? or #); give the address alone, such as https://abc.supabase.co"
    if (url.path or "/").strip("/"):
        return "holds a path; give the address alone, such as https://abc.supabase.co, without /rest/v1 or the like"
    return None


def role_of(key: str) -> str | None:
    """The role that a project's key gives, as far as the key tells: by its beginning, or by the role in a JWT."""
    if key.startswith("sb_secret_"):
        return "service_role"
    if key.startswith("sb_publishable_"):
        return "anon"
    role = _payload(key).get("role")
    return role if isinstance(role, str) else None


def other_project(key: str, host: str) -> str | None:
    """The project that an older key (a JWT) is of, where the host is that of another one on supabase.co."""
    project = _payload(key).get("ref")
    if not isinstance(project, str) or not project.isalnum() or not host.lower().endswith(HOSTED):
        return None
    return None if host.lower() == project.lower() + HOSTED else project


def _payload(key: str) -> Mapping[str, Any]:
    """What a JWT says; empty where the key is none."""
    parts = key.split(".")
    if len(parts) != JWT_PARTS:
        return {}
    try:
        payload: Any = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", payload) if isinstance(payload, dict) else {}
