"""Choices in prompts as docs/requests.md describes them: a small model to compare the SQL with.

Reads character by character and makes every combination, so it is only for prompts with few of them.
"""

import hashlib
import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NoReturn

ESCAPABLE = "{}|\\$:~!@"
BLANKS = " \t\r\n"
NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)"
COUNT = re.compile(rf"[{BLANKS}]*([0-9]*)[{BLANKS}]*(-?)[{BLANKS}]*([0-9]*)[{BLANKS}]*\$\$")
JOINER = re.compile(r"((?:[^${}\\]|\\.)*)\$\$", re.DOTALL)
WEIGHT = re.compile(rf"[{BLANKS}]*({NUMBER})[{BLANKS}]*::")
ALL = 1000


class Malformed(Exception):
    """The prompt is refused; `args` are the code of the refusal and the character, from 1."""


@dataclass
class Option:
    weight: Decimal
    parts: "Parts"


@dataclass
class Choice:
    low: int
    high: int
    joiner: str
    place: int
    options: list[Option] = field(default_factory=list[Option])


Parts = list[str | Choice]


class _Reader:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.choices = self.options = 0

    def fail(self, at: int | None = None, code: str = "choices_syntax") -> NoReturn:
        raise Malformed(code, (self.at if at is None else at) + 1)

    def parts(self, depth: int) -> Parts:
        """Up to the end of the option, or of the prompt at depth 0."""
        parts: Parts = []
        while self.at < len(self.text):
            char, following = self.text[self.at], self.text[self.at + 1 : self.at + 2]
            if char == "\\" and following and following in ESCAPABLE:
                parts.append(following)
                self.at += 2
            elif char in "$%" and following == "{":
                self.fail()
            elif char == "{":
                parts.append(self.choice(depth + 1))
            elif char == "}" and not depth:
                self.fail()
            elif char in "|}" and depth:
                break
            else:
                parts.append(char)
                self.at += 1
        return parts

    def choice(self, depth: int) -> Choice:
        start = self.at
        self.at += 1
        self.skip_blanks()
        if self.text[self.at : self.at + 1] in tuple("~!@"):
            self.fail(start)
        choice = self.head(start)
        self.choices += 1
        while True:
            place = start if self.text[self.at - 1 : self.at] != "|" or not choice.options else self.at - 1
            weight = self.weight(place)
            self.options += 1
            if depth > 10 or self.choices > 100 or self.options > 1000:
                self.fail(place, "too_many_choices")
            self.skip_blanks()
            choice.options.append(Option(weight, self.parts(depth)))
            if self.at == len(self.text):
                self.fail(start)
            self.at += 1
            if self.text[self.at - 1] == "}":
                return choice

    def head(self, start: int) -> Choice:
        match = COUNT.match(self.text, self.at)
        if not match:
            return Choice(1, 1, ",", start + 1)
        first, dash, last = match.groups()
        if not (first or last) or (last and not dash):
            self.fail(start)
        low = int(first or 1)
        high = int(last or ALL) if dash else low
        low, high = sorted((min(low, ALL), min(high, ALL)))
        self.at = match.end()
        joiner = ","
        if given := JOINER.match(self.text, self.at):
            joiner = re.sub(r"\\([{}|\\$:~!@])", r"\1", given[1])
            self.at = given.end()
        return Choice(low, high, joiner, start + 1)

    def weight(self, place: int) -> Decimal:
        match = WEIGHT.match(self.text, self.at)
        if not match:
            return Decimal(1)
        weight = Decimal(match[1])
        if weight and not Decimal("0.000001") <= weight <= 1000000:
            self.fail(place)
        self.at = match.end()
        return weight

    def skip_blanks(self) -> None:
        while self.text[self.at : self.at + 1] and self.text[self.at] in BLANKS:
            self.at += 1


def parse(text: str) -> Parts:
    reader = _Reader(text)
    return _tidy(reader.parts(0))


def _tidy(parts: Parts) -> Parts:
    """Equal options merged, those of weight 0 left out, counts lowered to the number of options."""
    tidy: Parts = []
    for part in parts:
        if isinstance(part, str):
            if tidy and isinstance(tidy[-1], str):
                tidy[-1] += part
            else:
                tidy.append(part)
            continue
        options: list[Option] = []
        for option in part.options:
            parts_of = _tidy(option.parts)
            same = next((known for known in options if known.parts == parts_of), None)
            if same:
                same.weight += option.weight
            else:
                options.append(Option(option.weight, parts_of))
        options = [option for option in options if option.weight]
        if not options:
            raise Malformed("choices_syntax", part.place)
        high = min(part.high, len(options))
        if high > 50:
            raise Malformed("too_many_choices", part.place)
        tidy.append(Choice(min(part.low, high), high, part.joiner, 0, options))
    return tidy


def combinations(parts: Parts) -> Iterator[str]:
    """Every combination, also equal ones, in order."""
    of_parts = [[part] if isinstance(part, str) else list(selections(part)) for part in parts]
    return ("".join(texts) for texts in itertools.product(*of_parts))


def selections(choice: Choice) -> Iterator[str]:
    for picks in range(choice.low, choice.high + 1):
        for picked in itertools.permutations(choice.options, picks):
            for texts in itertools.product(*(list(combinations(option.parts)) for option in picked)):
                yield choice.joiner.join(text for text in texts if text)


def number(parts: Parts) -> int:
    """How many combinations there are, computed without making them."""
    return math.prod(_number_of(part) for part in parts if isinstance(part, Choice))


def _number_of(choice: Choice) -> int:
    ways = [1] + [0] * choice.high
    for count in (number(option.parts) for option in choice.options):
        for picks in range(choice.high, 0, -1):
            ways[picks] += ways[picks - 1] * count
    return sum(math.factorial(picks) * ways[picks] for picks in range(choice.low, choice.high + 1))


def chance(key: str) -> float:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6]) / 2**48


def draw(parts: Parts, key: str, *, by_weight: bool = True) -> str:
    return "".join(
        part if isinstance(part, str) else _draw_of(part, f"{key}.{nth}", by_weight)
        for nth, part in enumerate(parts, 1)
    )


def _draw_of(choice: Choice, key: str, by_weight: bool) -> str:
    picks = choice.low + math.floor(chance(key) * (choice.high - choice.low + 1))

    def turn(nth: int) -> float:
        option = choice.options[nth - 1]
        weight = float(option.weight) if by_weight else float(min(number(option.parts), 10**15))
        return -math.log(1 - chance(f"{key}.{nth}")) / weight

    order = sorted(range(1, len(choice.options) + 1), key=turn)[:picks]
    texts = [draw(choice.options[nth - 1].parts, f"{key}.{nth}", by_weight=by_weight) for nth in order]
    return choice.joiner.join(text for text in texts if text)


def sample(parts: Parts, count: int, key: str) -> list[str]:
    total = number(parts)
    tries = 0
    texts: list[str] = []
    while len(texts) < count and tries < 4 * count + 20:
        tries += 1
        text = draw(parts, f"{key}/{tries}", by_weight=tries <= 2 * count + 10 or total < count)
        if total < count or text not in texts:
            texts.append(text)
    if len(texts) < count and total <= 200:
        left = [text for text in dict.fromkeys(combinations(parts)) if text not in texts]
        texts += sorted(left, key=lambda text: chance(f"{key}/{text}"))[: count - len(texts)]
    while len(texts) < count:
        tries += 1
        texts.append(draw(parts, f"{key}/{tries}"))
    return texts
