"""Find the parts of a PNG, WebP or JPEG file that are the picture itself.

Walks the file's blocks without decoding pixels, so the header alone tells of a picture that would not fit into memory.
Each byte is read a bounded number of times. Written from the PNG specification (W3C, third edition), ITU-T T.81 annex B
with JFIF 1.02, and RFC 9649.
"""

import re
import zlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from mmap import mmap
from typing import Literal

MOST_BLOCKS = 100_000
MOST_JPEG_SCANS = 100
MOST_PROFILE_BYTES = 1024 * 1024
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"

_PNG_KEPT: Mapping[bytes, int] = {
    kind.encode(): most
    for most, kinds in {
        2**31: "IDAT",
        768: "PLTE",
        256: "tRNS",
        32: "cHRM",
        24: "mDCV",
        13: "IHDR",
        9: "pHYs",
        8: "cLLI",
        6: "bKGD",
        4: "gAMA sBIT cICP",
        1: "sRGB",
        0: "IEND",
    }.items()
    for kind in kinds.split()
}
"""Blocks that determine how the picture looks, with their greatest lengths."""
_PNG_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SHOWN = frozenset({0xC0, 0xC1, 0xC2})
"""Baseline, extended and progressive; browsers show no other JPEG coding."""
_JPEG_KEPT = _JPEG_SHOWN | {0xC4, 0xD9, 0xDA, 0xDB, 0xDD}
_JPEG_COMMENT = 0xFE
_JPEG_LONE = frozenset({0x01, *range(0xD0, 0xD9)})
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""Ends the pixels of a scan. Two bytes, so the search does not backtrack."""


class FileRefused(Exception):
    """The file is not accepted; the message says why in one sentence, and `code` names the check."""

    def __init__(self, message: str, *, code: str = "not_a_picture") -> None:
        super().__init__(message)
        self.code = code


class FileDamaged(Exception):
    """The file begins as a picture and is damaged or ends too early."""


class UnknownLayout(Exception):
    """Pillow may decode the file, but its blocks do not tell which parts are the picture: it is encoded again."""


Span = tuple[int, int]


@dataclass(slots=True)
class Layout:
    """A picture's header data, and the parts of its file that are kept."""

    format: str
    """`png`, `webp` or `jpeg`."""
    width: int = 0
    height: int = 0
    parts: list[Span | bytes] = field(default_factory=list["Span | bytes"])
    """Ranges of the file, or bytes that replace a range."""
    channels: int = 0
    """Of a JPEG: 1 is grey, 3 is colour, 4 is CMYK."""
    exif: bytes = b""
    """Not kept; holds the orientation."""
    profile: bytes = b""
    """The colour profile; not in `parts`, but in `with_profile()`."""
    profile_parts: list[Span | bytes] = field(default_factory=list["Span | bytes"])
    profile_place: int = 0
    """The index in `parts` where the profile belongs."""

    def keep(self, start: int, end: int) -> None:
        """Keep a range, joined with the previous one if they touch."""
        last = self.parts[-1] if self.parts and self.profile_place != len(self.parts) else None
        if isinstance(last, tuple) and last[1] == start:
            self.parts[-1] = (last[0], end)
        else:
            self.parts.append((start, end))

    def with_profile(self) -> list[Span | bytes]:
        """All parts, with the colour profile."""
        return self.parts[: self.profile_place] + self.profile_parts + self.parts[self.profile_place :]


def is_whole(parts: list[Span | bytes], size: int) -> bool:
    """Whether the parts are the whole unchanged file of `size` bytes."""
    place = 0
    for part in parts:
        if isinstance(part, bytes) or part[0] != place:
            return False
        place = part[1]
    return place == size


def joined(data: mmap | bytes, parts: list[Span | bytes]) -> bytes:
    return b"".join(part if isinstance(part, bytes) else data[part[0] : part[1]] for part in parts)


def format_of(head: bytes) -> str | None:
    """The format by the first bytes: `png`, `webp`, `jpeg`, or None for others."""
    if head[:8] == PNG_SIGNATURE:
        return "png"
    if head[:3] == JPEG_SIGNATURE:
        return "jpeg"
    return "webp" if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else None


def layout_of(data: mmap | bytes) -> Layout:
    """The layout of the picture at the start of `data`. Raises `FileRefused`, `FileDamaged` or `UnknownLayout`."""
    match format_of(data[:12]):
        case "png":
            layout = _png(data)
        case "jpeg":
            layout = _jpeg(data)
        case "webp":
            layout = _webp(data)
        case _:
            raise FileRefused("The file is not a PNG, WebP or JPEG.")
    if layout.width < 1 or layout.height < 1:
        raise FileRefused("The picture has no size.")
    return layout


@dataclass(frozen=True, slots=True)
class _Block:
    kind: bytes
    start: int
    """The start of the block's content."""
    end: int
    whole: Span
    """The whole block, with its header and what belongs to it after its content."""


