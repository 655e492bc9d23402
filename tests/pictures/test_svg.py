"""A drawing keeps what draws and loses what could do harm."""

from collections.abc import Callable

import pytest
from hostile_pictures import nested_patterns, svg

from batchgen.imaging.containers import NotAPicture
from batchgen.pictures.svg import Drawing, SvgLimits, looks_like_svg, sanitised

LIMITS = SvgLimits()
SHAPE = '<rect width="9" height="9"/>'
HARMLESS = (
    '<defs><linearGradient id="a"><stop offset="0" stop-color="#fff"/></linearGradient>'
    '<clipPath id="c"><circle cx="1" cy="1" r="1"/></clipPath></defs>'
    '<g clip-path="url(#c)" transform="translate(1 2)">'
    '<path d="M0 0L9 9Z" fill="url(#a)" style="stroke:red;opacity:.5"/>'
    '<text x="1" y="2" font-family="Arial, \'Open Sans\'">A &amp; B &lt;script&gt;</text><use href="#c"/></g>'
)


def clean(content: bytes, limits: SvgLimits = LIMITS) -> Drawing:
    return sanitised(content, limits)


def text_of(inside: str) -> str:
    return clean(svg(inside)).content.decode()


def test_a_harmless_svg_is_kept_complete() -> None:
    drawing = clean(svg(HARMLESS))

    assert drawing.left_out == 0
    for part in (
        'fill="url(#a)"',
        'clip-path="url(#c)"',
        "stroke:red;opacity:.5",
        "A &amp; B &lt;script&gt;",
        'href="#c"',
    ):
        assert part in drawing.content.decode()
    assert clean(drawing.content) == drawing


@pytest.mark.parametrize(
    "inside",
    [
        "<script>alert(1)</script>",
        "<script xlink:href='https://x.test/a.js' xmlns:xlink='http://www.w3.org/1999/xlink'/>",
        "<x:script xmlns:x='http://www.w3.org/1999/xhtml'>alert(1)</x:script>",
        "<s:script xmlns:s='http://www.w3.org/2000/svg'>alert(1)</s:script>",
        "<foreignObject><body xmlns='http://www.w3.org/1999/xhtml'><script>alert(1)</script></body></foreignObject>",
        "<a href='javascript:alert(1)'><rect width='1' height='1'/></a>",
        "<a><animate attributeName='href' values='javascript:alert(1)'/></a>",
        "<set attributeName='onload' to='alert(1)'/>",
        "<image href='https://x.test/alert(1).png'/>",
        "<feImage href='https://x.test/alert(1)'/>",
        "<handler>alert(1)</handler>",
        "<iframe src='javascript:alert(1)'/>",
        "<style>@import url(https://x.test/alert(1).css);</style>",
        "<style>rect{fill:url(https://x.test/alert(1))}</style>",
        "<style>rect{background:url(javascript:alert(1))}</style>",
        "<style>rect{f\\69ll:url(//x.test/alert(1))}</style>",
        "<style><![CDATA[</style><script>alert(1)</script>]]></style>",
        "<rect onclick='alert(1)' width='1' height='1'/>",
        "<rect onLoad='alert(1)'/>",
        "<rect fill='url(https://x.test/#alert(1))'/>",
        "<rect fill='url(//x.test/alert(1))'/>",
        '<rect fill="url( &quot;https://x.test/alert(1)&quot; )"/>',
        "<rect fill='u\\72l(https://x.test/alert(1))'/>",
        "<rect fill='url(#a) url(https://x.test/alert(1))'/>",
        "<rect style='fill:url(https://x.test/alert(1))'/>",
        "<rect style='behavior:url(alert(1).htc)'/>",
        "<rect style='width:expression(alert(1))'/>",
        "<use href='https://x.test/alert(1).svg#a'/>",
        "<use xlink:href='data:image/svg+xml,alert(1)' xmlns:xlink='http://www.w3.org/1999/xlink'/>",
        "<use href=' java&#9;script:alert(1)'/>",
        "<metadata>alert(1)</metadata>",
        "<?xml-stylesheet href='https://x.test/alert(1).css'?>",
        "<!-- alert(1) -->",
        "<g xml:base='https://x.test/alert(1)'/>",
        "<g data-x='alert(1)'/>",
        "alert(1)",
    ],
)
def test_scripts_and_outside_references_are_removed(inside: str) -> None:
    text = text_of(inside + SHAPE)

    assert "alert" not in text
    assert "x.test" not in text
    assert 'width="9"' in text


