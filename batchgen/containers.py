"""What a picture's file is, by its bytes from the first to the last: a PNG, a WebP or a JPEG, and nothing beside it.

Walks the file's blocks without decoding any pixel, so that a picture that would not fit into memory is known by its
head. Written from the PNG specification (W3C, third edition), ITU-T T.81 annex B with JFIF 1.02, and RFC 9649.
"""

import re
import zlib
from collections.abc import Generator
from dataclasses import dataclass
from mmap import mmap

MOST_BLOCKS = 100_000
MOST_JPEG_SCANS = 100
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"

_ANIMATION = frozenset({b"acTL", b"fcTL", b"fdAT", b"ANIM", b"ANMF"})
_PNG_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_LONE = frozenset({0x01, *range(0xD0, 0xD9)})
_AFTER_PIXELS = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
_MARKUP = re.compile(rb"<(?:[sS][cC][rR][iI][pP][tT]|![dD][oO][cC][tT][yY][pP][eE])")
"""Long enough that compressed pixels do not hold it by chance (once in 20 million pictures of 20 MB)."""
_OTHER_FORMATS = re.compile(
    rb"<(?:\?php|[hH][tT][mM][lL]|[bB][oO][dD][yY]|[iI][fF][rR][aA][mM][eE])"
    rb"|%PDF-|PK\x05\x06|Rar!\x1a\x07|7z\xbc\xaf\x27\x1c|\x7fELF"
)
"""Short, so that it is looked for beside the pixels alone."""


class NotAPicture(Exception):
    """The file is something else, or something more; the message says what, in one sentence."""


class Truncated(Exception):
    """The file begins as a picture and ends too early."""


@dataclass(frozen=True, slots=True)
class Layout:
    format: str
    """`png`, `webp` or `jpeg`."""
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class _Block:
    kind: bytes
    start: int
    """Where the block's content begins."""
    end: int


def layout_of(data: mmap) -> Layout:
    """Format and size of the picture that fills `data` from end to end. Raises `NotAPicture` or `Truncated`."""
    if data[:8] == PNG_SIGNATURE:
        layout = _png(data)
    elif data[:3] == JPEG_SIGNATURE:
        layout = _jpeg(data)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        layout = _webp(data)
    else:
        raise NotAPicture("The file is no PNG, WebP, JPEG or SVG.")
    if layout.width < 1 or layout.height < 1:
        raise NotAPicture("The picture has no size.")
    if _MARKUP.search(data):
        raise NotAPicture("There is a script or a web page in the picture.")
    return layout


def _png(data: mmap) -> Layout:
    first, last = b"", b""
    for block in _png_blocks(data):
        _no_animation(block.kind)
        if not block.kind.isalpha() or (block.kind[:1].isupper() and block.kind not in _PNG_CRITICAL):
            raise NotAPicture("The PNG has a block that no PNG has.")
        if block.kind != b"IDAT":
            _nothing_else_in(data, block)
        first, last = first or block.kind, block.kind
        if block.kind == b"IEND":
            _ends_here(data, block.end + 4)
            break
    if first != b"IHDR" or last != b"IEND":
        raise Truncated("The PNG has no beginning or no end.")
    return Layout("png", _number(data, 16, 4), _number(data, 20, 4))


def _png_blocks(data: mmap) -> Generator[_Block]:
    offset = len(PNG_SIGNATURE)
    for _ in range(MOST_BLOCKS):
        _needs(data, offset + 12)
        start, end = offset + 8, offset + 8 + _number(data, offset, 4)
        _needs(data, end + 4)
        if _checksum(data, offset + 4, end) != _number(data, end, 4):
            raise Truncated("A block of the PNG is damaged.")
        yield _Block(data[offset + 4 : start], start, end)
        offset = end + 4
    raise NotAPicture("The PNG has too many blocks.")


def _checksum(data: mmap, start: int, end: int) -> int:
    checksum = 0
    for offset in range(start, end, 1 << 20):
        checksum = zlib.crc32(data[offset : min(offset + (1 << 20), end)], checksum)
    return checksum


def _webp(data: mmap) -> Layout:
    declared = _number(data, 4, 4, "little") + 8
    _needs(data, declared)
    _ends_here(data, declared)
    sizes: list[Layout] = []
    for block in _webp_blocks(data):
        _no_animation(block.kind)
        if block.kind in (b"VP8X", b"VP8L", b"VP8 "):
            sizes.append(_webp_size(data, block))
        if block.kind not in (b"VP8L", b"VP8 ", b"ALPH"):
            _nothing_else_in(data, block)
    if not sizes:
        raise Truncated("The WebP has no picture.")
    return sizes[0]


