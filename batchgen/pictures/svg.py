"""An SVG without what could do harm: written anew from the elements, attributes and styles that only draw.

What is not on a list here is left out: scripts, event handlers, animations, foreign objects, links, pictures and fonts
from elsewhere, comments. Entities are refused, for they are how a small file becomes a large one, and so are
references that multiply (`use` of what contains `use`). Parsed by expat, event by event; no tree is built.
"""

import re
from dataclasses import dataclass, field
from math import isfinite
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from batchgen.imaging.containers import NotAPicture
from batchgen.pictures.svg_references import Multiplies, Part, bounded

SVG = "http://www.w3.org/2000/svg"
XLINK_HREF = "http://www.w3.org/1999/xlink href"
_MULTIPLIES = "The SVG multiplies itself."
XML_SPACE = "http://www.w3.org/XML/1998/namespace space"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SHAPES = frozenset({"path", "rect", "circle", "ellipse", "line", "polyline", "polygon", "text", "use"})
TEXTS = frozenset({"text", "tspan", "textPath", "title", "desc"})
ELEMENTS = (
    SHAPES
    | TEXTS
    | _words("""
    svg g defs symbol style switch marker pattern mask clipPath linearGradient radialGradient stop filter
    feBlend feColorMatrix feComponentTransfer feComposite feConvolveMatrix feDiffuseLighting feDisplacementMap
    feDistantLight feDropShadow feFlood feFuncA feFuncB feFuncG feFuncR feGaussianBlur feMerge feMergeNode
    feMorphology feOffset fePointLight feSpecularLighting feSpotLight feTile feTurbulence
    """)
)
STYLES = _words("""
    alignment-baseline baseline-shift clip-path clip-rule color color-interpolation color-interpolation-filters
    direction display dominant-baseline fill fill-opacity fill-rule filter flood-color flood-opacity font-family
    font-size font-size-adjust font-stretch font-style font-variant font-weight image-rendering isolation letter-spacing
    lighting-color marker marker-end marker-mid marker-start mask mask-type mix-blend-mode opacity overflow paint-order
    shape-rendering stop-color stop-opacity stroke stroke-dasharray stroke-dashoffset stroke-linecap stroke-linejoin
    stroke-miterlimit stroke-opacity stroke-width text-anchor text-decoration text-rendering transform transform-origin
    unicode-bidi vector-effect visibility word-spacing writing-mode
""")
ATTRIBUTES = STYLES | _words("""
    amplitude azimuth baseFrequency bias class clipPathUnits cx cy d diffuseConstant divisor dx dy edgeMode elevation
    exponent filterUnits fr fx fy gradientTransform gradientUnits height href id in in2 intercept k1 k2 k3 k4
    kernelMatrix kernelUnitLength lengthAdjust limitingConeAngle markerHeight markerUnits markerWidth maskContentUnits
    maskUnits method mode numOctaves offset operator order orient pathLength patternContentUnits patternTransform
    patternUnits points pointsAtX pointsAtY pointsAtZ preserveAlpha preserveAspectRatio primitiveUnits r radius refX
    refY result role rotate rx ry scale seed side slope spacing specularConstant specularExponent spreadMethod
    startOffset stdDeviation stitchTiles style surfaceScale tableValues targetX targetY textLength type values version
    viewBox width x x1 x2 xChannelSelector y y1 y2 yChannelSelector z
""")

_START = re.compile(rb"(?:\xef\xbb\xbf)?\s*+<(?:\?xml\b|!--|!DOCTYPE\s+svg\b|svg[\s>])", re.IGNORECASE)
_WIDE_START = re.compile(rb"(?:\xff\xfe)?<\0(?:\?\0x\0m\0l\0|s\0v\0g\0)|(?:\xfe\xff)?\0<(?:\0\?\0x\0m\0l|\0s\0v\0g)")
_RISKY = re.compile(r"[\\@<]|/\*|javascript|vbscript|data:|expression|behavior|binding|image-set|src\(", re.IGNORECASE)
_LOCAL_URL = re.compile(r"url\(\s*+(['\"]?)#([\w.:-]++)\1\s*+\)", re.IGNORECASE)
_LOCAL = re.compile(r"#([\w.:-]++)")
_LENGTH = re.compile(r"\+?((?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][+-]?\d++)?)\s*+(?:px)?")
_PLAIN_SELECTOR = re.compile(r"[\w\s.#>+~-]++")
_NAME = re.compile(r"[.#]?[\w-]++")
"""All of them are possessive where they repeat: a search never goes back over what it has read."""
LONGEST_NUMBER = 64


@dataclass(frozen=True, slots=True)
class SvgLimits:
    max_bytes: int = 10 * 1024 * 1024
    max_elements: int = 100_000
    max_drawn: int = 1_000_000
    """Shapes, those that are drawn again by reference counted as often as they are drawn."""
    max_depth: int = 64
    max_side: int = 100_000


