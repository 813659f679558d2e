"""Reads the fields of a header of a video stream, bit by bit."""

from __future__ import annotations

_MAX_ZEROS = 32


class Bits:
    """The bits of some bytes, from the first one on.

    Args:
        data: The header, and possibly what follows it.
    """

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def number(self, width: int) -> int:
        """An unsigned number of some bits.

        Raises:
            ValueError: There are fewer bits.
        """
        self._left -= width
        if self._left < 0:
            raise ValueError("the header is cut")
        return (self._value >> self._left) & ((1 << width) - 1)

    def flag(self) -> bool:
        """One bit."""
        return self.number(1) == 1

    def exp_golomb(self) -> int:
        """An unsigned number of variable length: `ue(v)` of H.264, `uvlc()` of AV1."""
        zeros = 0
        while not self.flag():
            zeros += 1
            if zeros > _MAX_ZEROS:
                raise ValueError("not an Exp-Golomb code")
        return (1 << zeros) - 1 + self.number(zeros)

    def signed_exp_golomb(self) -> int:
        """A signed number of variable length: `se(v)` of H.264."""
        code = self.exp_golomb()
        return (code + 1) // 2 if code % 2 else -(code // 2)
