"""Damage done to files, seeded: what disks, transfers, editors and hostile people do."""

from __future__ import annotations

import random
import re

_WORDS = (
    "NaN",
    "-1",
    "0",
    "1e999",
    "-1e308",
    "99999999999999999999",
    "2147483648",
    "null",
    "true",
    '""',
    "[]",
    "{}",
    '"x"',
    "[[[[[[[[]]]]]]]]",
    "\x00",
    "\u202e",
    "=1+1",
    "../../../etc/passwd",
    "0001-01-01T00:00:00Z",
    "9999-12-31",
)
_TOKEN = re.compile(r"-?\d+(?:\.\d+)?|true|false|null|\"[^\"\n]*\"|\w+|[^\w\s]")


def damaged(content: bytes, seed: int, *, text: bool) -> bytes:
    """A file's content with one to three faults in it; the same ones for the same seed."""
    rng = random.Random(seed)
    for _ in range(rng.choice((1, 1, 2, 3))):
        content = (_damaged_text if text and rng.random() < 0.7 else _damaged_bytes)(content, rng)
    return content


def _damaged_bytes(content: bytes, rng: random.Random) -> bytes:
    if not content:
        return bytes(rng.randrange(256) for _ in range(8))
    at = min(int(rng.random() ** 2 * len(content)), len(content) - 1)  # headers lie at the beginning
    length = rng.choice((1, 2, 4, 8, 64, 512))
    kind = rng.randrange(8)
    if kind == 0:
        return content[:at]
    if kind == 1:
        return content[:at] + content[at + length :]
    if kind == 2:
        return content[:at] + content[at : at + length] + content[at:]
    if kind == 3:
        return content[:at] + bytes(length) + content[at + length :]
    if kind == 4:
        return content[:at] + b"\xff" * length + content[at + length :]
    if kind == 5:
        return content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]
    if kind == 6:
        return content[:at] + rng.randbytes(length) + content[at + length :]
    return content + rng.randbytes(length)


def _damaged_text(content: bytes, rng: random.Random) -> bytes:
    text = content.decode("utf-8", "surrogateescape")
    tokens = list(_TOKEN.finditer(text))
    if not tokens:
        return content
    one = rng.choice(tokens)
    kind = rng.randrange(4)
    if kind == 0:
        new = rng.choice(_WORDS)
    elif kind == 1:
        new = ""
    elif kind == 2:
        new = rng.choice(tokens)[0]
    else:
        new = one[0] * rng.choice((2, 300))
    return (text[: one.start()] + new + text[one.end() :]).encode("utf-8", "surrogateescape")
