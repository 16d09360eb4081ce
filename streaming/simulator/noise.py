"""Randomness without state: numbers that are a function of a key and an index, and smooth noise made of them.

Only operations that round the same way at every array length are used (no sums of floats, no transcendental functions),
so that one trade computed alone equals the same trade computed among a million.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Words = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def key(*parts: object) -> int:
    """64 bits that name a stream of random numbers: equal for equal parts, on every machine."""
    digest = hashlib.blake2b("\x00".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def words(stream: int | Words, index: Ints) -> Words:
    """The `index`-th outputs of splitmix64 (Steele, Lea and Flood 2014) started at `stream`."""
    state = np.asarray(index).astype(np.uint64) * _GOLDEN + np.asarray(stream, dtype=np.uint64)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Words = state ^ (state >> np.uint64(31))
    return mixed


def uniform(stream: int | Words, index: Ints) -> Floats:
    """Random numbers in [0, 1)."""
    numbers: Floats = (words(stream, index) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return numbers


def smooth(streams: Words, shifts: Ints, times: Ints) -> tuple[Floats, Floats]:
    """Value noise in [-1, 1], a row an octave, and the change that each octave is about to make.

    An octave's period is `2 ** shift`. `streams` and `shifts` have one entry an octave; `times` are at least one.
    """
    lowest, highest = int(times.min()) >> shifts, int(times.max()) >> shifts
    counts = highest - lowest + 2
    ends = np.cumsum(counts)
    shift_to_knot = ends - counts - lowest  # where each octave's knots begin in the common list
    index = np.arange(ends[-1]) - np.repeat(shift_to_knot, counts)
    knots = uniform(np.repeat(streams, counts), index) * 2.0 - 1.0
    column = shifts.reshape(-1, 1)
    place = (times >> column) + shift_to_knot.reshape(-1, 1)
    period = 1 << column
    part = (times & (period - 1)) * (1.0 / period)
    before = knots[place]
    step = knots[place + 1] - before
    return before + step * (part * part * (3.0 - 2.0 * part)), step
