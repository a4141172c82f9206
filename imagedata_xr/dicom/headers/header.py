"""Whole headers, found again by the digest of an image while its source is reachable."""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Protocol, cast

import numpy as np
import pydicom
from numpy.typing import NDArray

from ...errors import SourceError
from ...model.identity import PATIENT_KEYS, instance_digest, patient_digest, study_digest
from ...stores.url import File, file_name
from ..pixels.digests import pixel_digest
from .made_uids import MadeUids
from .read_again import ReadAgain
from .whole_file import read_dataset, read_whole

_KEPT = 16  # sources whose headers are remembered
_sources: OrderedDict[str, Headers] = OrderedDict()
_met: dict[str, dict[tuple[str, str], File]] = {}
"""Files of sources that another process opened, by source, whose headers were not asked for yet."""
_lock = Lock()
Telling = Callable[[int], bool]
"""Whether an element, by its tag, is one of those that are asked for."""
PROCESS = uuid.uuid4().hex
"""Names this process, and those that are forked from it: what it has opened they know too."""


@dataclass(frozen=True)
class Place:
    """Where a plane of a source lies.

    Attributes
    ----------
    position, orientation, spacing : ndarray, shape (3,), (6,) and (2,)
        Image Position and Orientation (Patient), Pixel Spacing; NaN without.
    matrix : tuple of int
        Rows and columns; of a tile its own.
    delay : float
        Seconds from the acquisition time of its instance to its own, where it is a tile; NaN where unknown.
    """

    position: NDArray[np.float64]
    orientation: NDArray[np.float64]
    spacing: NDArray[np.float64]
    matrix: tuple[int, int]
    delay: float


class Headers(Protocol):
    """Where the headers of images are found, by the digest of the image."""

    def has(self, instance: int) -> bool:
        """Whether this image is known."""
        ...

    def dataset(self, instance: int) -> pydicom.Dataset:
        """One image's whole header without its pixel data: a copy of the caller's own."""
        ...

    def same_pixels(self, instance: int, stored: NDArray[Any]) -> bool:
        """Whether these stored values, shape (rows, cols[, samples]), are those of the source."""
        ...

    def pixel_digest(self, instance: int) -> str:
        """Digest of the stored values of the source; see `imagedata_xr.dicom.pixels.digests`."""
        ...

    def original(self, instance: int) -> pydicom.Dataset | None:
        """The whole instance with its pixel data as stored; None where only the header was kept."""
        ...

    def stored(self, instance: int) -> NDArray[Any] | None:
        """Stored values of the source, shape (rows, cols[, samples]); None where only their digest was kept."""
        ...

    def place(self, instance: int) -> Place | None:
        """Where the plane lies; None where only the header was kept."""
        ...

    def identity(self, instance: int) -> tuple[int, int]:
        """Digests of the patient and of the study of the image."""
        ...


def read_header(file: File) -> pydicom.Dataset:
    """Whole header of a file by pydicom, without pixel data.

    Raises
    ------
    SourceError
        Where it can't be read.
    """
    return read_dataset(file, pixels=False)


def _still(ds: pydicom.Dataset, file: File, number: int, instance: int) -> pydicom.Dataset:
    """Return a data set that still is the instance that was opened; another may have taken its place in the file."""
    if instance_digest(str(ds.get("SOPInstanceUID", "")), number) != instance:
        raise SourceError(f"{file_name(file)} holds another image since it was opened: open the source again")
    return ds


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


class JoinedHeaders:
    """Several sources of headers as one; the first that knows an image answers for it."""

    def __init__(self, parts: list[Headers]) -> None:
        self._by_instance: dict[int, Headers] = {}
        self._unlisted: list[Headers] = []
        for part in reversed(parts):
            self.put_first(part)

    def put_first(self, part: Headers) -> None:
        """Add a source that is asked before the others; those of which nothing is left are forgotten."""
        listed = _instances(part)
        self._by_instance.update(dict.fromkeys(listed, part))
        if not listed:
            self._unlisted.insert(0, part)

    def _of(self, instance: int) -> Headers | None:
        found = self._by_instance.get(int(instance))
        return found or next((p for p in self._unlisted if p.has(instance)), None)

    def instances(self) -> list[int]:
        """Digests of all images of those sources that can list them."""
        return list(self._by_instance)

    def one_of_each(self, instances: Sequence[int], telling: Telling) -> list[int]:
        """One of the images of each source for each way in which their headers say some elements."""
        parts: dict[int, tuple[Headers, list[int]]] = {}
        for digest in instances:
            if (part := self._of(digest)) is not None:
                parts.setdefault(id(part), (part, []))[1].append(digest)
        return [digest for part, own in parts.values() for digest in one_of_each(part, own, telling)]

    def name(self, instance: int) -> tuple[str, int] | None:
        """SOP Instance UID and frame number of an image; None where its source does not remember them."""
        name = getattr(self._of(instance), "name", None)
        return None if name is None else name(instance)

    def renamed(self, instance: int) -> bool:
        """Whether an image has UIDs that were made for it, under which it is written."""
        return is_renamed(self._of(instance), instance)

    def uid_of(self) -> MadeUids | None:
        """Maker of the UIDs of what is computed, where all images were de-identified with one key; else None."""
        parts = {id(p): p for p in (*self._by_instance.values(), *self._unlisted)}
        makers = [getattr(p, "uid_of", None) for p in parts.values()]
        found = {maker() if maker is not None else None for maker in makers}
        return found.pop() if len(found) == 1 else None

    def has(self, instance: int) -> bool:
        """Whether any part knows this image."""
        return self._of(instance) is not None

    def dataset(self, instance: int) -> pydicom.Dataset:
        """One image's whole header."""
        part = self._of(instance)
        if part is None:
            raise KeyError(instance)
        return part.dataset(instance)

    def same_pixels(self, instance: int, stored: NDArray[Any]) -> bool:
        """Whether these stored values are those of the source."""
        part = self._of(instance)
        return part is not None and part.same_pixels(instance, stored)

    def pixel_digest(self, instance: int) -> str:
        """Digest of the stored values of the source."""
        part = self._of(instance)
        if part is None:
            raise KeyError(instance)
        return part.pixel_digest(instance)

    def stored(self, instance: int) -> NDArray[Any] | None:
        """Stored values of the source, where it still has them."""
        part = self._of(instance)
        return None if part is None else part.stored(instance)

    def place(self, instance: int) -> Place | None:
        """Where the plane lies, where its source knows."""
        part = self._of(instance)
        return None if part is None else part.place(instance)

    def identity(self, instance: int) -> tuple[int, int]:
        """Digests of the patient and of the study of the image."""
        part = self._of(instance)
        if part is None:
            raise KeyError(instance)
        return part.identity(instance)

    def original(self, instance: int) -> pydicom.Dataset | None:
        """The whole instance, where its source still has it."""
        part = self._of(instance)
        return None if part is None else part.original(instance)

    def content(self, instance: int) -> bytes | None:
        """Bytes of the file, where its source has files that are written as they are."""
        content = getattr(self._of(instance), "content", None)
        return None if content is None else content(instance)


