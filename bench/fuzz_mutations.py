"""Damage as files meet it, and as somebody does it on purpose: bytes and a `random.Random` give other bytes."""

import re
from collections.abc import Callable, Sequence
from random import Random

LARGEST = 2**18  # bytes of a damaged file
NUMBER = re.compile(rb"[0-9]+")
LENGTHS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
NUMBERS = (b"-1", b"0", b"65535", b"2147483648", b"9" * 20, b"9" * 5000, b"1e999", b"nan", b"-0.0", b"1e-320")
WORDS = (
    *(
        b"\0",
        b"\xff" * 4,
        b"\x80" + bytes(11),
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"\r",
        b"\n\n",
        b'"',
        b"'",
    ),
    *(b"../../etc/passwd", b"/dev/zero", b"file://", b"${HOME}", b"%s%n", b"<script>", b"null", b"true", b"{}", b"[]"),
    *(b"[" * 2000, b"{" * 2000, b"(" * 2000, b'{"a":' * 2000, b"\xff" * 5000, b"\\u0000", b"\\ud800"),
)


def mutated(random: Random, seeds: Sequence[bytes], words: Sequence[bytes] = ()) -> bytes:
    """One of the seeds with one to eight faults. words: those of the format, beside WORDS."""
    data = random.choice(seeds)
    for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
        data = random.choice(FAULTS)(random, data, seeds, words)[:LARGEST]
    return data


def _place(random: Random, data: bytes) -> int:
    """More often near the beginning, where headers are."""
    return int(len(data) * random.random() ** random.choice((1, 3)))


def _part(random: Random, data: bytes) -> slice:
    begin = _place(random, data)
    return slice(begin, begin + random.choice((1, 2, 4, 8, random.randrange(1, 4096))))


def _written(data: bytes, place: int, new: bytes) -> bytes:
    return data[:place] + new + data[place + len(new) :]


def _bits(random: Random, data: bytes, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    changed = bytearray(data)
    for _ in range(random.randrange(1, 9)):
        if changed:
            changed[_place(random, data)] ^= 1 << random.randrange(8)
    return bytes(changed)


def _cut(random: Random, data: bytes, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _removed(random: Random, data: bytes, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    part = _part(random, data)
    return data[: part.start] + data[part.stop :]


def _repeated(random: Random, data: bytes, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    part = _part(random, data)
    return data[: part.stop] + data[part] * random.choice((1, 2, 16, 1000)) + data[part.stop :]


def _spliced(random: Random, data: bytes, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    other = random.choice(seeds)
    return data[: _place(random, data)] + other[_place(random, other) :]


def _length(random: Random, data: bytes, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    size = random.choice((1, 2, 4, 8))
    value = random.choice(LENGTHS) & (1 << 8 * size) - 1
    return _written(data, _place(random, data), value.to_bytes(size, random.choice(("little", "big"))))


def _number(random: Random, data: bytes, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    found = [match.span() for match in NUMBER.finditer(data)]
    begin, end = random.choice(found) if found else (0, 0)
    return data[:begin] + random.choice(NUMBERS) + data[end:]


def _word(random: Random, data: bytes, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    word, place = random.choice((*WORDS, *words)), _place(random, data)
    return _written(data, place, word) if random.random() < 0.5 else data[:place] + word + data[place:]


Fault = Callable[[Random, bytes, Sequence[bytes], Sequence[bytes]], bytes]
FAULTS: tuple[Fault, ...] = (_bits, _cut, _removed, _repeated, _spliced, _length, _length, _number, _word)
