"""Pictures and hostile files for tests."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

from PIL import Image

from batchgen.pictures.temporary_files import unnamed_file, write

HTML = b"<!DOCTYPE html><html><body><script>alert(1)</script></body></html>"


def picture(format: str = "png", size: tuple[int, int] = (96, 64), mode: str = "RGB", **options: Any) -> bytes:
    """A soft gradient, so that every pixel differs a little from its neighbours."""
    image = Image.linear_gradient("L").resize(size)  # pyright: ignore[reportUnknownMemberType]
    image = Image.frombytes("I;16", size, _twice(image.tobytes())) if mode == "I;16" else image.convert(mode)
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def _twice(content: bytes) -> bytes:
    """Each byte twice, as the high and low byte of a 16-bit number."""
    return bytes(byte for value in content for byte in (value, value))


def stored_png(row: bytes) -> bytes:
    """A PNG of one row of RGB pixels, neither filtered nor compressed."""
    head = struct.pack(">IIBBBBB", len(row) // 3, 1, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" + row, 0)
    return b"\x89PNG\r\n\x1a\n" + png_block(b"IHDR", head) + png_block(b"IDAT", data) + png_block(b"IEND", b"")


def plain(colour: str, format: str = "png", mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    Image.new(mode, (48, 48), colour).save(out, format)
    return out.getvalue()


def in_file(content: bytes, folder: Path | None = None) -> io.FileIO:
    file = unnamed_file(folder)
    write(file, content)
    return file


def png_block(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def with_png_block(content: bytes, kind: bytes, inside: bytes) -> bytes:
    """The PNG with one more block after its header."""
    return content[:33] + png_block(kind, inside) + content[33:]


def with_jpeg_segment(content: bytes, marker: int, inside: bytes) -> bytes:
    return content[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(inside) + 2) + inside + content[2:]


def with_webp_block(content: bytes, kind: bytes, inside: bytes) -> bytes:
    block = kind + struct.pack("<I", len(inside)) + inside + b"\0" * (len(inside) % 2)
    whole = content + block
    return whole[:4] + struct.pack("<I", len(whole) - 8) + whole[8:]


def png_bomb(width: int, height: int) -> bytes:
    """Black pixels by the gigabyte, in a few kilobytes."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compressobj(9)
    row = bytes(1 + 3 * width)
    data = b"".join(pixels.compress(row) for _ in range(min(height, 200))) + pixels.flush()
    return b"\x89PNG\r\n\x1a\n" + png_block(b"IHDR", head) + png_block(b"IDAT", data) + png_block(b"IEND", b"")


def zip_end(comment: bytes = b"") -> bytes:
    """The end record of an empty ZIP archive: readers look for it from the end of a file."""
    return b"PK\x05\x06" + bytes(16) + struct.pack("<H", len(comment)) + comment


def svg(inside: str, attributes: str = 'width="64" height="48"') -> bytes:
    return f'<svg xmlns="http://www.w3.org/2000/svg" {attributes}>{inside}</svg>'.encode()


def nested_patterns(levels: int, each: int) -> str:
    """`each` ** `levels` shapes: patterns whose shapes are filled by the next pattern."""
    patterns = "".join(
        f'<pattern id="p{level}" width="1" height="1">' + f'<rect fill="url(#p{level + 1})"/>' * each + "</pattern>"
        for level in range(levels)
    )
    return f'{patterns}<pattern id="p{levels}"><rect/></pattern><rect fill="url(#p0)" width="9" height="9"/>'
