"""Write an image as a DICOM series: unchanged images as they were, others as valid derived ones.

Images are made one after the other, from blocks of the array that fit in memory, into a folder that appears when all
are whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
import pydicom
import xarray as xr
from numpy.typing import NDArray
from pydicom.datadict import tag_for_keyword

from ...errors import FormatError, IdentityError, SourceError, warn
from ...formats.seam import WriteOptions, Written
from ...model.image import canonical, volume_dims
from ...stores.registry import store_of
from ..headers.header import Headers
from ..headers.lookup import headers_by_source, headers_elsewhere, headers_of_planes
from .asked import KINDS, Asked, asked_of, check_kind
from .derived import Series
from .fields import from_attrs, moment
from .files_out import check_target
from .identity_out import Identity, identity_of
from .job import Job
from .labels_out import Labels, check_b_values, labels_of
from .masks_out import write_masks
from .objects_out import Origin, need_highdicom
from .parametric_out import write_map
from .place_out import place_of
from .segments_out import is_of_segmentation, write_segmentation
from .stable_uids import StableUids, key_of
from .uids import made_by


def write(image: xr.DataArray, target: str, options: WriteOptions) -> Any:
    """Write an image as a new DICOM series, one file per image.

    Parameters
    ----------
    image : xarray.DataArray
        With the dims of the data model, in any order.
    target : str
        Folder, local or of any fsspec file system; the name of one file that ends with ``.dcm`` or ``.ima``; or a
        folder with a pattern of names, such as ``out/im_%05d.dcm``.
    options : WriteOptions
        Its ``format_options`` are those of `asked.Asked`: ``sop_class``, ``layout``, ``names``, ``dicomdir``,
        ``keep_private``, ``character_set`` and ``transfer_syntax``.

    Returns
    -------
    Written, or dask.delayed.Delayed that yields it where ``options.compute`` is false

    Raises
    ------
    FormatError
        Where DICOM can't hold the image, or ``keep_uid`` is asked for and an image is not unchanged; before anything is
        written.
    GeometryError
        Where the place of the pixels is lost.
    FileExistsError
        Where the target is there and ``options.overwrite`` is false.
    """
    _check_options(options)
    _check_old_uids(str(target), options)
    whole = canonical(image)
    of_segments = options.kind is None and is_of_segmentation(whole)
    check_kind(KINDS[0] if of_segments else options.kind, options.format_options)
    asked, folder = asked_of(options.format_options, str(target))
    check_target(folder, options.overwrite, options.storage_options)
    if options.kind is None:
        job: Callable[[], Written] = (_segmentation if of_segments else _job)(whole, folder, options, asked)
    else:
        job = _object(whole, folder, options, asked)
    if (key := key_of(headers_by_source(whole))) is not None:
        job = partial(_run_with, StableUids(key, whole, _content_asked(options, asked)), job)
    if options.compute:
        return job()
    from dask.delayed import delayed

    return delayed(job, pure=False, traverse=False)()


def _run_with(uids: StableUids, job: Callable[[], Written]) -> Written:
    with made_by(uids.again()):
        return job()


def _content_asked(options: WriteOptions, asked: Asked) -> str:
    """What is asked for that decides upon the content of files, not upon their names and places."""
    said = {k: v for k, v in vars(asked).items() if k not in ("names", "dicomdir")}
    wanted = (options.kind, options.series_number, options.series_description, options.image_type, options.units)
    return repr((sorted((k, repr(v)) for k, v in said.items()), wanted))


def _check_options(options: WriteOptions) -> None:
    changes = {"series_number": options.series_number, "series_description": options.series_description}
    asked = [name for name, value in {**changes, "image_type": options.image_type}.items() if value is not None]
    if options.keep_uid and asked:
        raise FormatError(f"keep_uid=True leaves every element as it is, so {', '.join(asked)} can't be given with it")


def _check_old_uids(target: str, options: WriteOptions) -> None:
    """Refuse to send images under UIDs that an archive may hold already."""
    store = store_of(target)
    if (
        store is not None
        and store.identified
        and options.keep_uid
        and not (options.storage_options or {}).get("resend")
    ):
        raise FormatError(
            f"keep_uid=True sends images under UIDs that {store.name(target)} may hold already, and archives differ in "
            "what they do then: storage_options={'resend': True} says that this is meant"
        )


def _segmentation(image: xr.DataArray, target: str, options: WriteOptions, asked: Asked) -> Callable[[], Written]:
    """Segmentations are written as they were read, or anew where they were changed."""
    origin = _origin(image, target, options, asked)
    anew = partial(write_masks, image, origin, target, options, asked)
    return partial(write_segmentation, image, origin, target, options, asked, anew)


def _object(image: xr.DataArray, target: str, options: WriteOptions, asked: Asked) -> Callable[[], Written]:
    """Segmentation or parametric map made from an image."""
    if not image.size:
        raise FormatError(f"the image is empty: its sizes are {dict(image.sizes)}")
    if options.keep_uid:
        raise FormatError(f"keep_uid=True keeps images as they are, and kind={options.kind!r} makes a new one of them")
    need_highdicom(f"kind={options.kind!r}")
    make = write_masks if options.kind == KINDS[0] else write_map
    return partial(make, image, _origin(image, target, options, asked), target, options, asked)


def _origin(image: xr.DataArray, target: str, options: WriteOptions, asked: Asked) -> Origin:
    headers, instances, _ = _own_headers(image)
    attrs = from_attrs(image.attrs)
    return Origin(headers, instances, attrs, _series(image, target, options, asked, headers, instances, attrs, None))


def _job(image: xr.DataArray, target: str, options: WriteOptions, asked: Asked) -> Job:
    if image.dtype.kind not in "biuf":
        advice = ": write abs(image) and the phase as two series" if image.dtype.kind == "c" else ""
        raise FormatError(f"values of type {image.dtype} are none of a DICOM image{advice}")
    if not image.size:
        raise FormatError(f"the image is empty: its sizes are {dict(image.sizes)}")
    headers, instances, averaged = _own_headers(image)
    attrs = from_attrs(image.attrs)
    labels = labels_of(image)
    if headers is not None:
        check_b_values(labels, averaged, headers)
    series = _series(image, target, options, asked, headers, instances, attrs, labels)
    return Job(image, target, options, asked, headers, instances, attrs, series)


def _series(
    image: xr.DataArray, target: str, options: WriteOptions, asked: Asked, headers: Headers | None,
    instances: NDArray[np.int64], attrs: pydicom.Dataset, labels: Labels | None,
) -> Series:  # fmt: skip
    """Whose the new series is, where it lies, and what it is called."""
    place = place_of(image)
    edits = _words(image.attrs.get("assigned_elements"))
    keep = {tag_for_keyword(k) for k in edits} - {None}
    assigned = pydicom.Dataset()
    for element in attrs:
        if element.tag in keep:
            assigned[element.tag] = element
    identity = identity_of(image, attrs, image.attrs, _lineage(image, instances))
    _check_identified(identity, target)
    return Series(
        place=place,
        labels=labels if labels is not None else Labels((instances.shape[0], instances.shape[1])),
        identity=identity,
        now=_now(attrs),
        number=_number(options.series_number, assigned, attrs, headers, instances),
        description=options.series_description,
        image_type=_words(options.image_type) or None,
        units=options.units if options.units is not None else str(image.attrs.get("units", "") or ""),
        assigned=assigned,
        edits=frozenset(edits),
        keep_private=asked.keep_private,
        character_set=asked.character_set,
    )


def _check_identified(identity: Identity, target: str) -> None:
    """Raise `IdentityError` where an archive of images would get an image of which the patient is not known."""
    store = store_of(target)
    if store is not None and store.identified and not identity.patient:
        raise IdentityError(
            f"{store.name(target)} files images by their patient, and the patient of this image is not known for "
            "certain: template= says whose it is"
        )


def _now(attrs: pydicom.Dataset) -> datetime:
    """When the series is made; of de-identified images the moment of their study: the true one would tell theirs."""
    if str(attrs.get("LongitudinalTemporalInformationModified") or "") in ("MODIFIED", "REMOVED"):
        return moment(attrs, "StudyDate", "StudyTime") or datetime(1900, 1, 1)
    return datetime.now()


def _words(value: Any) -> list[str]:
    if value is None:
        return []
    return [w for w in value.split("\\") if w] if isinstance(value, str) else [str(v) for v in value]


def _own_headers(image: xr.DataArray) -> tuple[Headers | None, NDArray[np.int64], NDArray[np.bool_]]:
    """Where the headers of the images are, the digest of each image's own one (0 for none), and which were averaged."""
    dims = [*volume_dims(image), "slice"]
    sizes = [image.sizes[d] for d in dims]
    none = np.zeros((int(np.prod(sizes[:-1])), sizes[-1]), dtype=np.int64)
    coord = image.coords.get("instance")
    if coord is None or not set(coord.dims) <= set(dims):
        return None, none, none > 0
    values = coord.variable.set_dims(dict(zip(dims, sizes, strict=True))).transpose(*dims).values.reshape(none.shape)
    if values.dtype.kind == "f":
        values = np.where(np.isfinite(values), values, 0)
    named = values != 0
    digests = np.where(values % 1 == 0, values, 0).astype(np.int64)  # an averaged digest is none
    headers = headers_of_planes(image)
    known = {} if headers is None else {d: headers.has(int(d)) for d in np.unique(digests) if d}
    if headers is None or not _reachable(headers, known):
        if digests.any():
            warn(
                "the source of this image can't be reached: what is written comes from its labels and attributes, "
                "without the elements that only the whole headers have"
            )
        return None, none, none > 0
    own = np.vectorize(lambda d: d if known.get(d) else 0, otypes=[np.int64])(digests)
    return headers, own, named & (own == 0)


