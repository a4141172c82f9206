"""Headers that another process knows: they are read again from their files, when they are first asked for."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

import pydicom
from numpy.typing import NDArray

from ...errors import SourceError
from ...stores.files import File, check_state, file_name

if TYPE_CHECKING:
    from .header import Headers, Place, Telling


class ReadAgain:
    """Headers of files, of which only the names are carried along: to a worker, and on to the next.

    What was scanned of thousands of headers need not be sent, and no element that identifies the patient is.

    Parameters
    ----------
    files : sequence of File
        With the states that they had when they were opened: others are refused.
    """

    def __init__(self, files: Sequence[File]) -> None:
        self._files = list(files)
        self._found: Headers | None = None
        self._lock = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return ReadAgain, (self._files,)

    def _headers(self) -> Headers:
        with self._lock:
            if self._found is None:
                self._found = self._read()
            return self._found

    def _read(self) -> Headers:
        from ...formats.seam import format_named

        for file in self._files:
            check_state(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # who opened the files was told
            found: Headers | None = format_named("dicom").headers_in(self._files)  # type: ignore[attr-defined]
        if found is None:
            raise SourceError(
                f"the headers of {len(self._files)} files, the first is {file_name(self._files[0])}, can't be read: "
                "workers need the paths and the access that the process has which opened them"
            )
        return found

    def instances(self) -> list[int]:
        """Digests of all images of the files."""
        return list(self._headers().instances())  # type: ignore[attr-defined]

    def one_of_each(self, instances: Sequence[int], telling: Telling) -> list[int]:
        """One of the images for each way in which their headers say some elements."""
        found: list[int] = self._headers().one_of_each(instances, telling)  # type: ignore[attr-defined]
        return found

    def name(self, instance: int) -> tuple[str, int] | None:
        """SOP Instance UID and frame number of an image."""
        found: tuple[str, int] | None = self._headers().name(instance)  # type: ignore[attr-defined]
        return found

    def has(self, instance: int) -> bool:
        """Whether this image is known."""
        return self._headers().has(instance)

    def dataset(self, instance: int) -> pydicom.Dataset:
        """One image's whole header."""
        return self._headers().dataset(instance)

    def same_pixels(self, instance: int, stored: NDArray[Any]) -> bool:
        """Whether these stored values are those of the file."""
        return self._headers().same_pixels(instance, stored)

    def pixel_digest(self, instance: int) -> str:
        """Digest of the stored values in the file."""
        return self._headers().pixel_digest(instance)

    def original(self, instance: int) -> pydicom.Dataset | None:
        """The whole file, as pydicom reads it."""
        return self._headers().original(instance)

    def content(self, instance: int) -> bytes | None:
        """Bytes of the file; whether it still holds the image is to be looked at."""
        content = getattr(self._headers(), "content", None)
        return None if content is None else content(instance)

    def stored(self, instance: int) -> NDArray[Any] | None:
        """Stored values in the file."""
        return self._headers().stored(instance)

    def place(self, instance: int) -> Place | None:
        """Where the plane lies."""
        return self._headers().place(instance)

    def identity(self, instance: int) -> tuple[int, int]:
        """Digests of the patient and of the study of the image."""
        return self._headers().identity(instance)
