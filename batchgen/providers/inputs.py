"""Translate a request into a model's own inputs, whose names, ranges and choices are data (docs/models.md)."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from batchgen.errors import InvalidRequest

Name = Annotated[str, Field(min_length=1, max_length=100)]
Side = Annotated[int, Field(ge=1, le=65_536)]
Pixels = Annotated[int, Field(ge=1, le=65_536**2)]

PartT = TypeVar("PartT", bound="_Part")
_RATIO = re.compile(r"(\d{1,5}(?:\.\d{1,5})?):(\d{1,5}(?:\.\d{1,5})?)")
_SIZE = re.compile(r"(\d{1,5})[x*](\d{1,5})")
_KINDS = frozenset({"width_height", "object", "aspect_ratio", "choices"})


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class SeedInput(_Part):
    """A seed, folded into the model's range; 0 stays 0 if the range starts there."""

    name: Name
    min: Annotated[int, Field(ge=0)] = 0
    max: Annotated[int, Field(ge=1, le=2**63 - 1)] = 2**31 - 1

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        return _upwards(self, self.min, self.max)

    def fold(self, seed: int) -> int:
        return self.min + seed % (self.max - self.min + 1)


class StepsInput(_Part):
    """A whole number within a range, or a fixed one."""

    name: Name
    fixed: int | None = None
    min: int | None = None
    max: int | None = None

    @model_validator(mode="after")
    def _is_fixed_or_a_range(self) -> Self:
        return _fixed_or_range(self, self.fixed, self.min, self.max)


class GuidanceInput(_Part):
    """A number within a range, or a fixed one."""

    name: Name
    fixed: float | None = None
    min: float | None = None
    max: float | None = None

    @field_validator("fixed", "min", "max")
    @classmethod
    def _is_finite(cls, value: float | None) -> float | None:
        if value is not None and not math.isfinite(value):
            raise ValueError("must be a finite number")
        return value

    @model_validator(mode="after")
    def _is_fixed_or_a_range(self) -> Self:
        return _fixed_or_range(self, self.fixed, self.min, self.max)


class _FreeSize(_Part):
    """Any size within bounds: `min` and `max` for each side, `min_pixels` and `max_pixels` for the area."""

    multiple_of: Annotated[int, Field(ge=1, le=1024)] = 1
    min: Side = 1
    max: Side = 16_384
    min_pixels: Pixels | None = None
    max_pixels: Pixels | None = None

    @model_validator(mode="after")
    def _can_be_kept(self) -> Self:
        if self.shortest > self.longest:
            raise ValueError(f"no multiple of {self.multiple_of} lies between min {self.min} and max {self.max}")
        if (self.min_pixels or 1) > self.longest**2 or (self.max_pixels or self.longest**2) < self.shortest**2:
            raise ValueError("min_pixels and max_pixels leave no size between min and max")
        _upwards(self, self.min_pixels, self.max_pixels)
        return self

    @property
    def shortest(self) -> int:
        return math.ceil(self.min / self.multiple_of) * self.multiple_of

    @property
    def longest(self) -> int:
        return self.max // self.multiple_of * self.multiple_of

    def fit(self, width: int, height: int) -> tuple[int, int]:
        """The nearest allowed size: scaled as a whole first, so that the picture keeps its shape."""
        scale = self._scale(width, height)
        wide, high = self._side(width * scale, round), self._side(height * scale, round)
        if self.min_pixels is not None and wide * high < self.min_pixels:
            wide, high = self._grown(wide, high, self.min_pixels)
        if self.max_pixels is not None and wide * high > self.max_pixels:
            wide, high = self._shrunk(wide, high, self.max_pixels)
        return wide, high

    def _scale(self, width: int, height: int) -> float:
        least, most = self.shortest / min(width, height), self.longest / max(width, height)
        if self.min_pixels is not None:
            least = max(least, math.sqrt(self.min_pixels / (width * height)))
        if self.max_pixels is not None:
            most = min(most, math.sqrt(self.max_pixels / (width * height)))
        return min(max(1.0, least), most)

    def _side(self, length: float, rounded: Callable[[float], int]) -> int:
        whole = rounded(length / self.multiple_of) * self.multiple_of
        return min(max(whole, self.shortest), self.longest)

    def _grown(self, wide: int, high: int, least: int) -> tuple[int, int]:
        """Enlarge the shorter side if rounding, or a long shape, left the area too small."""
        if wide <= high:
            wide = self._side(least / high, math.ceil)
            return wide, max(high, self._side(least / wide, math.ceil))
        high, wide = self._grown(high, wide, least)
        return wide, high

    def _shrunk(self, wide: int, high: int, most: int) -> tuple[int, int]:
        if wide >= high:
            wide = self._side(most / high, math.floor)
            return wide, min(high, self._side(most / wide, math.floor))
        high, wide = self._shrunk(high, wide, most)
        return wide, high


