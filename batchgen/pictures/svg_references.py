"""How much a drawing draws: shapes that are drawn again by reference count as often as they are drawn.

A pattern, marker, mask, clip path or `use` draws what it refers to, and that may refer to more: a few kilobytes can
draw 10¹² shapes. The sums below are taken over ranges of the document, so that each reference is looked at once for
each of the identified elements around it, of which there are at most as many as the drawing is deep.
"""

from bisect import bisect_left
from collections.abc import Collection, Generator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

INHERITED = frozenset({"fill", "stroke", "marker", "marker-start", "marker-mid", "marker-end"})
"""Properties that an element gives to all shapes in it; those that begin with `marker` draw once for each point."""
LONGEST_CHAIN = 32


class Multiplies(Exception):
    """The drawing draws too much, or refers to itself."""


@dataclass(slots=True)
class Part:
    """An element: what is in it, and what it refers to."""

    is_shape: bool
    points: int = 0
    """How many points its outline has, at most."""
    end: int = 0
    """Where the elements end that are in it."""
    names: frozenset[str] = frozenset()
    """Its element's name, `.class` and `#id`: what rules of a style sheet may be for."""
    references: list[tuple[str, str]] = field(default_factory=list["tuple[str, str]"])
    """Property (or `href`) and the id that it refers to."""


def bounded(
    parts: list[Part], ids: Mapping[str, int], rules: Mapping[str, Collection[tuple[str, str]]], most: int
) -> None:
    """Raises `Multiplies` where more than `most` shapes are drawn, or a chain of references has no end.

    `ids` are places in `parts`; `rules` are the references of a style sheet by name, `*` being for all elements.
    """
    shapes = [0, *accumulate(part.is_shape for part in parts)]
    points = [0, *accumulate(part.points for part in parts)]
    sources, targets, times = list[int](), list[int](), list[int]()
    for place, property_, id_ in _references(parts, rules):
        if id_ not in ids:
            continue
        end = parts[place].end
        counted = points if property_.startswith("marker") else shapes
        sources.append(place)
        targets.append(ids[id_])
        times.append(max(1, counted[end] - counted[place]) if property_ in INHERITED else 1)
        if len(sources) > most:
            raise Multiplies
    known: dict[int, int] = {}

    def drawn(start: int, chain: tuple[int, ...]) -> int:
        """How many shapes the element at `start` draws, with all in it."""
        if start in known:
            return known[start]
        if start in chain or len(chain) > LONGEST_CHAIN:
            raise Multiplies
        end = parts[start].end
        total = shapes[end] - shapes[start]
        for number in range(bisect_left(sources, start), bisect_left(sources, end)):
            total += times[number] * drawn(targets[number], (*chain, start))
            if total > most:
                raise Multiplies
        known[start] = total
        return total

    drawn(0, ())


def _references(parts: list[Part], rules: Mapping[str, Collection[tuple[str, str]]]) -> Generator[tuple[int, str, str]]:
    """Place, property and id, in the order of the document."""
    for place, part in enumerate(parts):
        for property_, id_ in part.references:
            yield place, property_, id_
        for name in ("*", *part.names):
            for property_, id_ in rules.get(name, ()):
                yield place, property_, id_
