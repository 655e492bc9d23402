"""Read ComfyUI's answers: finished jobs in its history, and the faults that it finds in a workflow."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from batchgen.order_state import OrderState
from batchgen.providers.http.client import Answer, mapping, sequence, text, whole_number
from batchgen.providers.http.refusals import Refusal

Entry = Mapping[str, Any]
"""A finished job, as the history has it."""

STILL = frozenset({"png", "jpg", "jpeg", "webp", "avif", "gif", "bmp", "tif", "tiff", "svg"})
MOVING = frozenset({"mp4", "webm", "mkv", "mov", "avi", "mp3", "wav", "flac", "ogg", "opus", "m4a", "glb", "obj"})
LONGEST_ID = 200
LONGEST_SECONDS = 10.0**9
MOST_FAULTS = 20
"""Of the faults that a message lists."""

_FILE_INPUT = re.compile(r"_name\d{0,2}")
_NOT_A_FILE = frozenset({"sampler_name", "scheduler_name", "upscale_method_name"})
WORKFLOW_FAULTS = frozenset(
    {
        "required_input_missing",
        "bad_linked_input",
        "return_type_mismatch",
        "exception_during_validation",
        "exception_during_inner_validation",
        "dependency_cycle",
        "missing_node_type",
        "invalid_prompt",
        "prompt_no_outputs",
        "no_prompt",
    }
)
"""Types of faults that no other prompt, seed or size would avoid."""


def job_id_of(value: object) -> str:
    """The server's id if it is usable: it is stored and becomes a part of addresses."""
    found = text(value)
    return found if 0 < len(found) <= LONGEST_ID and found.isascii() and found.isprintable() else ""


def messages_of(entry: Entry) -> Mapping[str, Mapping[str, Any]]:
    """The job's events by name."""
    pairs = [sequence(pair) for pair in sequence(mapping(entry.get("status")).get("messages"))]
    return {text(pair[0]): mapping(pair[1]) for pair in pairs if len(pair) > 1}


def was_cached(entry: Entry) -> bool:
    """Whether the server took nodes of the workflow from its cache."""
    return bool(sequence(messages_of(entry).get("execution_cached", {}).get("nodes")))


def extra_data_of(entry: Entry) -> Mapping[str, Any]:
    prompt = sequence(entry.get("prompt"))
    return mapping(prompt[3]) if len(prompt) > 3 else {}


def workflow_of(entry: Entry) -> Mapping[str, Any]:
    """The workflow that the server ran."""
    prompt = sequence(entry.get("prompt"))
    return mapping(prompt[2]) if len(prompt) > 2 else {}


def picture_in(outputs: Mapping[str, Any], wanted_node: str, *, takes_previews: bool) -> Mapping[str, Any] | None:
    """The first saved still picture, of the wanted node or of any; a preview only if those are accepted."""
    files = [file for file in _files(outputs, wanted_node) if _is_still(file)]
    saved = [file for file in files if text(file.get("type")) in ("", "output")]
    previews = [file for file in files if file.get("type") == "temp"] if takes_previews else []
    return next(iter(saved or previews), None)


def has_moving_pictures(outputs: Mapping[str, Any]) -> bool:
    """Whether a video, a sound or a model was saved."""
    return any(_extension(file) in MOVING for file in _files(outputs, ""))


def address_of(image: Mapping[str, Any]) -> str:
    """The path and query of the file on the server."""
    names = ("filename", "subfolder", "type")
    values = {name: text(image.get(name)).encode("utf-8", "replace") for name in names}
    return "/view?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in values.items())


def _files(outputs: Mapping[str, Any], wanted_node: str) -> Iterator[Mapping[str, Any]]:
    """Each node's pictures first, then what nodes list under other names (`gifs`, `files`, `ui`, …)."""
    nodes = [mapping(outputs.get(wanted_node))] if wanted_node else [mapping(node) for node in outputs.values()]
    for node in nodes:
        lists = {**mapping(node.get("ui")), **node}
        for files in sorted(lists.items(), key=lambda item: item[0] != "images"):
            for file in sequence(files[1]):
                if text(mapping(file).get("filename")):
                    yield {**mapping(file), "key": files[0]}


