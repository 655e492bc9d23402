"""Names of model files, as operators write them and as servers list them."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

MOST_NAMES = 2000
"""Names of a server's list that are compared."""
LONGEST_NAME = 300
NEAR = 3
_EXTENSIONS = (".safetensors", ".ckpt", ".pt", ".pth", ".gguf", ".sft", ".bin")


def plain(name: str) -> str:
    """The name without what differs between systems: slashes, case, extension, ` [hash]` at its end."""
    short = name.strip().replace("\\", "/").casefold()
    if short.endswith("]") and " [" in short:
        short = short[: short.rindex(" [")]
    for extension in _EXTENSIONS:
        short = short.removesuffix(extension)
    return short.strip("/")


def same_name(wanted: str, names: Iterable[str]) -> str | None:
    """The one of `names` that means the same file; None if there is none or more than one."""
    known = list(dict.fromkeys(names))
    if wanted in known:
        return wanted
    for shorten in (plain,) if "/" in plain(wanted) else (plain, _file):  # another folder is another file
        same = [name for name in known if shorten(name) == shorten(wanted)]
        if same:
            return same[0] if len({plain(name) for name in same}) == 1 else None
    return None


def near_names(wanted: str, names: Iterable[str]) -> Sequence[str]:
    """A few similar `names`."""
    known = [name for name in list(names)[:MOST_NAMES] if len(name) <= LONGEST_NAME]
    by_form = {form(name): name for name in known for form in (_file, plain)}
    found = [get_close_matches(form(wanted)[:LONGEST_NAME], by_form, NEAR, 0.5) for form in (plain, _file)]
    return list(dict.fromkeys(by_form[near] for close in found for near in close))[:NEAR]


def or_near(wanted: str, names: Iterable[str]) -> str:
    """The end of a sentence that helps to correct the name."""
    known = list(names)
    near = near_names(wanted, known)
    if near:
        return f"near names: {', '.join(near)}"
    return f"it has {', '.join(known[:NEAR])}{' and others' if len(known) > NEAR else ''}" if known else "it has none"


def _file(name: str) -> str:
    return plain(name).rpartition("/")[2]
