"""Error messages for invalid settings: the variable, what is wrong, what is allowed, and the remedy."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
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
"""Variables that the command line, the dev stack and the tests read, beside those with `BATCHGEN_TEST_`."""
MISSPELT = 0.8
"""From this similarity on (1: equal), an unknown name is taken for a misspelt setting."""
SIMILAR = 0.4
"""From this similarity on, an unknown name gets a hint."""

INVALID_URLS = ("url_parsing", "url_scheme", "url_type", "url_syntax_violation", "url_too_long")
DESCRIPTIONS = {
    "int_parsing": "is not a whole number",
    "int_parsing_size": "is not a whole number",
    "int_from_float": "is not a whole number",
    "float_parsing": "is not a number",
    "finite_number": "is not a number",
    "bool_parsing": "is neither true nor false",
    "greater_than_equal": "is too small",
    "less_than_equal": "is too large",
    "string_too_short": "is too short",
    "string_too_long": "is too long",
    "too_short": "is too short",
    "too_long": "is too long",
    "literal_error": "is not a known value",
}


def variables(kind: type[BaseSettings]) -> Mapping[str, str]:
    """The environment variables of these settings, each with its field's name."""
    found: dict[str, str] = {}
    for name, field in kind.model_fields.items():
        for variable in _names(name, field):
            found[variable] = name
    return found


def error_messages(
    kind: type[BaseSettings], error: ValidationError, given: Iterable[str]
) -> list[tuple[str | None, str]]:
    """A pair of variable and message for each error; no message shows a value. `given`: names of set variables."""
    return [_message(kind, one, list(given)) for one in error.errors(include_input=False, include_url=False)]


def unknown_variables(known: Iterable[str], given: Iterable[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Misspelt `BATCHGEN_` variables, each with its message, and messages about the other unknown ones."""
    settings = [name for name in known if name.startswith(PREFIX)]
    suffixes = {name.removeprefix(PREFIX): name for name in (*settings, *READ_ELSEWHERE)}
    misspelt: list[tuple[str, str]] = []
    others: list[str] = []
    for name in sorted({one.upper() for one in given}):
        rest = name.removeprefix(PREFIX)
        if not name.startswith(PREFIX) or rest in suffixes or rest.startswith("TEST_"):
            continue
        if near := difflib.get_close_matches(rest[:200], suffixes, 1, MISSPELT):
            misspelt.append((name, f"{name}: is not a setting; did you mean {suffixes[near[0]]}? Rename or remove it"))
            continue
        near = difflib.get_close_matches(rest[:200], suffixes, 1, SIMILAR)
        hint = f"the closest name is {suffixes[near[0]]}" if near else "docs/settings.md lists all settings"
        others.append(f"{name} is not a batchgen setting and has no effect; {hint}")
    return misspelt, others


def _message(kind: type[BaseSettings], error: ErrorDetails, given: list[str]) -> tuple[str | None, str]:
    if not error["loc"]:  # from a check of several settings: its message begins with the variable
        message = _validator_message(error)
        first = message.partition(" ")[0].strip(":")
        return (first if first.isupper() else None), message
    place = str(error["loc"][0])
    name = variables(kind).get(place.upper(), place.lower())
    field = kind.model_fields[name]
    names = _names(name, field)
    variable = next((one for one in names if one in {known.upper() for known in given}), names[0])
    return variable, f"{variable}: {_problem(variable, field, error, given)}"


def _problem(variable: str, field: FieldInfo, error: ErrorDetails, given: list[str]) -> str:
    match error["type"]:
        case "missing":
            near = difflib.get_close_matches(variable, [one.upper() for one in given], 1, MISSPELT)
            return f"is missing; {f'{near[0]} is set: rename it' if near else 'set it'}"
        case "value_error":
            return _validator_message(error)
        case kind if kind in INVALID_URLS:
            return "is not an http(s) address; use one such as https://host or http://127.0.0.1:8000"
        case kind:
            default = "" if field.default is None or field.is_required() else f" (default {_shown(field.default)})"
            return f"{DESCRIPTIONS.get(kind, 'is invalid')}; {_allowed(field)}; change or remove it{default}"


def _validator_message(error: ErrorDetails) -> str:
    """The message of a `ValueError` that one of our validators raised."""
    return str(error.get("ctx", {}).get("error", "is invalid"))


def _allowed(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return f"allowed: {', '.join(get_args(field.annotation))}"
    if field.annotation is bool:
        return "allowed: true, false"
    bounds: dict[str, Any] = {}
    for rule in field.metadata:
        bounds |= {key: getattr(rule, key) for key in ("ge", "le", "min_length", "max_length") if hasattr(rule, key)}
    if "ge" in bounds:
        what = "whole numbers" if field.annotation is int else "numbers"
        return f"allowed: {what} from {bounds['ge']:,} to {bounds['le']:,}"
    if "max_length" in bounds:
        return f"allowed: {bounds['min_length']} to {bounds['max_length']} characters"
    return "see docs/settings.md for what is allowed"


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)


def _names(name: str, field: FieldInfo) -> list[str]:
    choices = getattr(field.validation_alias, "choices", None)
    return [str(one) for one in choices if str(one).isupper()] if choices else [f"{PREFIX}{name}".upper()]
