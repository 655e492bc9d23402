"""Make requests from arguments, lines of text and JSON."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, cast

from batchgen.errors import InvalidRequest
from batchgen.models import BatchRequest, Prompt

JSON_SHAPE = 'Write ["a fox", …], [{"text": "a fox", "seed": 1}, …] or {"prompts": […], "shared_settings": {…}}.'


def from_lines(text: str) -> BatchRequest:
    """One prompt per line; empty lines are skipped."""
    return BatchRequest(prompts=tuple(Prompt(text=line.strip()) for line in text.splitlines() if line.strip()))


def from_texts(texts: Sequence[str]) -> BatchRequest:
    return BatchRequest(prompts=tuple(Prompt(text=text) for text in texts))


def from_json(text: str) -> BatchRequest:
    """A list of prompts (texts or objects), or a whole request as for `create_batch`.

    Raises `InvalidRequest` for anything else, including unknown keys, which may be misspelt.
    """
    try:
        content: Any = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"The input is not JSON: {_why(error)}.", code="invalid_json", remedy=JSON_SHAPE) from None
    return _request(cast("dict[str, Any]", content) if isinstance(content, dict) else {"prompts": content})


def with_options(
    request: BatchRequest,
    *,
    shared: Mapping[str, Any],
    name: str | None,
    client_key: str | None,
    negative_prompt: str | None,
    seed: int | None,
    tags: Sequence[str],
) -> BatchRequest:
    """The request with the options applied: they override its shared settings and fill gaps in its prompts.

    `seed` is the first prompt's; each further prompt gets the next number.
    """

    def filled(index: int, prompt: Prompt) -> Prompt:
        own_seed = prompt.seed if prompt.seed is not None or seed is None else seed + index
        return prompt.model_copy(
            update={
                "negative_prompt": prompt.negative_prompt or negative_prompt,
                "seed": own_seed,
                "tags": (*prompt.tags, *tags),
            }
        )

    return BatchRequest(
        prompts=tuple(filled(index, prompt) for index, prompt in enumerate(request.prompts)),
        shared_settings=request.shared_settings.model_copy(
            update={key: value for key, value in shared.items() if value is not None}
        ),
        batch_name=name or request.batch_name,
        client_key=client_key or request.client_key,
    )


def _request(content: dict[str, Any]) -> BatchRequest:
    prompts = content.get("prompts")
    if not isinstance(prompts, list):
        raise InvalidRequest("The input has no list of prompts.", code="wrong_type", field="prompts", remedy=JSON_SHAPE)
    items = [{"text": item} if isinstance(item, str) else item for item in cast("list[Any]", prompts)]
    present = {key: value for key, value in content.items() if value is not None}
    return BatchRequest.model_validate({**present, "prompts": items})


def _why(error: Exception) -> str:
    match error:
        case json.JSONDecodeError():
            return f"line {error.lineno}, column {error.colno}: {error.msg[:1].lower()}{error.msg[1:]}"
        case RecursionError():
            return "it is nested too deeply"
        case _NoNumber():
            return str(error)
        case _:
            return "a number has too many digits"


class _NoNumber(ValueError):
    pass


def _no_constant(name: str) -> NoReturn:
    raise _NoNumber(f"{name} is not a JSON number")