def test_an_xlink_reference_becomes_href() -> None:
    text = text_of(f"<g id='a'>{SHAPE}</g><use xmlns:xlink='http://www.w3.org/1999/xlink' xlink:href='#a'/>")

    assert '<use href="#a">' in text


def test_harmless_style_rules_are_kept() -> None:
    text = text_of(
        "<style>/* made by x */ .a{fill:#fff;stroke:url(#b)} .c > rect{opacity:.5;cursor:help}</style>" + SHAPE
    )

    assert ".a{fill:#fff;stroke:url(#b)}.c &gt; rect{opacity:.5}" in text


@pytest.mark.parametrize(
    "content",
    [
        b'<!DOCTYPE svg [<!ENTITY a "b">]>' + svg(SHAPE),
        b'<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + svg("<text>&a;</text>"),
        b'<!DOCTYPE svg [<!ENTITY % a SYSTEM "https://x.test/a.dtd">%a;]>' + svg(SHAPE),
    ],
)
def test_entities_are_refused(content: bytes) -> None:
    assert looks_like_svg(content)
    with pytest.raises(NotAPicture, match="entities"):
        clean(content)


def test_a_document_type_without_entities_is_removed() -> None:
    kind = b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">\n'
    content = b'<?xml version="1.0" encoding="UTF-8"?>\n' + kind + svg(SHAPE)

    assert looks_like_svg(content)
    assert b"DOCTYPE" not in clean(content).content


@pytest.mark.parametrize(
    "content",
    [
        b"<svg>" + SHAPE.encode() + b"</svg>",
        b"<svg xmlns='http://www.w3.org/1999/xhtml'>" + SHAPE.encode() + b"</svg>",
        b"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'/>",
        svg(SHAPE)[:-3],
        svg(SHAPE) + b"<script>alert(1)</script>",
        svg(SHAPE) + svg(SHAPE),
        svg("<script>alert(1)</script>"),
        svg(""),
        svg("<rect></g>"),
        svg(SHAPE, "width='0' height='9'"),
        svg(SHAPE, "width='100%' height='100%'"),
        svg(SHAPE, "width='1e99' height='9'"),
        svg(SHAPE, "viewBox='0 0 9'"),
        b"<?xml version='1.0' encoding='nonsense'?>" + svg(SHAPE),
        svg("&nbsp;" + SHAPE),
    ],
)
def test_a_file_that_is_no_svg_is_refused(content: bytes) -> None:
    with pytest.raises(NotAPicture):
        clean(content)


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ("width='64' height='48'", (64, 48)),
        ("width='64.4px' height='4.8e1'", (64, 48)),
        ("viewBox='0 0 1024 768'", (1024, 768)),
        ("width='100%' height='100%' viewBox='-5,-5, 30.2 20'", (30, 20)),
        ("width='0.2' height='0.2'", (1, 1)),
    ],
)
def test_the_size_is_read_from_the_svg(attributes: str, size: tuple[int, int]) -> None:
    drawing = clean(svg(SHAPE, attributes))

    assert (drawing.width, drawing.height) == size


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_other_encodings_are_read(encoding: str) -> None:
    content = svg("<text>Füchse</text>").decode().encode(encoding)

    assert looks_like_svg(content)
    assert "Füchse" in clean(content).content.decode()


@pytest.mark.parametrize(
    ("inside", "limits"),
    [
        ("<g>" * 70 + SHAPE + "</g>" * 70, LIMITS),
        ("<x>" * 70 + "</x>" * 70 + SHAPE, LIMITS),
        (SHAPE * 11, SvgLimits(max_elements=10)),
        ("<x/>" * 11 + SHAPE, SvgLimits(max_elements=10)),
        (SHAPE * 10, SvgLimits(max_bytes=100)),
    ],
)
def test_an_svg_over_the_limits_is_refused(inside: str, limits: SvgLimits) -> None:
    with pytest.raises(NotAPicture):
        clean(svg(inside), limits)


@pytest.mark.parametrize(
    "inside",
    [
        f"<g id='a'>{SHAPE}</g><g id='b'><use href='#a'/><use href='#a'/></g><use href='#b'/>",
        f"<g id='a'>{SHAPE}<use href='#a'/></g>",
        f"<use href='#a'/><g id='a'><g>{SHAPE}<use href='#b'/></g></g>",
        f"<g id='a'>{SHAPE * 1000}</g>" + "<use href='#a'/>" * 1000,
    ],
)
def test_an_svg_that_multiplies_itself_is_refused(inside: str) -> None:
    with pytest.raises(NotAPicture, match="multiplies"):
        clean(svg(inside))