def _webp_blocks(data: mmap) -> Generator[_Block]:
    offset = 12
    for _ in range(MOST_BLOCKS):
        if offset == len(data):
            return
        _needs(data, offset + 8)
        start = offset + 8
        end = start + _number(data, offset + 4, 4, "little")
        offset = end + end % 2
        _needs(data, offset)
        yield _Block(data[start - 8 : start - 4], start, end)
    raise NotAPicture("The WebP has too many blocks.")


def _webp_size(data: mmap, block: _Block) -> Layout:
    _needs(data, block.start + 10)
    if block.kind == b"VP8X":
        return Layout("webp", *(1 + _number(data, block.start + place, 3, "little") for place in (4, 7)))
    if block.kind == b"VP8L":
        bits = _number(data, block.start + 1, 4, "little")
        return Layout("webp", 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    return Layout("webp", *(_number(data, block.start + place, 2, "little") & 0x3FFF for place in (6, 8)))


def _jpeg(data: mmap) -> Layout:
    sizes: list[Layout] = []
    scans = 0
    for block in _jpeg_blocks(data):
        marker = block.kind[0]
        if marker in _JPEG_SIZES:
            _needs(data, block.start + 5)
            sizes.append(Layout("jpeg", _number(data, block.start + 3, 2), _number(data, block.start + 1, 2)))
        if marker == 0xE0:
            _is_jfif(data, block)
        if marker == 0xDA:
            scans += 1
        _nothing_else_in(data, block)
    if len(sizes) != 1 or not 1 <= scans <= MOST_JPEG_SCANS:
        raise NotAPicture("The JPEG holds no picture, or more than one.")
    return sizes[0]


def _jpeg_blocks(data: mmap) -> Generator[_Block]:
    """All segments; the pixels after a scan's head are skipped. Ends at the end of the file."""
    offset = 2
    for _ in range(MOST_BLOCKS):
        _needs(data, offset + 2)
        if data[offset] != 0xFF:
            raise NotAPicture("There is something in the JPEG that no JPEG has.")
        marker = data[offset + 1]
        if marker == 0xD9:
            return _ends_here(data, offset + 2)
        if marker in _JPEG_LONE:
            raise NotAPicture("There is something in the JPEG that no JPEG has.")
        if marker == 0xFF:  # a fill byte
            offset += 1
            continue
        _needs(data, offset + 4)
        end = offset + 2 + max(2, _number(data, offset + 2, 2))
        _needs(data, end)
        yield _Block(bytes([marker]), offset + 4, end)
        offset = _after_pixels(data, end) if marker == 0xDA else end
    raise NotAPicture("The JPEG has too many blocks.")


def _after_pixels(data: mmap, start: int) -> int:
    """Where the marker after a scan begins."""
    found = _AFTER_PIXELS.search(data, start)
    if found is None:
        raise Truncated("The JPEG has no end.")
    return found.end() - 2


def _is_jfif(data: mmap, block: _Block) -> None:
    """The first segment of a JPEG can be as long as somebody needs to hide a script in it; JFIF says how long it is."""
    content = data[block.start : block.end]
    is_jfif = content[:5] == b"JFIF\0" and len(content) >= 14 and len(content) == 14 + 3 * content[12] * content[13]
    if not is_jfif and content[:5] != b"JFXX\0":
        raise NotAPicture("The JPEG has a head that no JPEG has.")


def _nothing_else_in(data: mmap, block: _Block) -> None:
    if _OTHER_FORMATS.search(data, block.start, block.end):
        raise NotAPicture("There is a file of another kind in the picture.")


def _no_animation(kind: bytes) -> None:
    if kind in _ANIMATION:
        raise NotAPicture("The picture moves; a still one was asked for.")


def _ends_here(data: mmap, end: int) -> None:
    if len(data) != end:
        raise NotAPicture("Something follows after the end of the picture.")


def _needs(data: mmap, end: int) -> None:
    if len(data) < end:
        raise Truncated("The picture ends too early.")


def _number(data: mmap, offset: int, length: int, order: str = "big") -> int:
    _needs(data, offset + length)
    return int.from_bytes(data[offset : offset + length], "little" if order == "little" else "big")