class WidthHeight(_FreeSize):
    """Two inputs, width and height."""

    kind: Literal["width_height"]
    width: Name
    height: Name

    def names(self) -> Iterator[str]:
        yield from (self.width, self.height)

    def inputs(self, width: int, height: int) -> Mapping[str, Any]:
        return dict(zip(self.names(), self.fit(width, height), strict=True))


class SizeObject(_FreeSize):
    """One input, an object with `width` and `height`."""

    kind: Literal["object"]
    name: Name

    def names(self) -> Iterator[str]:
        yield self.name

    def inputs(self, width: int, height: int) -> Mapping[str, Any]:
        wide, high = self.fit(width, height)
        return {self.name: {"width": wide, "height": high}}


class AreaChoice(_Part):
    """An input beside the aspect ratio: the number of pixels, by the model's names for it (`{"1": 1048576}`)."""

    name: Name
    choices: Annotated[dict[Name, Pixels], Field(min_length=1)]

    def nearest(self, pixels: int) -> str:
        return min(self.choices, key=lambda word: _apart(self.choices[word], pixels))


class AspectRatio(_Part):
    """The nearest ratio of a list of texts such as `16:9`."""

    kind: Literal["aspect_ratio"]
    name: Name
    choices: Annotated[list[str], Field(min_length=1)]
    area: AreaChoice | None = None

    @field_validator("choices")
    @classmethod
    def _are_ratios(cls, choices: list[str]) -> list[str]:
        for choice in choices:
            _ratio(choice)
        return choices

    def names(self) -> Iterator[str]:
        yield from (self.name,) if self.area is None else (self.name, self.area.name)

    def inputs(self, width: int, height: int) -> Mapping[str, Any]:
        chosen = {self.name: min(self.choices, key=lambda choice: _apart(_ratio(choice), width / height))}
        return chosen if self.area is None else {**chosen, self.area.name: self.area.nearest(width * height)}


class SizeChoices(_Part):
    """The nearest size, by shape and then by area, of a list of texts such as `1024x1024`."""

    kind: Literal["choices"]
    name: Name
    choices: Annotated[list[str], Field(min_length=1)]

    @field_validator("choices")
    @classmethod
    def _are_sizes(cls, choices: list[str]) -> list[str]:
        for choice in choices:
            _size(choice)
        return choices

    def names(self) -> Iterator[str]:
        yield self.name

    def inputs(self, width: int, height: int) -> Mapping[str, Any]:
        def distance(choice: str) -> tuple[float, float]:
            wide, high = _size(choice)
            return round(_apart(wide / high, width / height), 6), _apart(wide * high, width * height)

        return {self.name: min(self.choices, key=distance)}


SizeInput = Annotated[WidthHeight | SizeObject | AspectRatio | SizeChoices, Field(discriminator="kind")]


FORMAT_INPUTS = frozenset({"output_format", "format", "image_format", "file_format", "output_type"})
"""Models' names for the input that chooses the picture's format."""
NOT_STORED = frozenset(
    [
        *(
            "heic",
            "heif",
            "jxl",
            "psd",
            "exr",
            "hdr",
            "dng",
            "eps",
            "ps",
            "pdf",
            "ai",
            "mp4",
            "webm",
            "mov",
            "avi",
            "mkv",
            "svg",
            "svg+xml",
        ),
        *("gltf", "glb", "obj", "zip", "tar", "tar.gz", "html", "json", "npy", "pt", "latent"),
    ]
)
"""Formats that the picture check refuses, when they are already paid for."""


