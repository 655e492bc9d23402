"""Decide from the prompt what the picture shows."""

import random
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from batchgen.providers.base import ImageRequest
from batchgen.providers.offline.drawing.colours import RGB
from batchgen.providers.offline.drawing.vocabulary import (
    COLOURS,
    EXTRAS,
    PLACES,
    STYLES,
    SUBJECTS,
    TIMES,
    WEATHER,
    means,
)

_READ_AT_MOST = 4000
_FOLD = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})
_SIGNS = {
    "🦊": "fox",
    "🐱": "cat",
    "🐈": "cat",
    "🐶": "dog",
    "🐕": "dog",
    "🐻": "bear",
    "🐰": "rabbit",
    "🦁": "lion",
    "🦉": "owl",
    "🐦": "bird",
    "🐟": "fish",
    "🐳": "whale",
    "🐋": "whale",
    "🐴": "horse",
    "🦌": "deer",
    "🤖": "robot",
    "🏠": "house",
    "🏰": "castle",
    "⛵": "boat",
    "🎈": "balloon",
    "🚀": "rocket",
    "🌲": "forest",
    "🌊": "sea",
    "🏔": "mountains",
    "🌙": "moon",
    "⭐": "star",
    "🌸": "flower",
    "🌻": "sunflower",
    "山": "mountain",
    "海": "sea",
    "森": "forest",
    "雪": "snow",
    "花": "flower",
    "猫": "cat",
    "犬": "dog",
    "月": "moon",
    "星": "star",
    "夜": "night",
    "城": "castle",
    "船": "boat",
    "馬": "horse",
    "魚": "fish",
}
_HOMES = {
    "fox": "forest", "wolf": "forest", "bear": "forest", "deer": "forest", "owl": "forest", "rabbit": "field",
    "lion": "field", "horse": "field", "dog": "field", "cat": "field", "fish": "underwater", "whale": "sea",
    "boat": "sea", "lighthouse": "sea", "castle": "mountains", "house": "mountains", "balloon": "mountains",
    "rocket": "space", "bird": "mountains", "astronaut": "space",
}  # fmt: skip
_FACES = frozenset({"robot", "face", "astronaut"})


@dataclass(frozen=True, slots=True)
class Plan:
    """The contents of the picture."""

    key: str
    """Seeds every random choice in the picture."""
    time: str
    weather: str
    places: tuple[str, ...]
    extras: frozenset[str]
    subjects: tuple[str, ...]
    styles: frozenset[str]
    tint: RGB | None
    """The colour of the whole picture, if the prompt names one."""
    paints: Mapping[str, RGB]
    """Colours of single things or places, by name."""
    portrait: bool
    many: bool
    detail: float
    """1 is usual; more steps give more."""
    vividness: float

    @property
    def abstract(self) -> bool:
        return not self.places and not self.subjects

    def rng(self, topic: str) -> random.Random:
        """A random generator for one topic, so that a change to one thing does not move the others."""
        return random.Random(int.from_bytes(sha256(f"{self.key}/{topic}".encode()).digest()[:8], "big"))  # noqa: S311


@dataclass(frozen=True, slots=True)
class _Word:
    raw: str
    folded: str


def make_plan(request: ImageRequest, prompt: str) -> Plan:
    """Read the prompt's words; prompt and seed decide the rest."""
    words = _words(prompt)
    unwanted = {word.folded for word in _words(request.negative_prompt or "")}
    words = [word for word in words if word.folded not in unwanted]
    key = _key(request, prompt)
    subjects = _found(SUBJECTS, words)
    styles = frozenset(_found(STYLES, words))
    portrait = any(word.folded.startswith(("portrait", "portraet", "close-up", "closeup")) for word in words)
    if len(subjects) > 1 and "face" in subjects and portrait:
        subjects = tuple(name for name in subjects if name != "face")
    places = _places(words, subjects, frozenset(_found(EXTRAS, words)), portrait)
    tint, paints = _colours(words)
    if "abstract" in styles:
        subjects, places = (), ()
    weather = next(iter(_found(WEATHER, words)), "clear")
    return Plan(
        key=key,
        time=_time(words, places, weather, key),
        weather=weather,
        places=places,
        extras=frozenset(_found(EXTRAS, words)),
        subjects=subjects[:2],
        styles=styles,
        tint=tint,
        paints=paints,
        portrait=portrait or bool(_FACES.intersection(subjects[:1])),
        many=_many(words, subjects),
        detail=min(1.6, max(0.4, (request.steps or 30) / 30)) * (0.6 if "minimal" in styles else 1.0),
        vividness=_vividness(request.guidance_scale, styles),
    )


