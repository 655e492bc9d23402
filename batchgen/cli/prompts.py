"""Make requests from arguments, lines of text and JSON."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, cast

from batchgen.errors import InvalidRequest
from batchgen.models import BatchRequest, Choices, Prompt, Variations
from batchgen.text import printable

MOST_SEEDS = 1000
"""More variations than any batch has; the database refuses them."""
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
    content = _parsed(text)
    return _request(cast("dict[str, Any]", content) if isinstance(content, dict) else {"prompts": content})


def template_from_json(text: str) -> dict[str, Any]:
    """The request of a template: a list of prompts, or a whole request, in which numbers may be placeholders."""
    content = _parsed(text)
    request = cast("dict[str, Any]", content) if isinstance(content, dict) else {"prompts": content}
    if isinstance(request.get("prompts"), list):
        request["prompts"] = [{"text": one} if isinstance(one, str) else one for one in request["prompts"]]
    return request


def with_options(
    request: BatchRequest,
    *,
    shared: Mapping[str, Any],
    name: str | None,
    client_key: str | None,
    negative_prompt: str | None,
    seed: int | None,
    tags: Sequence[str],
    choices: Choices | None = None,
    variations: Variations | None = None,
) -> BatchRequest:
    """The request with the options applied: they override its shared settings and fill gaps in its prompts.

    `seed` is the first prompt's, or the first variation's; each further one gets the next number.
    """
    variations = variations or request.variations
    if seed is not None and variations and variations.count is not None and variations.count <= MOST_SEEDS:
        variations = Variations(seeds=tuple(range(seed, seed + variations.count)))
        seed = None

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
        choices=choices or request.choices,
        variations=variations,
        template=request.template,
        client_key=client_key or request.client_key,
    )


def choices_from(option: str | None, seed: int | None) -> Choices | None:
    """The choices of `--choices all` or `--choices sample:4`, with the seed of `--choices-seed`."""
    if option is None:
        return None
    mode, colon, count = option.partition(":")
    if mode not in ("all", "sample") or (colon and not (mode == "sample" and count.isascii() and count.isdigit())):
        raise InvalidRequest(
            f"--choices {printable(option, 40)} is neither all nor sample:N.",
            code="unknown_mode",
            field="choices",
            remedy="Write --choices all for every combination, or --choices sample:4 for four of them.",
        )
    return Choices(mode=mode, count=int(count) if colon else None, seed=seed)


def variations_from(count: int | None, seeds: str | None) -> Variations | None:
    """The variations of `--variations 4` or `--seeds 7,0,12`."""
    if seeds is None:
        return Variations(count=count) if count is not None else None
    try:
        return Variations(count=count, seeds=tuple(int(seed) for seed in seeds.split(",")))
    except ValueError:
        raise InvalidRequest(
            f"--seeds {printable(seeds, 40)} is not a list of whole numbers.",
            code="wrong_type",
            field="variations.seeds",
            remedy="Write --seeds 7,0,12.",
        ) from None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"The input is not JSON: {_why(error)}.", code="invalid_json", remedy=JSON_SHAPE) from None


def _request(content: dict[str, Any]) -> BatchRequest:
    if content.get("template") is not None and content.get("prompts") is None:
        return BatchRequest.model_validate({key: value for key, value in content.items() if value is not None})
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
