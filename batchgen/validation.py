"""Turn validation errors of requests into `InvalidRequest`: the path in the JSON, what is expected, what was found."""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from batchgen.errors import InvalidRequest
from batchgen.text import printable

EXPECTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number of at most 4,300 digits",
    "float_type": "a number",
    "float_parsing": "a number",
    "tuple_type": "a list",
    "list_type": "a list",
    "model_type": "an object",
    "dict_type": "an object",
    "model_attributes_type": "an object",
}
LONGEST_SHOWN = 40


def refuse_unknown(kind: type[BaseModel], data: Any) -> None:
    """Raise `InvalidRequest` for a field that `kind` does not have, which pydantic would report without a hint."""
    if not isinstance(data, Mapping):
        return
    for key in cast("Mapping[Any, Any]", data):
        if key not in kind.model_fields:
            name = printable(str(key), 60)
            near = closest_matches(str(key), kind.model_fields)
            known = f"Known fields: {', '.join(kind.model_fields)}."
            raise InvalidRequest(
                f"{name} is not a field of a request.",
                code="unknown_field",
                field=name,
                remedy=f"Did you mean {near[0]}? {known}" if near else known,
            )


def closest_matches(word: str, known: Iterable[str], most: int = 1) -> Sequence[str]:
    """The known words most similar to this one, ignoring case; at most `most`."""
    by_lower = {one.lower(): one for one in known}
    near = difflib.get_close_matches(word.lower()[:200], by_lower, most, 0.5)
    return list(dict.fromkeys(by_lower[one] for one in near))


def to_invalid_request(error: ValidationError) -> InvalidRequest:
    """The first of pydantic's errors."""
    first = error.errors(include_url=False)[0]
    where = first["loc"]
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where).lstrip(".")
    if first["type"] == "missing":
        return InvalidRequest(f"{field} is missing.", code="wrong_type", field=field, remedy=f"Give {field}.")
    value, expected = describe_value(first["input"]), EXPECTED.get(first["type"])
    return InvalidRequest(
        f"{field} must be {expected}, not {value}." if expected else f"{field} cannot be {value}.",
        code="wrong_type",
        field=field,
        remedy=f"Make {field} {expected or 'another value'}.",
    )


def at_path(path: str, error: InvalidRequest, index: int | None = None) -> InvalidRequest:
    """The same error for a field below `path`."""
    field = f"{path}.{error.field}" if error.field else path
    message, remedy = error.message, error.remedy
    if error.field:
        message = message.replace(error.field, field, 1)
        remedy = (
            remedy.replace(f"{error.field}.", f"{field}.", 1) if remedy and "Known fields" not in remedy else remedy
        )
    return InvalidRequest(message, code=error.code, field=field, index=index, remedy=remedy)


def describe_value(value: Any) -> str:
    """A value from a request in few words, with the names of JSON's types."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return f"the text {json.dumps(printable(value, LONGEST_SHOWN), ensure_ascii=False)}"
        case int() | float():
            return f"the number {value:.6g}" if abs(value) < 1e300 else "a very large number"
        case Mapping():
            return "an object"
        case list() | tuple():
            return "a list"
        case _:
            return f"a {type(cast('object', value)).__name__}"