class InputSpec(_Part):
    """The inputs of a model and their names. An input that is missing or null is not sent."""

    prompt: Name
    negative_prompt: Name | None = None
    seed: SeedInput | None = None
    steps: StepsInput | None = None
    guidance_scale: GuidanceInput | None = None
    size: SizeInput | None = None
    fixed: dict[Name, Any] = Field(default_factory=dict[str, Any])
    """Sent unchanged with every request."""

    @field_validator("fixed")
    @classmethod
    def _asks_for_pictures(cls, fixed: dict[str, Any]) -> dict[str, Any]:
        for name in FORMAT_INPUTS.intersection(fixed):
            wanted = fixed[name]
            if isinstance(wanted, str) and wanted.lower().rpartition("/")[2].lstrip(".") in NOT_STORED:
                raise ValueError(
                    f"{name} asks for {wanted}, which cannot be stored: docs/pictures.md lists what can be"
                )
        return fixed

    @model_validator(mode="after")
    def _gives_each_name_once(self) -> Self:
        twice = [name for name, times in Counter(self._names()).items() if times > 1]
        if twice:
            raise ValueError(f"more than one input is called {twice[0]!r}")
        return self

    def _names(self) -> Iterator[str]:
        yield self.prompt
        if self.negative_prompt is not None:
            yield self.negative_prompt
        yield from (part.name for part in (self.seed, self.steps, self.guidance_scale) if part is not None)
        if self.size is not None:
            yield from self.size.names()
        yield from self.fixed


def read_spec(spec: Mapping[str, Any]) -> InputSpec:
    """Check a spec from the database.

    Raises `InvalidRequest` with code `invalid_inputs_spec`, which names the first invalid field and its rule.
    """
    try:
        return InputSpec.model_validate(dict(spec))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for place, part in enumerate(first["loc"]) if place != 1 or part not in _KINDS)
        rule = first["msg"].removeprefix("Value error, ")
        raise InvalidRequest(
            f"Invalid inputs of the model: {field or 'inputs'}: {rule}",
            code="invalid_inputs_spec",
            field=field or None,
            remedy="Correct the model's row; docs/models.md shows what it may contain.",
        ) from None


def provider_inputs(
    spec: InputSpec | Mapping[str, Any],
    *,
    prompt: str,
    seed: int,
    width: int,
    height: int,
    negative_prompt: str | None = None,
    steps: int | None = None,
    guidance_scale: float | None = None,
) -> dict[str, Any]:
    """The model's inputs for one picture, each within the model's range. None leaves a value to the model.

    `width` and `height` are at least 1. Raises `InvalidRequest` as `read_spec` does.
    """
    known = spec if isinstance(spec, InputSpec) else read_spec(spec)
    inputs = {**known.fixed, known.prompt: prompt}
    if known.negative_prompt is not None and negative_prompt:
        inputs[known.negative_prompt] = negative_prompt
    if known.seed is not None:
        inputs[known.seed.name] = known.seed.fold(seed)
    for part, value in ((known.steps, steps), (known.guidance_scale, guidance_scale)):
        if part is not None and (chosen := _within(part, value)) is not None:
            inputs[part.name] = chosen
    return inputs if known.size is None else {**inputs, **known.size.inputs(width, height)}


def _within(part: StepsInput | GuidanceInput, value: float | None) -> float | None:
    if part.fixed is not None or value is None:
        return part.fixed
    low = value if part.min is None else max(value, part.min)
    return low if part.max is None else min(low, part.max)


def _fixed_or_range(part: PartT, fixed: float | None, low: float | None, high: float | None) -> PartT:
    if fixed is not None and (low is not None or high is not None):
        raise ValueError("must have either a fixed value or min and max")
    return _upwards(part, low, high)


def _upwards(part: PartT, low: float | None, high: float | None) -> PartT:
    if low is not None and high is not None and low > high:
        raise ValueError("has a minimum above its maximum")
    return part


def _ratio(text: str) -> float:
    match = _RATIO.fullmatch(text)
    if match is None or not float(match[1]) or not float(match[2]):
        raise ValueError(f"{text!r} is not an aspect ratio such as '16:9'")
    return float(match[1]) / float(match[2])


def _size(text: str) -> tuple[int, int]:
    match = _SIZE.fullmatch(text)
    if match is None or not int(match[1]) or not int(match[2]):
        raise ValueError(f"{text!r} is not a size such as '1024x1024'")
    return int(match[1]), int(match[2])


def _apart(one: float, other: float) -> float:
    """The distance of two sizes: double is as far as half."""
    return abs(math.log(one / other))
