"""Reference files of kerchunk: an image as byte ranges of its DICOM files, opened without scanning them.

The layout is that of the fsspec reference file system (version 1), with arrays of zarr version 2.
"""

from __future__ import annotations

import base64
import json
import os
import posixpath
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.core import indexing

from ..errors import FormatError, SourceError
from ..model.image import NAME, as_image, volume_dims
from ..model.indexes import Space
from ..model.lazy import OnDemand
from ..stores.files import File, file_name, is_local, read_ranges
from .carried import NEVER, tells
from .seam import Written
from .sidecar import header_attrs, header_json, own_json
from .storable import storable
from .whole import Whole
from .whole_folder import WholeFolder

EXTENSIONS = (".json", ".parquet", ".parq")
_PLACE = {"slice", "row", "col"}


def to_references(
    image: xr.DataArray,
    url: str | os.PathLike[str],
    base: str | None = None,
    identifiers: bool = False,
    overwrite: bool = False,
    storage_options: Any = None,
) -> Written:
    """Write references to the pixels of an image; see ``.imd.to_references``."""
    from ..dicom.pixels.pixels import FrameArray
    from ..dicom.pixels.references import referred

    target = os.fspath(url)
    if not target.lower().endswith(EXTENSIONS):
        raise FormatError(f"references are called {', '.join(EXTENSIONS)}, not {os.path.basename(target)!r}")
    _require("zarr", *(("kerchunk", "fastparquet") if not target.lower().endswith(".json") else ()))
    image = as_image(image)
    array = _behind(image.variable._data)
    if not isinstance(array, FrameArray):
        raise FormatError("references are made of DICOM images: other formats can be opened as they are, or as zarr")
    planes = referred(array)
    root, places = _addresses(planes.files, base)
    ds = _described(image, identifiers)
    settings, attrs = _codec(array, planes)
    entries: dict[str, Any] = dict(_small(ds.drop_vars(NAME)))
    lead = [image.sizes[d] for d in (*volume_dims(image), "slice")]
    inner = image.shape[len(lead) :]
    entries[f"{NAME}/.zarray"] = json.dumps(
        {"zarr_format": 2, "shape": list(image.shape), "chunks": [*(1 for _ in lead), *inner], "order": "C",
         "compressor": None, "dimension_separator": ".", **settings}
    )  # fmt: skip
    entries[f"{NAME}/.zattrs"] = json.dumps(ds[NAME].attrs | attrs | {"_ARRAY_DIMENSIONS": list(image.dims)})
    tail = ".0" * len(inner)
    for k, at in enumerate(np.ndindex(*lead)):
        if places[k] is not None:
            key = f"{NAME}/{'.'.join(map(str, at))}{tail}"
            entries[key] = [places[k], int(planes.offsets[k]), planes.length]
    return _write(target, root, entries, overwrite, storage_options)


def _require(*packages: str) -> None:
    for name in packages:
        if find_spec(name) is None:
            raise FormatError(f"the package {name} is not installed: pip install 'imagedata-xr[references]'")


def _behind(data: Any) -> Any:
    """Lazy array behind xarray's wrappers, of which nothing was read, selected or computed."""
    while not isinstance(data, OnDemand):
        key = getattr(getattr(data, "key", None), "tuple", ())
        whole = all(isinstance(k, slice) and k == slice(None) for k in key)
        data = getattr(data, "array", None) if whole or isinstance(data, indexing.MemoryCachedArray) else None
        if data is None:
            raise FormatError(
                "references are made of an image as it was opened: without chunks=, before its values are loaded, and "
                "before any computing or selecting. Select after opening the references"
            )
    return data.array


# --- where the bytes are ----------------------------------------------------------------------------------------------


def _addresses(files: list[File | None], base: str | None) -> tuple[str, list[str | None]]:
    """What all addresses begin with, and the rest of each."""
    names = [None if f is None else file_name(f) for f in files]
    there = sorted({n for n in names if n is not None})
    if all(f is None or is_local(f) for f in files):
        there = [n.replace(os.sep, "/") for n in there]
    folders = {posixpath.dirname(n) for n in there}
    root = posixpath.commonpath(folders) if not any("://" in f for f in folders) else _common(sorted(folders))
    rest = [None if n is None else n.replace(os.sep, "/")[len(root) :].lstrip("/") for n in names]
    return (root if base is None else base).rstrip("/"), rest