def _lineage(image: xr.DataArray, own: NDArray[np.int64]) -> set[tuple[int, int]]:
    """Patients and studies that single images come from, as digests; 0 for one that no known source explains.

    concat and merge with ``compat="override"`` keep the labels of the first operand for all; the images still know.
    """
    coord = image.coords.get("instance")
    if coord is None or not own.any():
        return set()
    first, others = headers_by_source(image), headers_elsewhere(image)
    found: set[tuple[int, int]] = set()
    for instance in (int(d) for d in np.unique(own) if d):
        mine = first is not None and first.has(instance)
        for headers in [first] if mine else others:
            if headers is not None and headers.has(instance):
                found.add(headers.identity(instance))
    whole = coord.dtype.kind == "i" and coord.size == own.size
    if whole and int((coord.values != 0).sum()) > int((own != 0).sum()):
        found.add((0, 0))
    return found


def _reachable(headers: Headers, known: Mapping[int, bool]) -> bool:
    """Whether the files are still there: the headers of a source are remembered when it is gone."""
    first = next((d for d, has in known.items() if has), None)
    try:
        return first is None or headers.dataset(int(first)) is not None
    except SourceError:
        return False


def _number(
    asked: int | None, assigned: pydicom.Dataset, attrs: pydicom.Dataset, headers: Headers | None,
    instances: NDArray[np.int64],
) -> int | None:  # fmt: skip
    """Series number: as asked for, as assigned, or made of that of the source."""
    if asked is not None:
        return asked
    own = assigned.get("SeriesNumber")
    return _next_number(attrs, headers, instances) if own in (None, "") else int(own)


def _next_number(attrs: pydicom.Dataset, headers: Headers | None, instances: NDArray[np.int64]) -> int | None:
    """Series number of a derived series: 1000 more than that of the source."""
    own = instances[instances > 0]
    source = attrs if "SeriesNumber" in attrs or headers is None or not own.size else headers.dataset(int(own[0]))
    try:
        return int(str(source.get("SeriesNumber") or 0)) + 1000
    except ValueError:
        return 1000