def _png(data: mmap | bytes) -> Layout:
    layout = Layout("png", parts=[(0, len(PNG_SIGNATURE))])
    first, last = b"", b""
    for block in _png_blocks(data):
        if block.kind[:1].isupper() and block.kind not in _PNG_CRITICAL:
            raise UnknownLayout
        _keep_png_block(data, block, layout)
        first, last = first or block.kind, block.kind
        if block.kind == b"IEND":
            break
    if first != b"IHDR" or last != b"IEND":
        raise FileDamaged("The PNG has no beginning or no end.")
    layout.width, layout.height = _number(data, 16, 4), _number(data, 20, 4)
    return layout


def _keep_png_block(data: mmap | bytes, block: _Block, layout: Layout) -> None:
    length = block.end - block.start
    if block.kind == b"eXIf":
        layout.exif = data[block.start : min(block.end, block.start + 65_536)]
    elif block.kind == b"iCCP" and not layout.profile_parts:
        layout.profile = _unpacked(data[block.start : min(block.end, block.start + MOST_PROFILE_BYTES)])
        layout.profile_parts, layout.profile_place = [block.whole], len(layout.parts)
    elif length <= _PNG_KEPT.get(block.kind, -1):
        layout.keep(*block.whole)
    elif block.kind in _PNG_CRITICAL:
        raise UnknownLayout


def _unpacked(content: bytes) -> bytes:
    """The colour profile in a PNG's block; empty if it is damaged or followed by other bytes."""
    name, _, rest = content[:82].partition(b"\0")
    if not rest or rest[:1] != b"\0":
        return b""
    unpacking = zlib.decompressobj()
    try:
        profile = unpacking.decompress(content[len(name) + 2 :], MOST_PROFILE_BYTES)
    except zlib.error:
        return b""
    return profile if unpacking.eof and not unpacking.unused_data else b""


def _png_blocks(data: mmap | bytes) -> Generator[_Block]:
    offset = len(PNG_SIGNATURE)
    for _ in range(MOST_BLOCKS):
        _require_bytes(data, offset + 12)
        start, end = offset + 8, offset + 8 + _number(data, offset, 4)
        _require_bytes(data, end + 4)
        if _checksum(data, offset + 4, end) != _number(data, end, 4):
            raise FileDamaged("A block of the PNG is damaged.")
        yield _Block(data[offset + 4 : start], start, end, (offset, end + 4))
        offset = end + 4
    raise UnknownLayout


def _checksum(data: mmap | bytes, start: int, end: int) -> int:
    checksum = 0
    for offset in range(start, end, 1 << 20):
        checksum = zlib.crc32(data[offset : min(offset + (1 << 20), end)], checksum)
    return checksum


def _webp(data: mmap | bytes) -> Layout:
    end = _number(data, 4, 4, "little") + 8
    _require_bytes(data, end)
    layout = Layout("webp", parts=[(0, 12)])
    head: _Block | None = None
    for block in _webp_blocks(data, end):
        match block.kind:
            case b"VP8X" if head is None and block.end - block.start == 10:
                head = block
                layout.width, layout.height = _webp_size(data, block)
                layout.keep(*block.whole)
                layout.profile_place = len(layout.parts)
            case b"VP8 " | b"VP8L":
                if not layout.width:
                    layout.width, layout.height = _webp_size(data, block)
                layout.keep(*block.whole)
            case b"ALPH":
                layout.keep(*block.whole)
            case b"ICCP" if head is not None and not layout.profile_parts:
                layout.profile = data[block.start : min(block.end, block.start + MOST_PROFILE_BYTES)]
                layout.profile_parts = [block.whole]
            case b"EXIF":
                layout.exif = data[block.start : min(block.end, block.start + 65_536)]
            case b"VP8X" | b"ANIM" | b"ANMF":
                raise UnknownLayout
            case _:
                pass
    if not layout.width:
        raise FileDamaged("The WebP has no picture.")
    return layout


def webp_file(data: mmap | bytes, parts: list[Span | bytes], *, keeps_profile: bool) -> list[Span | bytes]:
    """The parts of a WebP, with a header that matches them."""
    size = sum(len(part) if isinstance(part, bytes) else part[1] - part[0] for part in parts)
    body = list(parts)
    first = body.pop(0)
    if not isinstance(first, tuple):
        raise TypeError("a WebP's first part is a range of its file")
    old = data[: min(first[1], 30)]
    new = b"RIFF" + (size - 8).to_bytes(4, "little") + old[8:]
    if len(old) == 30 and old[12:16] == b"VP8X":
        new = new[:20] + bytes([old[20] & 0x10 | (0x20 if keeps_profile else 0)]) + new[21:]
    if new == old:
        return list(parts)
    rest: list[Span | bytes] = [(len(old), first[1])] if first[1] > len(old) else []
    return [new, *rest, *body]


