"""ComfyUI workflows with placeholders: `{{name}}` for an input, `{{name|20}}` for an input that may be missing.

A workflow is the JSON that ComfyUI's menu "Export (API)" writes, stored in the model's row. Values are put into the
parsed workflow and never into its text, so that a prompt stays a prompt whatever it contains.
"""

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, cast

LONGEST_PREFIX = 200
"""Of a file name before the mark; file systems allow 255."""
_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*(?:\|([^{}]*))?\}\}")


class MissingInput(Exception):
    """The workflow needs an input that the request lacks and that has no default."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@cache
def _text_to_image() -> str:
    return files("batchgen.providers").joinpath("text_to_image.json").read_text(encoding="utf-8")


def default_workflow() -> Mapping[str, Any]:
    """Text to image with one checkpoint file, for models without a workflow of their own."""
    return json.loads(_text_to_image())


def is_workflow(value: object) -> bool:
    """Whether it has the form that the API accepts: nodes by id, each with its class and inputs."""
    if not isinstance(value, Mapping) or not value:
        return False
    nodes = cast("Mapping[str, Any]", value).values()
    return all(isinstance(node, Mapping) and "class_type" in node for node in nodes)


def saving_nodes(workflow: Mapping[str, Any]) -> list[str]:
    """The ids of the nodes that save something, judging by their names and inputs."""
    return [
        node_id
        for node_id, node in workflow.items()
        if "save" in str(node.get("class_type")).lower() or "filename_prefix" in _inputs_of(node)
    ]


def last_nodes(workflow: Mapping[str, Any]) -> list[str]:
    """The ids of the nodes whose results no other node uses: the outputs of the workflow."""
    taken = {str(value[0]) for node in workflow.values() for value in _inputs_of(node).values() if _is_link(value)}
    return [node_id for node_id in workflow if node_id not in taken]


def class_names(workflow: Mapping[str, Any], node_ids: Iterable[str]) -> list[str]:
    """The classes of these nodes, each once."""
    return list(dict.fromkeys(str(workflow[node_id].get("class_type")) for node_id in node_ids))


def marked(workflow: Mapping[str, Any], mark: str, *, also_unnamed: bool = False) -> Mapping[str, Any]:
    """A copy that makes the same picture and that the server does not answer from its cache.

    The mark is appended to each `filename_prefix`, so that the pictures get files of their own. `also_unnamed`: nodes
    without a prefix get an unknown input, which ComfyUI compares with its cache and does not pass to them.
    """
    nodes = dict(workflow)
    named = {node_id: _inputs_of(node)["filename_prefix"] for node_id, node in workflow.items() if _has_prefix(node)}
    for node_id, prefix in named.items():
        nodes[node_id] = _with_input(nodes[node_id], "filename_prefix", f"{prefix}_{mark}")
    if also_unnamed:
        for node_id in {*last_nodes(workflow), *saving_nodes(workflow)}.difference(named):
            nodes[node_id] = _with_input(nodes[node_id], "batchgen_order", mark)
    return nodes


def _has_prefix(node: Mapping[str, Any]) -> bool:
    """Whether the node has a file name prefix with room for a mark."""
    prefix = _inputs_of(node).get("filename_prefix")
    return isinstance(prefix, str) and len(prefix.replace("\\", "/").rpartition("/")[2]) <= LONGEST_PREFIX


def _with_input(node: Mapping[str, Any], name: str, value: str) -> Mapping[str, Any]:
    return {**node, "inputs": {**_inputs_of(node), name: value}}


def _inputs_of(node: Mapping[str, Any]) -> Mapping[str, Any]:
    inputs = node.get("inputs")
    return cast("Mapping[str, Any]", inputs) if isinstance(inputs, Mapping) else {}


def _is_link(value: object) -> bool:
    """Whether an input is another node's result: `[node id, number of the result]`."""
    return isinstance(value, list) and len(cast("list[Any]", value)) == 2


def filled(value: Any, inputs: Mapping[str, Any]) -> Any:
    """A copy of the workflow, or of a part of it, with its placeholders filled. Raises `MissingInput`.

    A text that is one placeholder becomes the input with its own type; in a longer text the input is written out.
    """
    if isinstance(value, str):
        return _filled_text(value, inputs)
    if isinstance(value, Mapping):
        return {name: filled(part, inputs) for name, part in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list):
        return [filled(part, inputs) for part in cast("list[Any]", value)]
    return value


def _filled_text(value: str, inputs: Mapping[str, Any]) -> Any:
    if wplaceholder := _PLACEHOLDER.fullmatch(value):
        return _input(wplaceholder, inputs)
    return _PLACEHOLDER.sub(lambda placeholder: str(_input(placeholder, inputs)), value)


def _input(placeholder: re.Match[str], inputs: Mapping[str, Any]) -> Any:
    name, default = placeholder[1], placeholder[2]
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
