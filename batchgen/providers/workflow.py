"""A ComfyUI workflow with holes: `{{name}}` stands for an input, `{{name|20}}` for an input that may be missing.

A workflow is what ComfyUI's menu "Export (API)" writes, kept as JSON in the model's row. Values go into the parsed
workflow and never through its text, so that a prompt is a prompt whatever it holds.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, cast

_HOLE = re.compile(r"\{\{\s*(\w+)\s*(?:\|([^{}]*))?\}\}")


class MissingInput(Exception):
    """The workflow needs an input that the request does not have and that has no default."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@cache
def _text_to_image() -> str:
    return files("batchgen.providers").joinpath("text_to_image.json").read_text(encoding="utf-8")


def default_workflow() -> Mapping[str, Any]:
    """Text to image with one checkpoint file, for models that bring no workflow of their own."""
    return json.loads(_text_to_image())


def is_workflow(value: object) -> bool:
    """Whether it has the form that the API takes: nodes by id, each with its class and its inputs."""
    if not isinstance(value, Mapping) or not value:
        return False
    nodes = cast("Mapping[str, Any]", value).values()
    return all(isinstance(node, Mapping) and "class_type" in node for node in nodes)


def filled(value: Any, inputs: Mapping[str, Any]) -> Any:
    """A copy of the workflow, or of a part of it, with its holes filled. Raises `MissingInput`.

    A text that is one hole becomes the input with its own type; within a longer text the input is written out.
    """
    if isinstance(value, str):
        return _filled_text(value, inputs)
    if isinstance(value, Mapping):
        return {name: filled(part, inputs) for name, part in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list):
        return [filled(part, inputs) for part in cast("list[Any]", value)]
    return value


def _filled_text(value: str, inputs: Mapping[str, Any]) -> Any:
    if whole := _HOLE.fullmatch(value):
        return _input(whole, inputs)
    return _HOLE.sub(lambda hole: str(_input(hole, inputs)), value)


def _input(hole: re.Match[str], inputs: Mapping[str, Any]) -> Any:
    name, default = hole[1], hole[2]
    if inputs.get(name) is not None:
        return inputs[name]
    if default is None:
        raise MissingInput(name)
    return _number_or_text(default)


def _number_or_text(default: str) -> Any:
    try:
        value = json.loads(default)
    except ValueError:
        return default
    return value if isinstance(value, int | float) else default