def _key(request: ImageRequest, prompt: str) -> str:
    text = "\0".join((prompt, request.negative_prompt or "", request.model or "", str(request.seed)))
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _words(text: str) -> list[_Word]:
    text = unicodedata.normalize("NFC", text[:_READ_AT_MOST])
    for sign, word in _SIGNS.items():
        if sign in text:
            text = text.replace(sign, f" {word} ")
    return [_Word(raw, raw.lower().translate(_FOLD)) for raw in re.findall(r"\w+(?:-\w+)*", text)]


def _found(meanings: Mapping[str, str], words: list[_Word]) -> tuple[str, ...]:
    """The names whose words occur, in the prompt's order."""
    found: list[str] = []
    for word in words:
        for part in _parts(word):
            found += [name for name, stems in meanings.items() if means(stems, part.raw, part.folded)]
    return tuple(dict.fromkeys(found))


def _parts(word: _Word) -> list[_Word]:
    if "-" not in word.raw:
        return [word]
    pairs = zip(word.raw.split("-"), word.folded.split("-"), strict=True)
    return [word, *(_Word(raw, folded) for raw, folded in pairs)]


def _places(words: list[_Word], subjects: tuple[str, ...], extras: frozenset[str], portrait: bool) -> tuple[str, ...]:
    places = list(_found(PLACES, words))
    if not places and not portrait:
        places += [_HOMES[name] for name in subjects[:1] if name in _HOMES]
    if not places and not subjects:
        if extras & {"flowers", "tree"}:
            places = ["field"]
        elif extras or _found(TIMES, words) or _found(WEATHER, words):
            places = ["mountains", "forest"]
    return tuple(places)


def _time(words: list[_Word], places: tuple[str, ...], weather: str, key: str) -> str:
    named = _found(TIMES, words)
    if named:
        return "night" if "night" in named else named[0]
    if "space" in places:
        return "night"
    if weather in ("storm", "rain"):
        return "day"
    choices = ("sunset", "night", "dawn") if "city" in places else ("day", "dawn", "sunset", "day")
    return choices[int(key[:4], 16) % len(choices)]


def _colours(words: list[_Word]) -> tuple[RGB | None, dict[str, RGB]]:
    """A colour before a thing belongs to the thing; a colour on its own to the whole picture."""
    tint: RGB | None = None
    paints: dict[str, RGB] = {}
    for i, word in enumerate(words):
        colour = next((rgb for stem, rgb in COLOURS.items() if means(stem, word.raw, word.folded)), None)
        if colour is None:
            continue
        things = _found({**SUBJECTS, **PLACES, **EXTRAS}, words[i + 1 : i + 3])
        for thing in things:
            paints.setdefault(thing, colour)
        if not things and not (i + 1 < len(words) and words[i + 1].folded in ("hour", "stunde")):
            tint = tint or colour
    return tint, paints


def _many(words: list[_Word], subjects: tuple[str, ...]) -> bool:
    if not subjects:
        return False
    folded = {word.folded for word in words}
    plurals = {
        "balloons",
        "ballons",
        "ballone",
        "heissluftballons",
        "boats",
        "ships",
        "boote",
        "schiffe",
        "birds",
        "voegel",
        "foxes",
        "fuechse",
        "wolves",
        "cats",
        "katzen",
        "dogs",
        "hunde",
        "bears",
        "baeren",
        "rabbits",
        "lions",
        "loewen",
        "horses",
        "pferde",
        "kittens",
        "puppies",
        "two",
        "three",
        "zwei",
        "drei",
        "fishes",
        "fische",
        "whales",
        "rockets",
        "houses",
        "haeuser",
        "village",
        "dorf",
        "koi",
    }
    return bool(plurals & folded) or bool({"many", "viele", "fleet", "flock", "school"} & folded)


def _vividness(guidance: float | None, styles: frozenset[str]) -> float:
    base = 1.0 if guidance is None else min(1.35, max(0.7, 0.85 + guidance * 0.02))
    if "vivid" in styles:
        base *= 1.15
    return base * (0.7 if "pastel" in styles else 1.0)
