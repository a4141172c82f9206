"""NIfTI-1 and NIfTI-2, with the sidecars of BIDS and FSL."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from ..errors import FormatError, SourceError
from ..model.geometry import AXES, to_ras
from ..model.image import build
from ..stores.files import stamped
from ..stores.ranges import Gzip, Plain, open_ranges
from ..stores.url import File, file_name
from . import nifti_labels, nifti_write, sidecar, volumes
from .nifti_header import Header, from_header, is_nifti, parse
from .parts import check_packed
from .phase_encoding import from_file
from .raw_array import ProxyArray, RawArray, value_dtype
from .seam import Facts, Node, ReadOptions, WriteOptions, check_format_options
from .several import read_each

EXTENSIONS = (".nii", ".nii.gz")
_HEADS = (".nii", ".nii.gz", ".hdr", ".hdr.gz")
_VOXELS = (".img", ".img.gz")
_NAMED = (*_HEADS, *_VOXELS, *sidecar.EXTENSIONS)


class Nifti:
    """NIfTI-1 (NIfTI-2 where an axis is longer than 32767), single files and pairs, plain and gzipped.

    Format options for reading: ``form``, which of the file's affines is taken (``"best"``, ``"sform"``, ``"qform"``,
    ``"none"``). For writing: ``compresslevel`` (1, the quickest, to 9) and ``sidecars=False``, which leaves out
    ``.json``, ``.bval`` and ``.bvec``.
    """

    name = "nifti"
    extensions = EXTENSIONS
    description = "NIfTI-1 and NIfTI-2 with BIDS and FSL sidecars"

    def recognise(self, files: Sequence[File]) -> list[File]:
        """Return NIfTI images, their ``.img``, and the sidecars beside them, judged by name and first bytes."""
        named = [f for f in files if f.path.lower().endswith(_NAMED)]  # of a thousand DICOM files none is
        heads = {(id(f.fs), f.path) for f in named if _split(f.path)[1] in _HEADS and _is_ours(f)}
        stems = {(fs, _split(path)[0]) for fs, path in heads}
        beside = (*_VOXELS, *sidecar.EXTENSIONS)
        return [
            f
            for f in named
            if (id(f.fs), f.path) in heads or (_split(f.path)[1] in beside and (id(f.fs), _split(f.path)[0]) in stems)
        ]

    def read(self, files: Sequence[File], options: ReadOptions) -> list[Node]:
        """Read headers and sidecars; one node per image.

        Raises
        ------
        SourceError
            If a file is damaged (with ``errors="warn"``: if all are; else they are named in one warning).
        SortError
            If the volumes can't be ordered as asked.
        SeriesError
            If ``series`` selects none of the images.
        """
        check_format_options(options.format_options, ("form",), "reading NIfTI")
        heads = [f for f in files if _split(f.path)[1] in _HEADS]
        if not heads:
            raise SourceError("none of the files is a NIfTI image (.nii, .nii.gz, or .hdr with .img)")
        return read_each(heads, _HEADS, options, lambda file, key: _node(file, files, options, key))

    def write(self, image: xr.DataArray, target: str, options: WriteOptions) -> Any:
        """Write one image with its sidecars; see `nifti_write.write`."""
        return nifti_write.write(image, target, options)


def _split(path: str) -> tuple[str, str]:
    """Path without its extension, and the extension in lower case (``.nii.gz`` is one)."""
    lower = path.lower()
    for extension in _NAMED:
        if lower.endswith(extension) and (extension + ".gz" not in _HEADS or not lower.endswith(".gz")):
            return path[: -len(extension)], extension
    return path, ""


def _is_ours(file: File) -> bool:
    # a damaged file with our name is ours: reading it says what is wrong
    ours = _split(file.path)[1] in EXTENSIONS
    try:
        head = open_ranges(file).head(352)
    except SourceError:
        return ours
    return is_nifti(head) or (ours and head[128:132] != b"DICM")


def _stem(file: File) -> str:
    return os.path.basename(_split(file.path)[0])


def _beside(file: File, files: Sequence[File], extensions: Sequence[str]) -> dict[str, File]:
    """Files with the same stem: among those given, else in the same folder."""
    stem = _split(file.path)[0]
    found = {e: f for f in files for s, e in [_split(f.path)] if f.fs is file.fs and s == stem and e in extensions}
    for e in extensions:
        if e not in found and file.fs.exists(stem + e):
            found[e] = File(file.fs, stem + e)
    return found


def _node(file: File, files: Sequence[File], options: ReadOptions, key: str | int) -> Node:
    name = file_name(file)
    header = parse(open_ranges(file).head(540), name, options.format_options.get("form", "best"))
    voxels = file
    if header.pair:
        partners = _beside(file, files, _VOXELS)
        if not partners:
            raise SourceError(f"{name} is the header of a pair, and the file with its voxels (.img) is missing")
        voxels = stamped(next(iter(partners.values())))
    source = open_ranges(voxels, header.size)
    if not source.compressed:
        size = voxels.fs.info(voxels.path).get("size")
        if size is not None and size < header.size:
            raise SourceError(f"{file_name(voxels)} is truncated: it has {size} of {header.size} bytes")
    else:
        check_packed(voxels, 0, "zlib", header.size, header.stored)
    beside = _beside(file, files, sidecar.EXTENSIONS)
    stem = _stem(file)
    return Node(
        parts=("", "", stem),
        dataset=partial(_open, name, header, source, beside, options),
        title=f"{stem}: {' x '.join(map(str, header.shape))} (columns, rows, slices, volumes)",
        select=f"series={key!r}",
        facts=partial(Facts, series=key, files=tuple(dict.fromkeys((file, voxels, *beside.values())))),
    )


def _open(
    name: str, header: Header, source: Plain | Gzip, beside: Mapping[str, File], options: ReadOptions
) -> xr.Dataset:
    cars = sidecar.read_sidecars(beside)
    how = nifti_labels.arrangement(header, cars, options, name)
    array = RawArray(
        source=source,
        offset=header.offset,
        stored=header.stored,
        volumes=how.numbers,
        grid=_grid(header),
        flip_rows=header.axes[2],
        slope=header.slope if options.mask_and_scale else 1.0,
        inter=header.inter if options.mask_and_scale else 0.0,
        dtype=_dtype(header, options.mask_and_scale),
        wanted=None if options.dtype is None else np.dtype(options.dtype),
    )
    return _dataset(array, header, cars, how, options.source or name)


def _grid(header: Header) -> tuple[int, ...]:
    cols, rows, slices = header.shape[:3]
    return (slices, rows, cols, 3) if header.rgb else (slices, rows, cols)


def _dtype(header: Header, scale: bool) -> np.dtype[Any]:
    if header.rgb or not scale:
        return header.stored.newbyteorder("=")
    return value_dtype(header.stored)


def _dataset(array: Any, header: Header, cars: sidecar.Sidecars, how: volumes.Arrangement, source: str) -> xr.Dataset:
    axes, space, _ = header.axes
    coords: dict[str, Any] = dict(how.coords)
    dims = [v.dim for v in how.volumes]
    timing = nifti_labels.slice_timing(cars.json, header.shape[2])
    if timing is not None:
        coords["slice_time"] = ([*dims, "slice"], np.broadcast_to(timing, (*how.numbers.shape, timing.size)).copy())
    coords["source"] = ((), np.array(source, dtype=np.dtypes.StringDType()))
    encoding = {
        "preferred_chunks": {**dict.fromkeys(dims, 1), **dict(zip(AXES, _grid(header), strict=False))},
        "stored_dtype": str(header.stored.newbyteorder("=")),
        "bits_stored": header.stored.itemsize * 8,
    }
    return build(
        array,
        volumes=how.volumes,
        axes=axes,
        space=space,
        coords=coords,
        attrs=sidecar.header_attrs(cars.json) | _phase_encoding(header, cars),
        encoding=encoding,
    )


def _phase_encoding(header: Header, cars: sidecar.Sidecars) -> dict[str, Any]:
    if header.affine is None:
        return {}
    return from_file(cars.json, to_ras(header.affine), [header.shape[k] for k in range(3)])


def to_nibabel(image: xr.DataArray) -> Any:
    """Image of nibabel, with the same axes, affine and type as `Nifti.write` gives a file.

    Parameters
    ----------
    image : DataArray

    Returns
    -------
    nibabel.Nifti1Image
        Or Nifti2Image, where an axis is longer than 32767. A dask array stays one. b-values and the like, which NIfTI
        keeps in sidecars, are not in it.
    """
    return nifti_write.to_nibabel(image)


def from_nibabel(img: Any, order: str = "auto") -> xr.Dataset:
    """Labelled image of a nibabel image.

    Parameters
    ----------
    img : nibabel.Nifti1Image or nibabel.Nifti2Image
        Voxels are read when asked for, if nibabel has not read them yet.
    order : str
        What the volumes are ordered by, as in `xarray.open_dataset`.

    Returns
    -------
    xarray.Dataset

    Raises
    ------
    FormatError
        If it is an image of another kind.
    """
    import nibabel as nib

    if not isinstance(img, nib.Nifti1Pair | nib.Nifti2Pair):
        raise FormatError(
            f"from_nibabel takes NIfTI images, not {type(img).__name__}: nibabel.Nifti1Image.from_image(img) converts"
        )
    name = "the nibabel image"
    nifti: Any = img
    found = nifti.header.copy()
    found.set_data_shape(img.shape)
    header = from_header(found, name)
    cars = sidecar.Sidecars({})
    if len(header.shape) > 4:
        raise FormatError(f"{name} has {len(header.shape)} axes: select one index of the fifth first")
    how = nifti_labels.arrangement(header, cars, ReadOptions(order=order), name)
    data = nifti.dataobj
    dtype = header.stored if header.rgb else value_dtype(np.dtype(data.dtype))
    array = ProxyArray(data, how.numbers.size, _grid(header), header.axes[2], dtype)
    return _dataset(array, header, cars, how, img.get_filename() or "")