def _webp_blocks(data: mmap | bytes, whole: int) -> Generator[_Block]:
    offset = 12
    for _ in range(MOST_BLOCKS):
        if offset >= whole:
            return
        _require_bytes(data, offset + 8)
        start = offset + 8
        end = start + _number(data, offset + 4, 4, "little")
        offset = end + end % 2
        if offset > whole:
            raise FileDamaged("The picture ends too early.")
        _require_bytes(data, offset)
        yield _Block(data[start - 8 : start - 4], start, end, (start - 8, offset))
    raise UnknownLayout


def _webp_size(data: mmap | bytes, block: _Block) -> tuple[int, int]:
    _require_bytes(data, block.start + 10)
    if block.kind == b"VP8X":
        return 1 + _number(data, block.start + 4, 3, "little"), 1 + _number(data, block.start + 7, 3, "little")
    if block.kind == b"VP8L":
        bits = _number(data, block.start + 1, 4, "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return (
        _number(data, block.start + 6, 2, "little") & 0x3FFF,
        _number(data, block.start + 8, 2, "little") & 0x3FFF,
    )


def _jpeg(data: mmap | bytes) -> Layout:
    layout = Layout("jpeg", parts=[(0, 2)])
    sizes = scans = 0
    for block in _jpeg_blocks(data):
        marker = block.kind[0]
        if marker in _JPEG_SIZES:
            sizes += 1
            _require_bytes(data, block.start + 6)
            layout.width, layout.height = _number(data, block.start + 3, 2), _number(data, block.start + 1, 2)
            layout.channels = data[block.start + 5]
        scans += marker == 0xDA
        if scans > MOST_JPEG_SCANS:
            raise FileRefused(f"The JPEG has more than {MOST_JPEG_SCANS} scans.", code="too_many_scans")
        if marker in _JPEG_KEPT:
            layout.keep(*block.whole)
        elif 0xE0 <= marker <= 0xEF:
            _keep_jpeg_application_data(marker, block, data[block.start : block.end], layout)
        elif marker != _JPEG_COMMENT:
            raise UnknownLayout
    if sizes != 1 or not scans or layout.width < 1 or layout.height < 1:
        raise UnknownLayout
    return layout


def _keep_jpeg_application_data(marker: int, block: _Block, content: bytes, layout: Layout) -> None:
    """Keep only what determines colours, whatever else the segment holds."""
    if marker == 0xE0 and content[:5] == b"JFIF\0" and len(content) >= 12:
        _keep_or_replace(layout, block, content, content[:12] + b"\0\0")
    elif marker == 0xEE and content[:5] == b"Adobe" and len(content) >= 12:
        _keep_or_replace(layout, block, content, content[:12])
    elif marker == 0xE1 and content[:6] == b"Exif\0\0":
        layout.exif = layout.exif or content
    elif marker == 0xE2 and content[:12] == b"ICC_PROFILE\0" and len(layout.profile) < MOST_PROFILE_BYTES:
        if not layout.profile_parts:
            layout.profile_place = len(layout.parts)
        layout.profile += content[14:]
        layout.profile_parts.append(block.whole)


def _keep_or_replace(layout: Layout, block: _Block, content: bytes, plain: bytes) -> None:
    if content == plain:
        layout.keep(*block.whole)
    else:
        layout.parts.append(b"\xff" + block.kind + (len(plain) + 2).to_bytes(2, "big") + plain)


def _jpeg_blocks(data: mmap | bytes) -> Generator[_Block]:
    """All segments up to the end of the picture; a scan's pixels belong to its header's segment."""
    offset = 2
    for _ in range(MOST_BLOCKS):
        _require_bytes(data, offset + 2)
        if data[offset] != 0xFF:
            raise UnknownLayout
        marker = data[offset + 1]
        if marker == 0xD9:
            yield _Block(b"\xd9", offset + 2, offset + 2, (offset, offset + 2))
            return
        if marker in _JPEG_LONE:
            raise UnknownLayout
        if marker == 0xFF:  # a fill byte
            offset += 1
            continue
        _require_bytes(data, offset + 4)
        end = offset + 2 + max(2, _number(data, offset + 2, 2))
        _require_bytes(data, end)
        after = _after_pixels(data, end) if marker == 0xDA else end
        yield _Block(bytes([marker]), offset + 4, end, (offset, after))
        offset = after
    raise UnknownLayout


def _after_pixels(data: mmap | bytes, start: int) -> int:
    """The offset of the marker after a scan."""
    found = _MARKER.search(data, start)
    if found is None:
        raise FileDamaged("The JPEG has no end.")
    return found.start()


def _require_bytes(data: mmap | bytes, end: int) -> None:
    if len(data) < end:
        raise FileDamaged("The picture ends too early.")


def _number(data: mmap | bytes, offset: int, length: int, order: Literal["big", "little"] = "big") -> int:
    _require_bytes(data, offset + length)
    return int.from_bytes(data[offset : offset + length], order)
