"""What may go wrong in the scan of one file; none of these leaves `scan`."""

from __future__ import annotations


class OddError(Exception):
    """The walk does not know what it sees."""


class MoreError(Exception):
    """The walk needs the file's bytes up to `upto`."""

    def __init__(self, upto: int) -> None:
        super().__init__(upto)
        self.upto = upto


class DamagedError(Exception):
    """A file is DICOM, but its header can't be read without guessing."""
