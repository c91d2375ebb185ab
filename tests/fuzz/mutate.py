"""Makes broken inputs from valid ones."""

import random
from collections.abc import Sequence

TOKENS = (
    b"null",
    b"true",
    b"-0",
    b"1e999",
    b"-1e-999",
    b"NaN",
    b"Infinity",
    b"1" * 400,
    b"9223372036854775808",
    b'""',
    b"[]",
    b"{}",
    b"[[[[[[[[",
    b'{"a":' * 40,
    b"\\ud800",
    b"\\u0000",
    b"\x00",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b'"',
    b",",
    b":",
    b"[",
    b"]",
    b"{",
    b"}",
    b"\r\n",
    b"\r\n\r\n",
    b"%00",
    b"%2F..%2F",
    b"../",
    b"\x1f\x8b\x08\x00",
    b"!!python/object:os.system",
    b"&a [*a]",
    b"\x80\x04",
    b"\xde\xff\xff",
    b"\xdd\xff\xff\xff\xff",
    b"features",
    b"model",
    b"ts",
    b"schema",
    b"@",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 99999999999\r\n",
)
LARGEST = 1 << 16


def mutated(chance: random.Random, corpus: Sequence[bytes]) -> bytes:
    """A valid input with one to six changes; sometimes random bytes instead."""
    if chance.random() < 0.02:
        return chance.randbytes(chance.randint(0, 200))
    data = bytearray(chance.choice(corpus))
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        at = chance.randrange(len(data) + 1)
        end = min(len(data), at + chance.choice((1, 1, 2, 4, 16, 64)))
        what = chance.randrange(7)
        if what == 0 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        elif what == 1:
            del data[at:end]
        elif what == 2:
            data[at:at] = data[at:end] * chance.choice((1, 1, 2, 50))
        elif what == 3:
            data[at:end] = chance.choice(TOKENS)
        elif what == 4:
            data[at:at] = chance.choice(TOKENS)
        elif what == 5:
            other = chance.choice(corpus)
            begin = chance.randrange(len(other) + 1)
            data[at:end] = other[begin : begin + chance.choice((1, 4, 16, 64, 1024))]
        else:
            del data[at:]
    return bytes(data[:LARGEST])
