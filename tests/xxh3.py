"""XXH3-64 (seed 0) of more than 240 bytes, written from its specification.

It seals what tests have changed in a saved engine, so that only the reader of the payload is left
to notice. https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
"""

from __future__ import annotations

import struct

MASK = 2**64 - 1
P32 = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)
P64 = (
    0x9E3779B185EBCA87,
    0xC2B2AE3D27D4EB4F,
    0x165667B19E3779F9,
    0x85EBCA77C2B2AE63,
    0x27D4EB2F165667C5,
)
SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)
STRIPE = 64
STRIPES = 16  # of a block


def _words(data: bytes, at: int, count: int = 8) -> tuple[int, ...]:
    return struct.unpack_from(f"<{count}Q", data, at)


def _fold(left: int, right: int) -> int:
    product = left * right
    return (product & MASK) ^ (product >> 64)


def xxh3_64(data: bytes) -> int:
    """The hash of more than 240 bytes."""
    assert len(data) > 240
    lanes = [P32[2], *P64[:4], P32[1], P64[4], P32[0]]

    def accumulate(at: int, secret_at: int) -> None:
        keys = _words(SECRET, secret_at)
        for lane, (value, key) in enumerate(zip(_words(data, at), keys, strict=True)):
            mixed = value ^ key
            lanes[lane ^ 1] = (lanes[lane ^ 1] + value) & MASK
            lanes[lane] = (lanes[lane] + (mixed & 0xFFFFFFFF) * (mixed >> 32)) & MASK

    last = (len(data) - 1) // STRIPE
    for stripe in range(last):
        accumulate(stripe * STRIPE, stripe % STRIPES * 8)
        if stripe % STRIPES == STRIPES - 1:
            for lane, key in enumerate(_words(SECRET, len(SECRET) - STRIPE)):
                value = lanes[lane]
                lanes[lane] = ((value ^ (value >> 47) ^ key) * P32[0]) & MASK
    accumulate(len(data) - STRIPE, len(SECRET) - STRIPE - 7)

    keys = _words(SECRET, 11)
    total = len(data) * P64[0]
    for pair in range(0, 8, 2):
        total += _fold(lanes[pair] ^ keys[pair], lanes[pair + 1] ^ keys[pair + 1])
    total &= MASK
    total = ((total ^ (total >> 37)) * 0x165667919E3779F9) & MASK
    return total ^ (total >> 32)