@dataclass(frozen=True, slots=True)
class Drawing:
    content: bytes
    width: int
    height: int
    left_out: int
    """How many elements and attributes were not taken over."""


def looks_like_svg(head: bytes) -> bool:
    """Whether a file that begins so is read as an SVG."""
    return bool(_START.match(head) or _WIDE_START.match(head))


def sanitised(content: bytes, limits: SvgLimits) -> Drawing:
    """The drawing without what could do harm. Raises `NotAPicture` where nothing harmless is left, or too much."""
    if len(content) > limits.max_bytes:
        raise NotAPicture(f"The SVG is larger than {limits.max_bytes} bytes.", code="svg_too_large")
    writer = _Writer(limits)
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    parser.StartDoctypeDeclHandler = writer.doctype
    parser.StartElementHandler = writer.start
    parser.EndElementHandler = writer.end
    parser.CharacterDataHandler = writer.text
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise NotAPicture("The SVG is no well-formed XML.", code="svg_malformed") from error
    return writer.drawing()


@dataclass(slots=True)
class _Open:
    """An element that has begun and not ended."""

    name: str
    id: str | None
    place: int
    """Among all elements that stay."""
    has_use: bool = False


@dataclass(slots=True)
class _Writer:
    limits: SvgLimits
    parts: list[str] = field(default_factory=list[str])
    path: list[_Open] = field(default_factory=list[_Open])
    skipped_depth: int = 0
    """How deep we are in an element that is left out."""
    left_out: int = 0
    elements: int = 0
    shapes: int = 0
    size: tuple[int, int] | None = None
    style_text: list[str] = field(default_factory=list[str])
    uses: list[str] = field(default_factory=list[str])
    ids_with_use: set[str] = field(default_factory=set[str])
    drawn: list[Part] = field(default_factory=list[Part])
    """All elements that stay."""
    ids: dict[str, int] = field(default_factory=dict[str, int])
    rules: dict[str, set[tuple[str, str]]] = field(default_factory=dict[str, "set[tuple[str, str]]"])

    def doctype(self, _name: str, _system: str | None, _public: str | None, has_internal_subset: bool) -> None:
        if has_internal_subset:
            raise NotAPicture("The SVG declares entities.", code="svg_has_entities")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self.skipped_depth or not self._is_allowed(name):
            self.skipped_depth += 1
            self.left_out += 1
            self._bounded(self.skipped_depth + len(self.path), self.elements + self.left_out)
            return
        self.elements += 1
        local = name.removeprefix(f"{SVG} ")
        self.path.append(_Open(local, attributes.get("id"), len(self.drawn)))
        self._bounded(len(self.path), self.elements + self.left_out)
        if len(self.path) == 1:
            self.size = _size(attributes, self.limits.max_side)
        self.shapes += local in SHAPES
        self._note(local, attributes)
        self._write_start(local, attributes)

    def end(self, _name: str) -> None:
        if self.skipped_depth:
            self.skipped_depth -= 1
            return
        element = self.path.pop()
        if element.name == "style":
            self.parts.append(escape(self._sheet("".join(self.style_text))))
            self.style_text.clear()
        self.parts.append(f"</{element.name}>")
        if element.has_use and self.path:
            self.path[-1].has_use = True
        if element.id is not None and element.has_use:
            self.ids_with_use.add(element.id)
        self.drawn[element.place].end = len(self.drawn)

    def text(self, text: str) -> None:
        if self.skipped_depth or not self.path:
            return
        if self.path[-1].name == "style":
            self.style_text.append(text)
        elif self.path[-1].name in TEXTS:
            self.parts.append(escape(text))

    def drawing(self) -> Drawing:
        if self.size is None or not self.shapes:
            raise NotAPicture("The SVG draws nothing.", code="svg_empty")
        if self.ids_with_use.intersection(self.uses):
            raise NotAPicture(_MULTIPLIES, code="svg_multiplies")
        try:
            bounded(self.drawn, self.ids, self.rules, self.limits.max_drawn)
        except Multiplies:
            raise NotAPicture(_MULTIPLIES, code="svg_multiplies") from None
        width, height = self.size
        return Drawing("".join(self.parts).encode(), width, height, self.left_out)

    def _is_allowed(self, name: str) -> bool:
        namespace, _, local = name.rpartition(" ")
        if not self.path and (namespace, local) != (SVG, "svg"):
            raise NotAPicture("The XML is no SVG.", code="not_a_picture")
        inside_style = bool(self.path) and self.path[-1].name == "style"
        return namespace == SVG and local in ELEMENTS and not inside_style

    def _write_start(self, local: str, attributes: dict[str, str]) -> None:
        kept = [f"<{local}"]
        if len(self.path) == 1:
            kept.append(f' xmlns="{SVG}"')
        if XLINK_HREF in attributes:
            attributes = {"href": attributes[XLINK_HREF], **attributes}
        for name, value in attributes.items():
            clean = _clean(name, value)
            if clean is not None:
                kept.append(f" {'xml:space' if name == XML_SPACE else name}={quoteattr(clean)}")
            elif name != XLINK_HREF:
                self.left_out += 1
        self.parts.append("".join(kept) + ">")
        if local == "use":
            self._note_use(attributes)

    def _note(self, local: str, attributes: dict[str, str]) -> None:
        """What counts when it is summed up how much is drawn."""
        names = {local, *(f".{name}" for name in attributes.get("class", "").split())}
        if "id" in attributes:
            names.add(f"#{attributes['id']}")
            self.ids.setdefault(attributes["id"], len(self.drawn))
        points = 2 + sum(len(attributes.get(name, "")) for name in ("d", "points")) // 2
        part = Part(local in SHAPES, points if local in SHAPES else 0, 0, frozenset(names))
        for name, value in attributes.items():
            if name in STYLES:
                part.references += _references(name, value)
            elif name in ("href", XLINK_HREF) and (found := _LOCAL.fullmatch(value.strip())):
                part.references.append(("href", found[1]))
            elif name == "style":
                for declaration in value.split(";"):
                    property_, _, text = declaration.partition(":")
                    part.references += _references(property_.strip().lower(), text)
        self.drawn.append(part)

    def _sheet(self, text: str) -> str:
        """The rules of a style sheet that consist of harmless declarations; comments and at-rules are none."""
        kept: list[str] = []
        for block in _without_comments(text).split("}")[:-1]:
            selector, _, body = (part.strip() for part in block.rpartition("{"))
            declarations = _clean_declarations(body)
            if not declarations or not selector or "{" in selector or _RISKY.search(selector):
                continue
            kept.append(f"{selector}{{{declarations}}}")
            self._note_rule(selector, declarations)
        return "".join(kept)

    def _note_rule(self, selector: str, declarations: str) -> None:
        references: set[tuple[str, str]] = set()
        for declaration in declarations.split(";"):
            name, _, value = declaration.partition(":")
            references.update(_references(name, value))
        if references:
            for alone in selector.split(","):
                for name in set(_NAME.findall(alone)) if _PLAIN_SELECTOR.fullmatch(alone) else {"*"}:
                    self.rules.setdefault(name, set()).update(references)

    def _note_use(self, attributes: dict[str, str]) -> None:
        self.path[-1].has_use = True
        self.uses.append(attributes.get("href", "").strip().removeprefix("#"))

    def _bounded(self, depth: int, elements: int) -> None:
        if depth > self.limits.max_depth:
            raise NotAPicture(f"The SVG is nested deeper than {self.limits.max_depth} elements.", code="svg_too_large")
        if elements > self.limits.max_elements:
            raise NotAPicture(f"The SVG has more than {self.limits.max_elements} elements.", code="svg_too_large")


