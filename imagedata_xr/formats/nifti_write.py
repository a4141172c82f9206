"""Writing NIfTI: header, voxels volume by volume, and sidecars.

The axes of the file are columns, rows backwards, slices (the layout of dcm2niix), with sform and qform of one matrix.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..errors import FormatError, warn
from ..model import geometry
from ..model.image import affine, as_image, axis_of, canonical, space_of, volume_dims
from . import nifti_json, outgoing
from .fit import Fit, first_type, float_type
from .seam import WriteOptions, Written, check_format_options
from .sidecar import EXTENSIONS
from .whole import Whole

RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])


@dataclass
class Plan:
    """All that is known before the voxels are read.

    Attributes
    ----------
    image : DataArray
        Canonical.
    affine : ndarray, shape (4, 4), or None
        Of the file: index (col, row, slice) to RAS mm.
    zooms : tuple of float
        mm, mm, mm, and the interval of the volumes in s (0 where there is none).
    start : float
        Time of the first volume, s.
    """

    image: xr.DataArray
    affine: NDArray[np.float64] | None
    zooms: tuple[float, float, float, float]
    start: float

    @property
    def counts(self) -> tuple[int, ...]:
        """Lengths of the volume dims."""
        return tuple(self.image.sizes[d] for d in volume_dims(self.image))

    @property
    def count(self) -> int:
        """Volumes."""
        return int(np.prod(self.counts))

    @property
    def flipped(self) -> bool:
        """Whether the rows run backwards; without a place in the patient nothing would turn them again."""
        return self.affine is not None

    @property
    def rgb(self) -> bool:
        """Whether it is a colour image."""
        return "rgb" in self.image.dims

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the file's array."""
        spatial = tuple(self.image.sizes[n] for n in ("col", "row", "slice"))
        return (*spatial, self.count) if self.count > 1 else spatial


def write(image: xr.DataArray, target: str, options: WriteOptions) -> Any:
    """Write an image as NIfTI, with a BIDS ``.json`` and, for diffusion, ``.bval`` and ``.bvec`` beside it.

    Several volume dims are flattened into the fourth axis in C order; the JSON has the values of each as lists.
    Integers that the image was stored as are stored again while all values fit; otherwise float32 (float64 for
    float64 data). Volumes are computed one by one; the sequence begins anew where a volume does not fit the type
    tried.

    Parameters
    ----------
    image : DataArray
    target : str
        Path or URL ending in ``.nii`` or ``.nii.gz``.
    options : WriteOptions

    Returns
    -------
    Written or dask.delayed.Delayed

    Raises
    ------
    FormatError
        If NIfTI can't hold the image.
    GeometryError
        If slices are uneven, or the position along an axis is lost.
    FileExistsError
        If the image or a sidecar exists and ``options.overwrite`` is false.
    """
    extension = next((e for e in (".nii.gz", ".nii") if str(target).lower().endswith(e)), None)
    if extension is None:
        raise FormatError(f"a NIfTI file is called .nii or .nii.gz, not {os.path.basename(str(target))!r}")
    plan = prepare(image)
    name = os.path.basename(str(target))
    stem = name[: -len(extension)]
    texts: dict[str, str] = {}
    check_format_options(options.format_options, ("sidecars", "compresslevel"), "writing NIfTI")
    if options.format_options.get("sidecars", True):
        texts = nifti_json.sidecars(plan.image, plan.affine, options)
    other = {".nii": ".nii.gz", ".nii.gz": ".nii"}[extension]
    stale = [stem + e for e in EXTENSIONS if e not in texts]
    whole = Whole(str(target), [*(stem + e for e in texts), name], stale, options.overwrite, options.storage_options)
    if whole.fs.exists(whole.path(stem + other)) and texts:
        raise FileExistsError(f"{whole.shown(stem + other)} exists, and would share its sidecars: choose another name")
    job = partial(_write, plan, whole, {stem + e: t for e, t in texts.items()}, options)
    if options.compute:
        return job()
    from dask.delayed import delayed

    return delayed(job, pure=False)()


def _write(plan: Plan, whole: Whole, texts: dict[str, str], options: WriteOptions) -> Written:
    with whole.files() as places:
        name = whole.names[-1]
        for side, text in texts.items():
            places[side].write_text(text, encoding="utf-8", newline="\n")
        _write_image(plan, places[name], name.lower().endswith(".gz"), options)
        size = sum(p.stat().st_size for p in places.values())
    paths = tuple(whole.shown(n) for n in (whole.names[-1], *whole.names[:-1]))
    return Written("nifti", paths, len(paths), size)


# --- what the image is as NIfTI -----------------------------------------------------------------------------------


