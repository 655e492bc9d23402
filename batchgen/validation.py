"""What a request's fields may be, told in our words: by the path in the JSON, what is expected, and what was found."""

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
LONGEST_FOUND = 40


def refuse_unknown(kind: type[BaseModel], data: Any) -> None:
    """Raises `InvalidRequest` for a field that `kind` does not have: it would be ignored in silence."""
    if not isinstance(data, Mapping):
        return
    for key in cast("Mapping[Any, Any]", data):
        if key not in kind.model_fields:
            name = printable(str(key), 60)
            near = nearest(str(key), kind.model_fields)
            known = f"Known here: {', '.join(kind.model_fields)}."
            raise InvalidRequest(
                f"{name} is not known.",
                code="unknown_field",
                field=name,
                remedy=f"Did you mean {near[0]}? {known}" if near else known,
            )


def nearest(word: str, known: Iterable[str], most: int = 1) -> Sequence[str]:
    """The known words that are most like this one, whatever their case."""
    by_lower = {one.lower(): one for one in known}
    near = difflib.get_close_matches(word.lower()[:200], by_lower, most, 0.5)
    return list(dict.fromkeys(by_lower[one] for one in near))


def in_our_words(error: ValidationError) -> InvalidRequest:
    """The first thing that is wrong."""
    first = error.errors(include_url=False)[0]
    where = first["loc"]
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where).lstrip(".")
    if first["type"] == "missing":
        return InvalidRequest(f"{field} is missing.", code="wrong_type", field=field, remedy=f"Give {field}.")
    expected = EXPECTED.get(first["type"], "something else")
    return InvalidRequest(
        f"{field} is {found(first['input'])}; {expected} is needed.",
        code="wrong_type",
        field=field,
        remedy=f"Make {field} {expected}.",
    )


def below(path: str, error: InvalidRequest, index: int | None = None) -> InvalidRequest:
    """The same error, told of a field that lies below `path`."""
    field = f"{path}.{error.field}" if error.field else path
    message, remedy = error.message, error.remedy
    if error.field:
        message = message.replace(error.field, field, 1)
        remedy = remedy.replace(f"{error.field}.", f"{field}.", 1) if remedy and "Known here" not in remedy else remedy
    return InvalidRequest(message, code=error.code, field=field, index=index, remedy=remedy)


def found(value: Any) -> str:
    """What somebody wrote, as JSON has it and in few characters."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return f"the text {json.dumps(printable(value, LONGEST_FOUND), ensure_ascii=False)}"
        case int() | float():
            return f"the number {value:.6g}" if abs(value) < 1e300 else "a very large number"
        case Mapping():
            return "an object"
        case list() | tuple():
            return "a list"
        case _:
            return f"a {type(cast('object', value)).__name__}"