def _clean(name: str, value: str) -> str | None:
    """The attribute's value as it may stand; None where it may not."""
    if name == XML_SPACE:
        return value if value in ("default", "preserve") else None
    if name not in ATTRIBUTES:
        return None
    if name == "href":
        return value.strip() if _LOCAL.fullmatch(value.strip()) else None
    if name == "style":
        return _clean_declarations(value)
    if name in STYLES:
        return value if _is_harmless(value) else None
    return value


def _is_harmless(value: str) -> bool:
    """Whether a style's value names nothing outside the drawing."""
    return not _RISKY.search(value) and "url" not in _LOCAL_URL.sub("", value).lower()


def _references(property_: str, value: str) -> list[tuple[str, str]]:
    return [(property_, found[2]) for found in _LOCAL_URL.finditer(value)]


def _clean_declarations(text: str) -> str:
    kept: list[str] = []
    for declaration in text.split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if name.lower() in STYLES and value and _is_harmless(value):
            kept.append(f"{name.lower()}:{value}")
    return ";".join(kept)


def _without_comments(text: str) -> str:
    """A comment that has no end goes up to the end."""
    first, *others = text.split("/*")
    return first + "".join(after for other in others if (after := other.partition("*/")[2]))


def _size(attributes: dict[str, str], most: int) -> tuple[int, int] | None:
    """Width and height, from the attributes or from the view box."""
    sides = [_length(attributes.get(name, "")) for name in ("width", "height")]
    if None in sides:
        box = attributes.get("viewBox", "").replace(",", " ").split(None, 4)
        sides = [_length(text) for text in box[2:4]] if len(box) == 4 else []
    whole = [max(1, round(side)) for side in sides if side is not None and 0 < side <= most]
    if len(whole) != 2:
        raise NotAPicture("The SVG has no size.", code="svg_has_no_size")
    return whole[0], whole[1]


def _length(text: str) -> float | None:
    plain = text.strip()
    found = _LENGTH.fullmatch(plain) if len(plain) <= LONGEST_NUMBER else None
    value = float(found[1]) if found else None
    return value if value is not None and isfinite(value) else None
