"""Writing an image, with the table of its headers, as zarr or netCDF; in bounded memory, chunk by chunk."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..errors import FormatError, SourceError, warn
from ..model.image import NAME, as_image, volume_dims
from .seam import WriteOptions, Written
from .storable import HEADERS, as_objects
from .whole import Whole, check_room
from .whole_folder import WholeFolder, WholePack

CHUNK_BYTES = 8 << 20  # where an image has no chunks of its own: whole slices up to about this size
_OPTIONS = ("chunks", "headers")


def prepared(image: xr.DataArray, options: WriteOptions) -> tuple[xr.DataArray, dict[str, int]]:
    """Image in chunks, as dask has it, and the length of its chunks.

    Raises
    ------
    FormatError
        For options that there are not, and values that are none of an image.
    """
    if unknown := sorted(set(options.format_options) - set(_OPTIONS)):
        raise FormatError(f"unknown format options {unknown}: there are {', '.join(_OPTIONS)}")
    image = as_image(image)
    if image.dtype.kind not in "biufc":
        raise FormatError(f"values of type {image.dtype} are none of an image")
    named = {"units": options.units, "SeriesDescription": options.series_description}
    image = image.assign_attrs({name: value for name, value in named.items() if value is not None})
    chunks = _chunks(image, options.format_options.get("chunks"))
    return image.chunk(chunks), chunks


def _chunks(image: xr.DataArray, asked: Mapping[str, int] | None) -> dict[str, int]:
    """Lengths of the chunks: those asked for, those in which the image is read, else whole slices."""
    sizes = {str(d): max(n, 1) for d, n in image.sizes.items()}
    if asked is not None:
        if wrong := [d for d, n in asked.items() if d not in sizes or int(n) < 1]:
            raise FormatError(f"chunks={dict(asked)}: {wrong} are no dims of the image, which has {dict(image.sizes)}")
        return {d: min(n, int(asked.get(d, n))) for d, n in sizes.items()}
    preferred = image.encoding.get("preferred_chunks") or {}
    if set(preferred) >= set(sizes):
        return {d: min(n, int(preferred[d])) for d, n in sizes.items()}
    out = dict(sizes)
    for d in (*volume_dims(image), "slice"):
        if d in out:
            per_step = int(np.prod([n for e, n in out.items() if e != d])) * image.dtype.itemsize
            out[d] = int(np.clip(CHUNK_BYTES // per_step, 1, sizes[d]))
    return out


def run(job: Callable[[], Written], options: WriteOptions) -> Any:
    """Do a job now, or return it as a dask ``Delayed`` where ``options.compute`` is false."""
    if options.compute:
        return job()
    from dask.delayed import delayed

    return delayed(job, pure=False, traverse=False)()


def _table(image: xr.DataArray, options: WriteOptions) -> xr.Dataset | None:
    """Header table of an image; None, with a warning, where the headers can't be reached."""
    from ..dicom.headers.lookup import headers_of
    from ..dicom.headers.table import header_table, own_instances

    own = own_instances(image)
    if not own or not options.format_options.get("headers", True):
        return None
    try:
        headers = headers_of(image)
        if headers is not None and not any(map(headers.has, own)):
            return None
        if headers is not None:
            table = header_table(image, shared=True)
            return table.assign({n: (v.dims, as_objects(v.values), v.attrs) for n, v in table.data_vars.items()})
        why = "the source of the image is unknown or gone"
    except SourceError as error:
        why = str(error)
    warn(f"the headers are not in what was written, only labels and attributes: {why}")
    return None


def write_zarr(
    ds: xr.Dataset,
    image: xr.DataArray,
    chunks: Mapping[str, int],
    whole: WholeFolder | WholePack,
    options: WriteOptions,
) -> Written:
    """Write the Dataset of an image and its headers into a zarr store."""
    table = _table(image, options)
    ds.attrs[HEADERS] = HEADERS if table is not None else ""
    encoding = _no_fill_values(ds)
    encoding.setdefault(NAME, {})["chunks"] = tuple(chunks[str(d)] for d in image.dims)
    with whole.stage() as place, _progress(options):
        settings: dict[str, Any] = {"zarr_format": 3, "consolidated": False}
        ds.to_zarr(place, mode="w", encoding=encoding, **settings)
        if table is not None:
            table.to_zarr(place, mode="a", group=HEADERS, **settings)
        _consolidate(place)
        size = _size(place)
    return Written("zarr", (whole.shown,), 1, size)


def _no_fill_values(ds: xr.Dataset) -> dict[Any, dict[str, Any]]:
    # xarray would declare NaN to be one
    return {n: {"_FillValue": None} for n, v in ds.variables.items() if v.dtype.kind in "fc"}


def _consolidate(place: Path) -> None:
    """Gather the metadata in one file: quick to open from remote stores, and what ``xr.open_zarr`` expects."""
    import zarr

    with warnings.catch_warnings():
        # zarr says that this is no part of the specification yet; those who don't know it can do without
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        for group in (HEADERS, None):
            if group is None or (place / group).is_dir():
                zarr.consolidate_metadata(str(place), path=group, zarr_format=3)


def _size(place: Path) -> int:
    return sum(p.stat().st_size for p in place.rglob("*") if p.is_file())


def write_netcdf(
    ds: xr.Dataset, image: xr.DataArray, chunks: Mapping[str, int], whole: Whole, options: WriteOptions
) -> Written:
    """Write the Dataset of an image and its headers into a netCDF file."""
    table = _table(image, options)
    ds.attrs[HEADERS] = HEADERS if table is not None else ""
    encoding = _no_fill_values(ds)
    sizes = tuple(chunks[str(d)] for d in image.dims)
    encoding.setdefault(NAME, {}).update({"zlib": True, "complevel": 1, "shuffle": True, "chunksizes": sizes})
    if 0 in image.shape:
        encoding.pop(NAME)
    with whole.files() as places, _progress(options):
        place = places[whole.names[0]]
        check_room(place, image.nbytes + (0 if table is None else table.nbytes))
        ds.to_netcdf(place, mode="w", engine="h5netcdf", format="NETCDF4", encoding=encoding)
        if table is not None:
            table.to_netcdf(place, mode="a", engine="h5netcdf", format="NETCDF4", group=HEADERS)
        size = place.stat().st_size
    return Written("netcdf", (whole.shown(whole.names[0]),), 1, size)


def _progress(options: WriteOptions) -> Any:
    """Context that reports the tasks done to ``options.progress``; dask's own schedulers only."""
    if options.progress is None:
        return nullcontext()
    from dask.callbacks import Callback

    report = options.progress

    def start(dsk: Any) -> None:
        counts.update(total=counts["total"] + len(dsk))

    def done(*_: Any) -> None:
        counts.update(done=counts["done"] + 1)
        report(counts["done"], max(counts["total"], counts["done"]))

    counts = {"done": 0, "total": 0}
    return Callback(start=start, posttask=done)  # type: ignore[no-untyped-call]