def _common(folders: list[str]) -> str:
    first, last = folders[0].split("/"), folders[-1].split("/")
    alike = next((k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    if alike < 3:
        raise FormatError("the files lie on several stores, and a reference file has one")
    return "/".join(first[:alike])


# --- what is said of the image ----------------------------------------------------------------------------------------


def _described(image: xr.DataArray, identifiers: bool) -> xr.Dataset:
    """Labels and attributes as zarr holds them; without what tells of the patient, unless it is asked for."""
    if not identifiers:
        keep = {*map(str, volume_dims(image)), *_PLACE, "geometry"}
        gone = [n for n in image.coords if str(n) not in keep and (str(n) in NEVER or tells(str(n)))]
        image = image.drop_vars(gone)
        if "geometry" in image.coords:
            space = Space.from_variable(image.coords["geometry"].variable)
            image = image.assign_coords(geometry=Space(space.direction, "").to_variable())
        image = image.copy(deep=False)
        image.attrs = header_attrs(header_json(image.attrs, False) | own_json(image.attrs))
    ds = storable(image, True)
    for name in ds.coords:
        if not identifiers and "epoch" in ds[name].attrs:
            plain = ds[name].variable.copy(deep=False)
            plain.attrs = plain.attrs | {"epoch": ""}
            ds = ds.assign_coords({name: plain})
    return ds


def _small(ds: xr.Dataset) -> Iterator[tuple[str, str]]:
    """Give the keys of a zarr store with all coords."""
    import zarr

    kept: dict[str, Any] = {}
    ds.to_zarr(zarr.storage.MemoryStore(kept), mode="w", zarr_format=2, consolidated=False)
    for key, buffer in kept.items():
        data = buffer.to_bytes()
        if posixpath.basename(key).startswith(".z"):
            yield key, data.decode("utf-8")
        else:
            yield key, "base64:" + base64.b64encode(data).decode("ascii")


# --- how bytes become values ------------------------------------------------------------------------------------------


def _codec(array: Any, planes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Entries of ``.zarray`` and ``.zattrs`` by which readers get our values: tried on every plane.

    Raises
    ------
    FormatError
        If bits outside of Bits Stored are in use, or no standard codec gives these values.
    """
    stored, dtype = planes.stored, array.dtype.newbyteorder("<")
    fill: Any = "NaN" if dtype.kind == "f" else None
    tries: list[tuple[dict[str, Any], dict[str, Any], Any]] = []
    if (planes.slope, planes.intercept) == (1.0, 0.0):
        same = {"id": "astype", "encode_dtype": stored.str, "decode_dtype": dtype.str}
        filters = [] if stored == dtype else [same]
        tries.append(({"dtype": dtype.str, "filters": filters or None, "fill_value": fill}, {}, lambda x: x))
    else:
        scale = 1.0 / planes.slope
        linear = {"id": "fixedscaleoffset", "scale": scale, "offset": planes.intercept, "dtype": dtype.str,
                  "astype": stored.str}  # fmt: skip
        tries.append(
            ({"dtype": dtype.str, "filters": [linear], "fill_value": fill}, {}, lambda x: x / scale + planes.intercept)
        )
        # xarray multiplies in double precision: the very product, not rounded to the type that the image has here
        wide = {"id": "astype", "encode_dtype": stored.str, "decode_dtype": "<f8"}
        scaled = {"scale_factor": planes.slope, "add_offset": planes.intercept}
        tries.append(
            ({"dtype": "<f8", "filters": [wide], "fill_value": fill}, scaled,
             lambda x: x.astype("f8") * planes.slope + planes.intercept)
        )  # fmt: skip
    for settings, attrs, values in tries:
        if _holds(array, planes, values):
            return settings, attrs
    raise FormatError(
        "references can't express these values: bits outside of Bits Stored are in use in some images (overlays, or "
        "numbers that do not belong to the pixels), which readers of references would take as values. Write zarr "
        "instead"
    )


def _holds(array: Any, planes: Any, values: Any) -> bool:
    """Whether what readers of references compute of the bytes is what we read, for each plane."""
    lead = array.file.shape
    for k, at in enumerate(np.ndindex(*lead)):
        file = planes.files[k]
        if file is None:
            continue
        data = read_ranges([file], [int(planes.offsets[k])], [planes.length])[0]
        raw: NDArray[Any] = np.frombuffer(data, planes.stored).reshape(array.plane_shape)
        own = array.read((*at, *(slice(None) for _ in array.plane_shape)))
        if not np.array_equal(np.asarray(values(raw)).astype(array.dtype), own, equal_nan=array.dtype.kind == "f"):
            return False
    return True


# --- files ------------------------------------------------------------------------------------------------------------


def _write(target: str, root: str, entries: dict[str, Any], overwrite: bool, storage_options: Any) -> Written:
    if target.lower().endswith(".json"):
        refs = {k: v if isinstance(v, str) else ["{{u}}/" + v[0], *v[1:]] for k, v in entries.items()}
        text = json.dumps({"version": 1, "templates": {"u": root}, "refs": refs})
        name = os.path.basename(target)
        whole = Whole(target, [name], (), overwrite, storage_options)
        with whole.files() as places:
            places[name].write_text(text, encoding="utf-8")
        return Written("references", (whole.shown(name),), 1, len(text.encode()))
    from kerchunk.df import refs_to_dataframe

    full = {k: v if isinstance(v, str) else [f"{root}/{v[0]}", *v[1:]] for k, v in entries.items()}
    folder = WholeFolder(target, ".zmetadata", overwrite, storage_options)
    with folder.stage() as place:
        try:
            refs_to_dataframe({"version": 1, "refs": full}, str(place))
        except (ValueError, OSError) as error:
            raise SourceError(f"the references can't be written as parquet: {error}") from error
        size = sum(p.stat().st_size for p in Path(place).rglob("*") if p.is_file())
    return Written("references", (folder.shown,), 1, size)