def _is_still(file: Mapping[str, Any]) -> bool:
    extension = _extension(file)
    return extension in STILL or (file["key"] == "images" and extension not in MOVING)


def _extension(file: Mapping[str, Any]) -> str:
    return text(file.get("filename")).rpartition(".")[2].lower()


def times_of(entry: Entry) -> OrderState:
    """How long the job waited and ran, if the server tells."""
    messages = messages_of(entry)
    created = whole_number(extra_data_of(entry).get("create_time"))
    started = whole_number(messages.get("execution_start", {}).get("timestamp"))
    ends = ("execution_success", "execution_error", "execution_interrupted")
    ended = next((whole_number(messages[name].get("timestamp")) for name in ends if name in messages), None)
    queued, running = _seconds_between(created, started), _seconds_between(started, ended)
    return OrderState(queued_seconds=queued, running_seconds=running)


def _seconds_between(first: int | None, last: int | None) -> float | None:
    """The seconds between two times in milliseconds; None if they are not such times."""
    if first is None or last is None or not 0 <= last - first < LONGEST_SECONDS * 1000:
        return None
    return (last - first) / 1000


def refusal_of(body: Mapping[str, Any]) -> Refusal:
    """The refusal of a workflow, with the details of each node before the general sentence."""
    error = mapping(body.get("error"))
    words: list[str] = []
    for node, fault in faults_in(body):
        details = text(fault.get("details"))[:LONGEST_ID]
        kind = text(node.get("class_type"))[:LONGEST_ID]
        words.append(f"{kind or 'a node'}: {text(fault.get('message'))[:LONGEST_ID]} ({details})")
    general = [text(error.get("message")), text(error.get("details"))]
    message = "; ".join(words[:MOST_FAULTS]) or ". ".join(filter(None, general)) or text(body.get("error"))
    return Refusal(message, codes=frozenset({text(error.get("type"))}))


def faults_in(body: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Each fault of each node, with the node's entry."""
    for node in mapping(body.get("node_errors")).values():
        for fault in sequence(mapping(node).get("errors")):
            yield mapping(node), mapping(fault)


def code_of(body: Mapping[str, Any]) -> str:
    """The error code of a refusal, for the item."""
    types = {text(fault.get("type")) for _, fault in faults_in(body)}
    types.add(text(mapping(body.get("error")).get("type")))
    said = text(body.get("error"))
    if any(missing_file(fault) for _, fault in faults_in(body)) or ("not in list" in said and "_name:" in said):
        return "model_not_found"
    return "workflow_invalid" if types & WORKFLOW_FAULTS or said == "no prompt" else "invalid_input"


def missing_file(fault: Mapping[str, Any]) -> str:
    """The input that names a file which the server lacks; empty if the fault is another."""
    name = text(mapping(fault.get("extra_info")).get("input_name")) or text(fault.get("details")).partition(":")[0]
    is_file = _FILE_INPUT.search(name) is not None and name not in _NOT_A_FILE
    return name if fault.get("type") == "value_not_in_list" and is_file else ""


def names_in(choices: object) -> list[str]:
    """The allowed names of an input in `input_config` or `/object_info`, in either of their forms."""
    parts = sequence(choices)
    first = sequence(parts[0]) if parts else []
    options = sequence(mapping(parts[1]).get("options")) if len(parts) > 1 else []
    return [name for name in (*first, *options) if isinstance(name, str)]


def failed_outputs(body: Mapping[str, Any]) -> frozenset[str]:
    """The nodes that the server leaves out: faulty ones and those that depend on them."""
    errors = mapping(body.get("node_errors"))
    dependents = (node_id for node in errors.values() for node_id in sequence(mapping(node).get("dependent_outputs")))
    return frozenset({*errors, *(node_id for node_id in dependents if isinstance(node_id, str))})


def body_of(answer: Answer) -> Mapping[str, Any]:
    return mapping(answer.as_object())
