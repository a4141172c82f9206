"""All headers of an image as one table, which stands in for its source when that is gone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ...errors import SourceError
from ...model.identity import instance_digest
from ..pixels.digests import has_digest
from .header import Headers, Place, Telling, identity_of_header, is_renamed
from .json_header import HeaderEncoder, file_meta_from, header_from, json_text
from .lookup import headers_of
from .made_uids import MadeUids

if TYPE_CHECKING:
    import pydicom

BATCH = 32  # images whose pixels one task reads
_NAMES = {
    "header": "header of the image, DICOM JSON (PS3.18 F.2)",
    "file_meta": "file meta information of the image (PS3.10 7.1), DICOM JSON",
}
_PIXELS = "kind, shape and BLAKE2b digest of the stored pixel values"
_SHARED = "elements that all images share"


@dataclass(frozen=True)
class _Row:
    header: dict[str, str]
    file_meta: dict[str, str]


def header_table(image: xr.DataArray, shared: bool = False) -> xr.Dataset:
    """All headers of an image, and what tells whether its pixels are still those of the source.

    Parameters
    ----------
    image : DataArray
        With the coords ``instance`` and ``source``. The headers and pixels of its source are read once.
    shared : bool
        Keep the elements that all images share once, in the scalar variables ``header_shared`` and
        ``file_meta_shared``: much smaller. An image's header then is both together.

    Returns
    -------
    Dataset
        On the dim ``instance`` (int64 digest of SOP Instance UID and frame number): ``header`` and ``file_meta``, texts
        of DICOM JSON (PS3.18 F.2; decimal and integer strings as strings), and ``pixels``, a text of kind, shape and
        digest of the stored values. Where the images were de-identified, ``key_of_made_uids`` lets those that are
        computed from them have the same UIDs as before saving; it is no use for finding the seed, or who the patient
        is. Images that have no instance of their own (computed ones) are not in it.

    Raises
    ------
    SourceError
        Where the image has no instances of a source, or the source is gone.
    """
    headers = headers_of(image) if "instance" in image.coords else None
    if headers is None:
        why = "its source is unknown or can't be reached any more" if "instance" in image.coords else _COMPUTED
        raise SourceError(f"the image has no headers: {why}")
    digests = [d for d in own_instances(image) if headers.has(d)]
    if not digests:
        raise SourceError(f"the image has no headers: {_COMPUTED}")
    rows = _rows(headers, digests)
    pixels = _pixel_digests(headers, digests)
    columns = {name: [getattr(row, name) for row in rows] for name in _NAMES}
    ds = xr.Dataset(coords={"instance": np.array(digests, dtype=np.int64)})
    ds["instance"].attrs["long_name"] = "digest of SOP Instance UID and frame number"
    for name, column in columns.items():
        common = _common(column) if shared else {}
        own = [json_text({t: e[t] for t in e if t not in common}) for e in column]
        ds[name] = _texts(("instance",), own, _NAMES[name])
        if shared:
            ds[f"{name}_shared"] = _texts((), json_text(common), f"{_SHARED}: {_NAMES[name]}")
    ds["pixels"] = _texts(("instance",), pixels, _PIXELS)
    if all(is_renamed(headers, d) for d in digests):
        ds[_MADE] = _texts((), _key_of(headers), "key of the UIDs of what is computed from these de-identified images")
    return ds


_MADE = "key_of_made_uids"
"""Variable of a table of de-identified headers, whose images are written under the UIDs that they have in it."""


def _key_of(headers: Headers) -> str:
    maker = getattr(headers, "uid_of", None)
    made = maker() if maker is not None else None
    return "" if made is None else str(made.key.hex())


_COMPUTED = "its images have no instance of their own (they were computed, or come from another format than DICOM)"


def own_instances(image: xr.DataArray) -> list[int]:
    """Digests of the images that may have an instance of their own, each once, in the order of the image."""
    if "instance" not in image.coords:
        return []
    values = np.atleast_1d(image.coords["instance"].values).ravel()
    if values.dtype.kind == "f":
        values = values[np.isfinite(values) & (values == np.round(values))]  # an averaged digest is none
    if values.dtype.kind not in "iuf":
        return []
    return [d for d in dict.fromkeys(values.astype(np.int64).tolist()) if d > 0]


def _texts(dims: tuple[str, ...], values: Any, long_name: str) -> xr.Variable:
    return xr.Variable(dims, np.array(values, dtype=np.dtypes.StringDType()), {"long_name": long_name})


def _rows(headers: Headers, digests: Sequence[int]) -> list[_Row]:
    """Headers of the images; an instance with many frames is read once."""
    encoder, found, wanted = HeaderEncoder(), dict[int, _Row](), set(digests)
    for digest in digests:
        if digest in found:
            continue
        ds = headers.dataset(digest)
        meta = getattr(ds, "file_meta", None)
        row = _Row(encoder.elements(ds), {} if meta is None else encoder.elements(meta))
        found[digest] = row
        for other in _frames(ds):
            if other in wanted:
                found[other] = row
    return [found[d] for d in digests]


def _frames(ds: pydicom.Dataset) -> list[int]:
    """Digests of the frames of an instance."""
    try:
        count = int(str(ds.get("NumberOfFrames") or 1))
    except ValueError:
        return []
    uid = str(ds.get("SOPInstanceUID", ""))
    return [instance_digest(uid, n) for n in range(1, count + 1)] if count > 1 else []


def _common(column: Sequence[dict[str, str]]) -> dict[str, str]:
    """Elements that are the same in all headers."""
    out = dict(column[0])
    for elements in column[1:]:
        out = {tag: text for tag, text in out.items() if elements.get(tag) == text}
    return out


def _pixel_digests(headers: Headers, digests: Sequence[int]) -> list[str]:
    from dask.base import compute
    from dask.delayed import delayed

    batches = [digests[i : i + BATCH] for i in range(0, len(digests), BATCH)]
    tasks = [delayed(_digests_of, pure=False, traverse=False)(headers, batch) for batch in batches]
    # threads: the headers may hold file systems and files of this process
    done: Iterable[list[str]] = compute(*tasks, scheduler="threads")  # type: ignore[no-untyped-call]
    return [text for batch in done for text in batch]


def _digests_of(headers: Headers, digests: Sequence[int]) -> list[str]:
    return [headers.pixel_digest(d) for d in digests]


@dataclass(frozen=True)
class _Columns:
    """A table in memory."""

    row: dict[int, int]
    texts: dict[str, Any]
    shared: dict[str, dict[str, Any]]
    made: str | None


def _columns_of(table: xr.Dataset) -> _Columns:
    shared = {n: json.loads(str(table[f"{n}_shared"].item())) if f"{n}_shared" in table else {} for n in _NAMES}
    row = {int(d): k for k, d in enumerate(table["instance"].values.tolist())}
    made = str(table[_MADE].item()) if _MADE in table else None
    return _Columns(row, {n: table[n].values for n in (*_NAMES, "pixels")}, shared, made)


class TableHeaders:
    """Headers of images from a table of `header_table`: they are there without the source.

    Parameters
    ----------
    table : Dataset or callable
        A table of either form, or what gives it when it is first needed.
    """

    def __init__(self, table: xr.Dataset | Callable[[], xr.Dataset]) -> None:
        self._table, self._lock = table, Lock()
        self._loaded: _Columns | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return TableHeaders, (self._table,)

    @property
    def _columns(self) -> _Columns:
        with self._lock:
            if self._loaded is None:
                self._loaded = _columns_of(self._table() if callable(self._table) else self._table)
            return self._loaded

    def _elements(self, name: str, instance: int) -> dict[str, Any]:
        columns = self._columns
        own = json.loads(str(columns.texts[name][columns.row[int(instance)]]))
        return {**columns.shared[name], **own}

    def renamed(self, instance: int) -> bool:
        """Whether the images were de-identified before they were saved: they have UIDs that were made for them."""
        return self._columns.made is not None

    def uid_of(self) -> MadeUids | None:
        """Maker of the UIDs of what is computed from de-identified images; None of others."""
        key = self._columns.made
        return MadeUids(bytes.fromhex(key)) if key else None

    def instances(self) -> list[int]:
        """Digests of all images of the table."""
        return list(self._columns.row)

    def one_of_each(self, instances: Sequence[int], telling: Telling) -> list[int]:
        """One of the images for each way in which their headers say some elements."""
        found: dict[str, int] = {}
        for digest in instances:
            elements = self._elements("header", digest)
            found.setdefault(json_text({t: v for t, v in elements.items() if telling(int(t, 16))}), digest)
        return list(found.values())

    def has(self, instance: int) -> bool:
        """Whether this image is in the table."""
        return int(instance) in self._columns.row

    def dataset(self, instance: int) -> pydicom.Dataset:
        """One image's whole header, made anew (explicit VR little endian)."""
        ds = header_from(self._elements("header", instance))
        ds.file_meta = file_meta_from(self._elements("file_meta", instance))
        return ds

    def stored(self, instance: int) -> NDArray[Any] | None:
        """Return None: only a digest of the pixels is in the table."""
        return None

    def place(self, instance: int) -> Place | None:
        """Return None: the pixels that the place is asked for are not in the table."""
        return None

    def identity(self, instance: int) -> tuple[int, int]:
        """Digests of the patient and of the study of the image."""
        return identity_of_header(self.dataset(instance))

    def pixel_digest(self, instance: int) -> str:
        """Digest of one image's stored values; see `imagedata_xr.dicom.pixels.digests`."""
        columns = self._columns
        return str(columns.texts["pixels"][columns.row[int(instance)]])

    def same_pixels(self, instance: int, stored: NDArray[Any]) -> bool:
        """Whether these stored values are those of the source."""
        return has_digest(stored, self.pixel_digest(instance))

    def original(self, instance: int) -> pydicom.Dataset | None:
        """Return None: the pixel data are not in the table."""
        return None
