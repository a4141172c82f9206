"""Whole headers of images: what a source of them offers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pydicom
from numpy.typing import NDArray

from ...model.identity import PATIENT_KEYS, patient_digest, study_digest
from ...stores.url import File
from .whole_file import read_dataset

Telling = Callable[[int], bool]
"""Whether an element, by its tag, is one of those that are asked for."""


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
    """Where the headers of images are found, by the digest of the image.

    A source may have more, which is asked for where it is there: ``instances`` (digests of all its images), ``name``
    (SOP Instance UID and frame number), ``content`` (bytes of the file, to be written as they are), ``uid_of`` (maker
    of the UIDs of what is computed), ``renamed`` and ``one_of_each`` (see the functions of these names).
    """

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


def identity_of_header(header: pydicom.Dataset) -> tuple[int, int]:
    """Digests of the patient and of the study that a header names."""
    elements = {k: header.get(k) for k in (*PATIENT_KEYS, "StudyInstanceUID")}
    return patient_digest(elements), study_digest(elements)


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