@pytest.mark.parametrize("head", [b"", b"\x89PNG", b"<html>", b"<!DOCTYPE html>", b"svg", b"<svgx>", b"<rss>"])
def test_other_files_do_not_look_like_svg(head: bytes) -> None:
    assert not looks_like_svg(head)


PARTS_THAT_REPEAT: dict[str, Callable[[int], str]] = {
    "blanks in a reference": lambda n: f'<rect fill="url({" " * n}"/>' + SHAPE,
    "quotes in a reference": lambda n: f'<rect fill="url({chr(39) * n}"/>' + SHAPE,
    "references without an end": lambda n: f'<rect fill="{"url(" * n}"/>' + SHAPE,
    "names without an end": lambda n: f'<rect fill="url(#{"a" * n}"/>' + SHAPE,
    "a sheet without braces": lambda n: f"<style>{'a' * n}</style>" + SHAPE,
    "a sheet of opening braces": lambda n: f"<style>{'a{' * n}</style>" + SHAPE,
    "comments without an end": lambda n: f"<style>{'/*' * n}</style>" + SHAPE,
    "halves of comments": lambda n: f"<style>{'/*/' * n}</style>" + SHAPE,
    "a selector of many names": lambda n: f"<style>{'.a ' * n}{{fill:url(#b)}}</style>" + SHAPE,
    "many declarations": lambda n: f'<rect style="{"fill:url(#b);" * n}"/>' + SHAPE,
    "many classes": lambda n: f'<rect class="{"a " * n}"/>' + SHAPE,
}
"""Each is given in a size that an expression which goes back could not take in a lifetime."""


@pytest.mark.parametrize("part", PARTS_THAT_REPEAT)
def test_cleaning_an_svg_takes_linear_time(part: str) -> None:
    drawing = clean(svg(PARTS_THAT_REPEAT[part](500_000)))

    assert (drawing.width, drawing.height) == (64, 48)


@pytest.mark.parametrize("attribute", ["width", "height", "viewBox"])
@pytest.mark.parametrize("character", ["1", " ", "1 ", "+", ".", "1e", ","])
def test_a_size_of_any_length_is_read_in_linear_time(attribute: str, character: str) -> None:
    with pytest.raises(NotAPicture, match="no size"):
        clean(svg(SHAPE, f'{attribute}="{character * 500_000}x"'))


@pytest.mark.parametrize("each", [10, 100])
def test_nested_patterns_count_as_what_they_draw(each: int) -> None:
    with pytest.raises(NotAPicture, match="multiplies"):
        clean(svg(nested_patterns(12, each)))


@pytest.mark.parametrize(
    "inside",
    [
        "<pattern id='a'><rect fill='url(#a)'/></pattern><rect fill='url(#a)'/>",
        "<mask id='a'><rect mask='url(#b)'/></mask><mask id='b'><rect mask='url(#a)'/></mask><rect mask='url(#a)'/>",
        f"<pattern id='a'>{SHAPE * 2000}</pattern><g fill='url(#a)'>{SHAPE * 1000}</g>",
        f"<pattern id='a'>{SHAPE * 2000}</pattern><style>.b{{fill:url(#a)}}</style>" + "<rect class='b'/>" * 1000,
        f"<pattern id='a'>{SHAPE * 2000}</pattern><style>*{{fill:url(#a)}}</style>" + SHAPE * 1000,
        f"<marker id='a'>{SHAPE * 2000}</marker><path marker-mid='url(#a)' d='{'L1 1' * 1000}'/>",
        f"<pattern id='a'>{SHAPE * 2000}</pattern>" + "<rect style='fill:url(#a)'/>" * 1000,
    ],
)
def test_other_ways_to_multiply_are_refused(inside: str) -> None:
    with pytest.raises(NotAPicture, match="multiplies"):
        clean(svg(inside))


def test_ordinary_references_within_an_svg_are_kept() -> None:
    inside = (
        "<style>.b{fill:url(#p)}.c{clip-path:url(#m)}</style><clipPath id='m'><rect class='b'/></clipPath>"
        f"<pattern id='p'>{SHAPE * 3}</pattern><g class='c'>" + "<path class='b' d='M0 0L9 9Z'/>" * 2000 + "</g>"
    )

    assert clean(svg(inside)).left_out == 0