def prepare(image: xr.DataArray) -> Plan:
    """Check that NIfTI can hold an image, and compute what its header needs."""
    if "segment" in image.dims:
        raise FormatError("NIfTI has no segments: write one, image.sel(segment=n), or a map of labels")
    image = canonical(as_image(image))
    if image.dtype.kind not in "biufc" or image.dtype.itemsize > (16 if image.dtype.kind == "c" else 8):
        raise FormatError(f"NIfTI holds no values of type {image.dtype}")
    if "rgb" in image.dims and (image.dtype != np.uint8 or image.sizes["rgb"] != 3):
        raise FormatError(f"NIfTI holds colour as 3 values of uint8, not {image.sizes['rgb']} of {image.dtype}")
    if 0 in image.shape:
        raise FormatError(f"the image is empty, its shape is {image.shape}")
    interval, start = nifti_json.interval(image)
    matrix = None
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0)
    if space_of(image) is None:
        warn("the image has no place in the patient: the NIfTI file gets none either (sform and qform codes are 0)")
        for axis in geometry.AXES:
            axis_of(image, axis)
    else:
        lps = affine(image)
        lps[:3, 3] += (image.sizes["row"] - 1) * lps[:3, 1]
        lps[:3, 1] *= -1
        matrix = geometry.to_ras(lps)
        spacing = tuple(np.linalg.norm(matrix[:3, :3], axis=0).tolist())
        if _is_sheared(matrix):
            warn(
                "the slices are not perpendicular to their stack (tilted gantry): only the sform of the NIfTI file "
                "says so, the qform can't; some programs refuse such files"
            )
    return Plan(image, matrix, (spacing[0], spacing[1], spacing[2], interval), start)


def header_of(plan: Plan, dtype: np.dtype[Any]) -> Any:
    """Make the header of nibabel for values of one type."""
    import nibabel as nib

    kind: Any = nib.Nifti2Header if max(plan.shape) > 32767 else nib.Nifti1Header
    header = kind(endianness="<")
    header.set_data_dtype(RGB if plan.rgb else dtype)
    header.set_data_shape(plan.shape)
    header.set_xyzt_units("mm" if plan.affine is not None else "unknown", "sec")
    header["pixdim"][1:5] = plan.zooms
    header["toffset"] = plan.start
    header["scl_slope"], header["scl_inter"] = 1, 0
    if plan.affine is not None:
        _set_forms(header, plan.affine)
    header["magic"] = b"n+1" if header.sizeof_hdr == 348 else b"n+2"
    header["vox_offset"] = header.sizeof_hdr + 4
    return header


def _set_forms(header: Any, matrix: NDArray[np.float64]) -> None:
    header.set_sform(matrix, code=1)
    if not _is_sheared(matrix):
        zooms = header["pixdim"][1:4].copy()
        header.set_qform(matrix, code=1, strip_shears=True)  # by less than what counts as shear
        header["pixdim"][1:4] = zooms


def _is_sheared(matrix: NDArray[np.float64]) -> bool:
    u = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    return bool(np.abs(u.T @ u - np.eye(3)).max() > 1e-4)


# --- voxels -------------------------------------------------------------------------------------------------------


def volumes_of(plan: Plan) -> Iterator[NDArray[Any]]:
    """Volumes in C order of the volume dims, each (slice, row, col[, rgb]), rows as in the file."""
    for volume in outgoing.volumes_of(plan.image):
        yield volume[:, ::-1] if plan.flipped else volume


def _write_image(plan: Plan, place: Path, packed: bool, options: WriteOptions) -> None:
    fit = Fit(plan.image)
    while True:
        dtype = fit.dtype
        with place.open("wb") as raw:
            if not packed:
                done = _stream(plan, raw, fit, options)
            else:
                level = int(options.format_options.get("compresslevel", 1))
                with gzip.GzipFile(filename="", mode="wb", compresslevel=level, fileobj=raw, mtime=0) as f:
                    done = _stream(plan, f, fit, options)
        if done:
            return
        if fit.dtype == dtype:
            raise FormatError(f"no type of NIfTI holds the values of the image; {dtype} was the last one tried")


def _stream(plan: Plan, f: IO[bytes] | gzip.GzipFile, fit: Fit, options: WriteOptions) -> bool:
    """Write header and volumes; False as soon as one does not fit the type."""
    dtype = fit.dtype.newbyteorder("<")
    f.write(header_of(plan, fit.dtype).binaryblock + bytes(4))  # no extensions
    for k, volume in enumerate(volumes_of(plan)):
        if not plan.rgb and not fit.take(volume):
            return False
        f.write(np.ascontiguousarray(volume.astype(dtype, copy=False)).data)
        if options.progress is not None:
            options.progress(k + 1, plan.count)
    return True


def to_nibabel(image: xr.DataArray) -> Any:
    """Image of nibabel; see `imagedata_xr.formats.nifti.to_nibabel`."""
    import nibabel as nib

    plan = prepare(image)
    fit = Fit(plan.image)
    lead = len(plan.counts)
    data = plan.image.variable
    if plan.image.chunks is None:
        values = [v.copy() for v in volumes_of(plan)]
        while not (plan.rgb or all(fit.take(v) for v in values)):
            continue
        array: Any = np.stack(values).astype(np.uint8 if plan.rgb else fit.dtype)
    else:
        lazy = data.data.reshape((plan.count, *data.shape[lead:]))
        lazy = lazy[:, :, ::-1] if plan.flipped else lazy
        dtype = plan.image.dtype
        fit.dtype = float_type(dtype) if dtype.kind == "f" else first_type(plan.image)
        if dtype.kind in "iu" and dtype.itemsize == 8:
            fit.dtype = dtype  # whether another type holds them is not known before they are computed
        array = lazy.astype(fit.dtype)
    array = array.transpose(3, 2, 1, 0, *range(4, array.ndim))
    if plan.rgb:
        array = np.ascontiguousarray(array).view(RGB)[..., 0]
    if plan.count == 1:
        array = array[..., 0]
    header = header_of(plan, fit.dtype)
    kind: Any = nib.Nifti2Image if header.sizeof_hdr == 540 else nib.Nifti1Image
    img = kind(array, plan.affine, header)
    img.header["magic"] = header["magic"]
    return img
