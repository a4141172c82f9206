"""Writing NIfTI: header, voxels volume by volume, and sidecars.

The axes of the file are columns, rows backwards, slices (the layout of dcm2niix), with sform and qform of one matrix.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..errors import FormatError, warn
from ..model import geometry
from . import nifti_json
from .fit import Fit, Holds, float_type
from .outgoing import Outgoing, gzip_level, load_voxels, outgoing, raw_sink, write_voxels
from .seam import WriteOptions, Written, check_format_options
from .sidecar import EXTENSIONS
from .whole import Whole

RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])

HOLDS = Holds("NIfTI", ("u1", "i2", "u2", "i4", "f4", "f8", "i1", "u4", "c8", "c16"))
"""NIfTI has integers of 64 bits, which many of its programs do not read."""


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
    out = prepare(image)
    name = os.path.basename(str(target))
    stem = name[: -len(extension)]
    texts: dict[str, str] = {}
    check_format_options(options.format_options, ("sidecars", "compresslevel"), "writing NIfTI")
    level = gzip_level(options) if extension == ".nii.gz" else 0
    if options.format_options.get("sidecars", True):
        texts = nifti_json.sidecars(out.image, affine_ras(out), options)
    other = {".nii": ".nii.gz", ".nii.gz": ".nii"}[extension]
    stale = [stem + e for e in EXTENSIONS if e not in texts]
    whole = Whole(str(target), [*(stem + e for e in texts), name], stale, options.overwrite, options.storage_options)
    if whole.there(stem + other) and texts:
        raise FileExistsError(f"{whole.shown(stem + other)} exists, and would share its sidecars: choose another name")
    job = partial(_write, out, whole, {stem + e: t for e, t in texts.items()}, level, options)
    if options.compute:
        return job()
    from dask.delayed import delayed

    return delayed(job, pure=False)()


def _write(out: Outgoing, whole: Whole, texts: dict[str, str], level: int, options: WriteOptions) -> Written:
    with whole.files() as places:
        name = whole.names[-1]
        for side, text in texts.items():
            places[side].write_text(text, encoding="utf-8", newline="\n")
        begin = partial(_bytes_of, out)
        write_voxels(out, raw_sink(places[name], begin, packed=level), options)
        size = sum(p.stat().st_size for p in places.values())
    paths = tuple(whole.shown(n) for n in (whole.names[-1], *whole.names[:-1]))
    return Written("nifti", paths, len(paths), size)


# --- what the image is as NIfTI -----------------------------------------------------------------------------------


def prepare(image: xr.DataArray) -> Outgoing:
    """Check that NIfTI can hold an image; its rows run backwards, as those of dcm2niix."""
    out = outgoing(image, HOLDS, flip_rows=True)
    if out.sheared:
        warn(
            "the slices are not perpendicular to their stack (tilted gantry): only the sform of the NIfTI file says "
            "so, the qform can't; some programs refuse such files"
        )
    return out


def affine_ras(out: Outgoing) -> NDArray[np.float64] | None:
    """Affine of the file, from index (col, row, slice) to RAS mm."""
    return None if out.affine is None else geometry.LPS_TO_RAS @ out.affine


def header_of(out: Outgoing, dtype: np.dtype[Any]) -> Any:
    """Make the header of nibabel for values of one type."""
    import nibabel as nib

    kind: Any = nib.Nifti2Header if max(out.shape) > 32767 else nib.Nifti1Header
    header = kind(endianness="<")
    header.set_data_dtype(RGB if out.rgb else dtype)
    header.set_data_shape(out.shape)
    header.set_xyzt_units("mm" if out.affine is not None else "unknown", "sec")
    header["pixdim"][1:4] = out.spacing
    header["pixdim"][4], header["toffset"] = out.timing
    header["scl_slope"], header["scl_inter"] = 1, 0
    if out.affine is not None:
        header.set_sform(affine_ras(out), code=1)
        if not out.sheared:
            header.set_qform(affine_ras(out), code=1, strip_shears=True)  # by less than what counts as shear
        header["pixdim"][1:4] = out.spacing
    header["magic"] = b"n+1" if header.sizeof_hdr == 348 else b"n+2"
    header["vox_offset"] = header.sizeof_hdr + 4
    return header


def _bytes_of(out: Outgoing, dtype: np.dtype[Any]) -> bytes:
    return bytes(header_of(out, dtype).binaryblock + bytes(4))  # no extensions


def to_nibabel(image: xr.DataArray) -> Any:
    """Image of nibabel; see `imagedata_xr.formats.nifti.to_nibabel`."""
    import nibabel as nib

    out = prepare(image)
    data = out.image.variable.data
    if out.image.chunks is None:
        array: Any = load_voxels(out)
    else:
        lazy = data.reshape((out.count, *data.shape[len(out.counts) :]))
        array = (lazy[:, :, ::-1] if out.flipped else lazy).astype(_lazy_type(out))
    dtype = array.dtype
    array = array.transpose(3, 2, 1, 0, *range(4, array.ndim))
    if out.rgb:
        array = np.ascontiguousarray(array).view(RGB)[..., 0]
    if out.count == 1:
        array = array[..., 0]
    header = header_of(out, dtype)
    kind: Any = nib.Nifti2Image if header.sizeof_hdr == 540 else nib.Nifti1Image
    img = kind(array, affine_ras(out), header)
    img.header["magic"] = header["magic"]
    return img


def _lazy_type(out: Outgoing) -> np.dtype[Any]:
    """Type for values that are not computed: whether a smaller one holds them is not known."""
    dtype = out.image.dtype
    if dtype.kind == "f":
        return float_type(dtype)
    return dtype if dtype.kind in "iu" else Fit(out.image, HOLDS).dtype