def is_renamed(headers: Headers | None, instance: int) -> bool:
    """Whether an image has UIDs that were made for it (it was de-identified), under which it is written."""
    told = getattr(headers, "renamed", None)
    return told is not None and bool(told(instance))


def one_of_each(headers: Headers, instances: Sequence[int], telling: Telling) -> list[int]:
    """Choose among images one for each way in which their headers say some elements.

    Parameters
    ----------
    headers : Headers
    instances : sequence of int
        Digests of images that are known.
    telling : callable
        Whether an element, by its tag, is one of those.

    Returns
    -------
    list of int
        All of them, where their source can't tell.
    """
    chosen = getattr(headers, "one_of_each", None)
    return list(instances) if chosen is None else list(chosen(instances, telling))


def _instances(headers: Headers) -> list[int]:
    """Digests of all images of a source; none where it can't list them."""
    lister = getattr(headers, "instances", None)
    return [] if lister is None else list(lister())


def remember(source: str, headers: Headers) -> None:
    """Keep the headers of a source that was opened, for as long as it is among the last ones."""
    with _lock:
        before = _sources.pop(source, None)
        if before is not None and before is not headers:
            # a folder with several series, or opened again with other options, knows other images
            joined = before if isinstance(before, JoinedHeaders) else JoinedHeaders([before])
            joined.put_first(headers)
            headers = joined
        _sources[source] = headers
        while len(_sources) > _KEPT:
            _sources.popitem(last=False)


def remembered(source: str) -> Headers | None:
    """Headers of a source that was opened in this process; None for one that was not."""
    with _lock:
        return _sources.get(source)


def met(source: str, files: Iterable[File]) -> None:
    """Keep the files of a source that another process opened: their headers are read when they are asked for."""
    with _lock:
        _met.setdefault(source, {}).update({(file_name(f), f.path): f for f in files})


def _read_met(sources: Iterable[str]) -> None:
    """Read the headers of files that other processes opened, for good."""
    from ...formats.seam import format_named

    for source in sources:
        with _lock:
            files = list(_met.pop(source, {}).values())
        if files:
            found = format_named("dicom").headers_in(files)  # type: ignore[attr-defined]
            if found is not None:
                remember(source, found)


def remembered_with(instances: set[int]) -> list[Headers]:
    """Sources opened in this process, or by who sent it images, that know any of these images."""
    _read_met(list(_met))
    with _lock:
        return [h for h in _sources.values() if any(h.has(i) for i in instances)]


def identity_of_header(header: pydicom.Dataset) -> tuple[int, int]:
    """Digests of the patient and of the study that a header names."""
    elements = {k: header.get(k) for k in (*PATIENT_KEYS, "StudyInstanceUID")}
    return patient_digest(elements), study_digest(elements)


def headers_of(image: Any) -> Headers | None:
    """Headers of an image, through its coord ``source``: those remembered, else found by reading the source again.

    Parameters
    ----------
    image : xarray.DataArray

    Returns
    -------
    Headers or None
        None where the source is unknown or gone.
    """
    from ...formats.seam import formats

    if "source" not in image.coords or image.coords["source"].ndim:
        return None
    source = str(image.coords["source"].values.item())
    _read_met([source])
    found = remembered(source)
    if found is not None or not source:
        return found
    for form in formats().values():
        opener = getattr(form, "headers", None)
        found = cast("Headers | None", opener(source)) if opener is not None else None
        if found is not None:
            remember(source, found)
            return found
    return None
