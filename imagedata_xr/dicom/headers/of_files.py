"""Headers of DICOM files that were opened: each is read when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from ...errors import SourceError
from ...model.identity import instance_digest
from ...stores.url import File, file_name
from ..pixels.digests import pixel_digest
from .header import Place, Telling, read_header
from .read_again import ReadAgain
from .whole_file import read_dataset, read_whole


class FileHeaders:
    """Headers of DICOM files: each is read when asked for.

    Parameters
    ----------
    rows : dict
        Digest of each image -> its number, which the callables take.
    file : callable
        Gives file and frame number of an image.
    pixels : callable
        Gives its stored values.
    people : callable
        Gives the digests of its patient and study.
    where : callable
        Gives its place.
    files : sequence of File
        All of them: another process gets these in place of what was read of them.
    uids : callable, optional
        Gives its SOP Instance UID.
    differ : callable, optional
        Gives one of each of several images whose headers differ in some elements; see `one_of_each`.
    """

    def __init__(
        self,
        rows: dict[int, int],
        file: Callable[[int], tuple[File, int]],
        pixels: Callable[[int], NDArray[Any]],
        people: Callable[[int], tuple[int, int]],
        where: Callable[[int], Place],
        files: Sequence[File],
        uids: Callable[[int], str] | None = None,
        differ: Callable[[NDArray[np.intp], Telling], list[int]] | None = None,
    ) -> None:
        self._rows, self._file, self._pixels, self._people, self._where = rows, file, pixels, people, where
        self._files, self._uids, self._differ = files, uids, differ

    def __reduce__(self) -> tuple[Any, ...]:
        return ReadAgain, (list(self._files),)

    def stored(self, instance: int) -> NDArray[Any] | None:
        """Stored values in the file."""
        return np.asarray(self._pixels(self._rows[int(instance)]))

    def place(self, instance: int) -> Place | None:
        """Where the plane lies."""
        return self._where(self._rows[int(instance)])

    def identity(self, instance: int) -> tuple[int, int]:
        """Digests of the patient and of the study of the image."""
        return self._people(self._rows[int(instance)])

    def name(self, instance: int) -> tuple[str, int] | None:
        """SOP Instance UID and frame number of an image, as they were when the source was opened."""
        row = self._rows[int(instance)]
        return None if self._uids is None else (self._uids(row), self._file(row)[1])

    def instances(self) -> list[int]:
        """Digests of all images of the source."""
        return list(self._rows)

    def one_of_each(self, instances: Sequence[int], telling: Telling) -> list[int]:
        """One of the images for each way in which their headers say some elements; no header is read for it."""
        if self._differ is None:
            return list(instances)
        chosen = self._differ(np.array([self._rows[int(d)] for d in instances], dtype=np.intp), telling)
        return [instances[k] for k in chosen]

    def has(self, instance: int) -> bool:
        """Whether this image is known."""
        return int(instance) in self._rows

    def dataset(self, instance: int) -> pydicom.Dataset:
        """One image's whole header."""
        file, number = self._file(self._rows[int(instance)])
        return _still(read_header(file), file, number, int(instance))

    def same_pixels(self, instance: int, stored: NDArray[Any]) -> bool:
        """Whether these stored values are those of the file."""
        return bool(np.array_equal(self._pixels(self._rows[int(instance)]), stored, equal_nan=True))

    def pixel_digest(self, instance: int) -> str:
        """Digest of the stored values in the file."""
        return pixel_digest(self._pixels(self._rows[int(instance)]))

    def original(self, instance: int) -> pydicom.Dataset | None:
        """The whole file, as pydicom reads it."""
        file, number = self._file(self._rows[int(instance)])
        return _still(read_dataset(file, pixels=True), file, number, int(instance))

    def content(self, instance: int) -> bytes:
        """Bytes of the file; whether it still holds the image is to be looked at."""
        return read_whole(self._file(self._rows[int(instance)])[0])


def _still(ds: pydicom.Dataset, file: File, number: int, instance: int) -> pydicom.Dataset:
    """Return a data set that still is the instance that was opened; another may have taken its place in the file."""
    if instance_digest(str(ds.get("SOPInstanceUID", "")), number) != instance:
        raise SourceError(f"{file_name(file)} holds another image since it was opened: open the source again")
    return ds
