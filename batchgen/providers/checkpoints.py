"""The checkpoints of an AUTOMATIC1111-like server, and the one that made a picture."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchgen.providers.http.client import mapping, sequence, text
from batchgen.providers.model_file_names import plain, same_name

MOST_CHECKPOINTS = 20_000
LONGEST_INFO = 4_000
SHORTEST_HASH = 6


@dataclass(frozen=True, slots=True)
class Checkpoint:
    title: str
    names: Sequence[str]
    """The names by which the server finds it (`CheckpointInfo.ids`), as far as it lists them."""
    hashes: Sequence[str]

    def has_made(self, name: str, short_hash: str) -> bool:
        """Whether a picture's name and hash fit this checkpoint; a value that the server does not give fits any."""
        if len(short_hash) >= SHORTEST_HASH and self.hashes:
            return any(known.startswith(short_hash) or short_hash.startswith(known) for known in self.hashes)
        return not name or _in_infotext(name) in {_in_infotext(known) for known in self.names}


@dataclass(frozen=True, slots=True)
class Made:
    """The checkpoint that made a picture, according to the server."""

    name: str
    short_hash: str

    def __str__(self) -> str:
        return " ".join(filter(None, (self.name, f"[{self.short_hash}]" if self.short_hash else "")))


def checkpoints_in(listed: Sequence[Any]) -> list[Checkpoint]:
    """From `/sdapi/v1/sd-models`."""
    return [_checkpoint(mapping(item)) for item in listed[:MOST_CHECKPOINTS]]


def named(wanted: str, checkpoints: Iterable[Checkpoint]) -> list[Checkpoint]:
    """The checkpoints with this name, or else the one whose name differs only in spelling."""
    known = list(checkpoints)
    exact = [checkpoint for checkpoint in known if wanted in (*checkpoint.names, *checkpoint.hashes)]
    if exact:
        return exact
    found = same_name(wanted, (name for checkpoint in known for name in checkpoint.names))
    alike = [checkpoint for checkpoint in known if found in checkpoint.names]
    return [checkpoint for checkpoint in alike if _may_have(checkpoint, _hash_in(wanted))][:1]


def made_with(info: Mapping[str, Any]) -> Made:
    """The checkpoint in the answer's fields, or else in its text for the picture's metadata."""
    name, short_hash = text(info.get("sd_model_name")), text(info.get("sd_model_hash"))
    if not name and not short_hash:
        last_line = text(next(iter(sequence(info.get("infotexts"))), ""))[-LONGEST_INFO:].rpartition("\n")[2]
        fields = [part.strip().partition(": ") for part in last_line.split(",")]
        said = {key: value for key, _, value in fields}
        name, short_hash = said.get("Model", ""), said.get("Model hash", "")
    return Made(name.strip()[:LONGEST_INFO], short_hash.strip().lower()[:64])


def _checkpoint(item: Mapping[str, Any]) -> Checkpoint:
    title = text(item.get("title"))
    hashes = (text(item.get("hash")).lower(), text(item.get("sha256")).lower())
    return Checkpoint(title, list(_names(item, title)), [known for known in hashes if len(known) >= SHORTEST_HASH])


def _names(item: Mapping[str, Any], title: str) -> Iterator[str]:
    file = text(item.get("filename")).replace("\\", "/").rpartition("/")[2]
    names = (title, title.rpartition(" [")[0], text(item.get("model_name")), text(item.get("name")), file)
    yield from filter(None, (*names, file.rpartition(".")[0]))


def _hash_in(title: str) -> str:
    return title.rpartition(" [")[2].removesuffix("]").lower() if title.endswith("]") and " [" in title else ""


def _may_have(checkpoint: Checkpoint, wanted: str) -> bool:
    """Whether the checkpoint may have this hash; a short hash is of another kind and rules nothing out."""
    known = [each[: len(wanted)] for each in checkpoint.hashes]
    return len(wanted) < 10 or not known or wanted in known


def _in_infotext(name: str) -> str:
    """The name as metadata spells it, without commas and colons."""
    return plain(name.replace(",", "").replace(":", ""))
