"""Opening what `saving` wrote: is it ours, its image, its headers."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import xarray as xr
from fsspec.core import url_to_fs

from ..errors import FormatError, NotFoundError, SourceError
from ..model.image import NAME, volume_dims
from ..stores.address import STORE, archive_address
from ..stores.archives import open_archive
from ..stores.url import File, is_local, reason, strip_credentials
from .seam import Node, ReadOptions
from .storable import HEADERS, check_layout, restored

if TYPE_CHECKING:
    from ..dicom.headers.table import TableHeaders

MAIN = "zarr.json"  # the file that makes a folder a zarr store (format 3)
_SORTING = ("series", "stack", "acquisition", "echo", "split")


def address_of(source: Any) -> str | None:
    """Path or URL of a single source; local ones absolute."""
    if isinstance(source, list | tuple) and len(source) == 1:
        (source,) = source
    if not isinstance(source, str | os.PathLike):
        return None
    text = os.fsdecode(os.fspath(source))
    if text.startswith("file://") and "::" not in text:
        text = text.removeprefix("file://")
    if "://" in text or "::" in text:
        return text
    return os.path.abspath(os.path.expanduser(text))


def _filesystem(address: str, storage_options: Mapping[str, Any] | None) -> tuple[Any, str]:
    if archive_address(address) is not None:
        raise FormatError(f"{strip_credentials(address)} can't be opened inside of its archive: unpack it first")
    try:
        fs, path = url_to_fs(address, **(storage_options or {}))
    except (ValueError, ImportError) as error:
        raise SourceError(f"{strip_credentials(address)} can't be opened: {error}") from error
    return fs, path.rstrip("/")


def is_packed(address: str) -> bool:
    """Whether an address is that of a zarr store in one file.

    Raises
    ------
    FormatError
        It is, and lies in another archive.
    """
    if not address.lower().endswith(STORE):
        return False
    if "::" in address:
        raise FormatError(f"{strip_credentials(address)} can't be opened inside of its archive: unpack it first")
    return True


def zarr_attrs(address: str, storage_options: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Attributes of the root of a store; None where nothing is there, empty for stores of another kind."""
    packed_store = is_packed(address)
    fs, path = _filesystem(address, storage_options)
    try:
        if packed_store and is_local(File(fs, path)):
            with zipfile.ZipFile(path) as packed:
                text = packed.read(MAIN)
        elif packed_store:
            text = open_archive(File(fs, path), "zip").cat_file(MAIN)
        else:
            text = fs.cat_file(f"{path}/{MAIN}")
        return dict(json.loads(text).get("attributes", {}))
    except FileNotFoundError:
        return {} if fs.exists(path) else None
    except SourceError:
        raise
    except (NotADirectoryError, ValueError, KeyError, zipfile.BadZipFile):
        return {}
    except OSError as error:
        raise SourceError(f"{strip_credentials(address)} can't be read: {reason(error)}") from error


def netcdf_attrs(address: str, storage_options: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Attributes of the root of a file; None where nothing is there, empty for files of another kind."""
    import h5netcdf

    fs, path = _filesystem(address, storage_options)
    if not fs.exists(path):
        return None
    try:
        with fs.open(path, "rb") as stream, h5netcdf.File(stream, "r") as file:
            return dict(file.attrs)
    except (OSError, ValueError, KeyError) as error:
        if fs.isdir(path):
            raise SourceError(f"{strip_credentials(address)} is a folder, no netCDF file") from error
        return {}


def foreign(address: str, engine: str, there: bool) -> NoReturn:
    """Raise `NotFoundError` for an address where nothing is, or something of another program."""
    name = strip_credentials(address)
    if not there:
        raise NotFoundError(f"{name} does not exist")
    raise NotFoundError(
        f"{name} was not written by imd.write: open it with xr.open_dataset(..., engine={engine!r}); if it holds an "
        "image of this library, imagedata_xr.repair() gives back its indexes"
    )


def node_of(engine: str, address: str, attrs: Mapping[str, Any], options: ReadOptions) -> Node:
    """Node of the image at an address, opened lazily; its headers are remembered.

    Raises
    ------
    FormatError
        Where something is asked for that an image once saved can't give.
    """
    from ..dicom.headers.lookup import remember

    shown = strip_credentials(address)
    if asked := [name for name in _SORTING if getattr(options, name) is not None]:
        raise FormatError(f"{', '.join(asked)}: {shown} is one image, there is nothing to choose from")
    check_layout(attrs, shown)
    ds = _raw(engine, address, options.storage_options, None)
    stored = ds[NAME]
    sizes = stored.encoding.get("chunks") or stored.encoding.get("chunksizes") or stored.shape
    source = options.source or shown
    out = restored(ds, source, {str(d): int(n) for d, n in zip(stored.dims, sizes, strict=True)})
    _check(out[NAME], options)
    headers = table_headers(engine, address, attrs, options.storage_options)
    if headers is not None:
        remember(source, headers)
    return Node(parts_of(out[NAME].attrs), out, f"image of {dict(out[NAME].sizes)}")


def parts_of(attrs: Mapping[str, Any]) -> tuple[str, str, str]:
    """Place in a tree: patient, study, series."""

    def joined(*keywords: str) -> str:
        return "-".join(str(attrs[k]).strip() for k in keywords if str(attrs.get(k, "")).strip())

    return (
        joined("PatientID"),
        joined("StudyDate", "StudyTime"),
        joined("SeriesNumber", "SeriesDescription"),
    )


def _raw(engine: str, address: str, storage_options: Mapping[str, Any] | None, group: str | None) -> xr.Dataset:
    settings: dict[str, Any] = {"consolidated": True} if engine == "zarr" else {}
    if storage_options and ("://" in address or "::" in address):
        settings["storage_options"] = dict(storage_options)
    place: Any = address
    if engine == "zarr" and is_packed(address):
        place = _pack(address, settings.pop("storage_options", None))
    return xr.open_dataset(
        place,
        engine=engine,
        group=group,
        chunks=None,
        cache=False,
        decode_times=False,
        decode_timedelta=False,
        mask_and_scale=False,
        create_default_indexes=False,
        **settings,
    )


def _pack(address: str, storage_options: Mapping[str, Any] | None) -> Any:
    """Store in one file, for zarr: a remote one is read by ranges, each in the state in which it was opened."""
    from zarr.storage import FsspecStore, ZipStore

    fs, path = _filesystem(address, storage_options)
    if is_local(File(fs, path)):
        return ZipStore(path, mode="r")
    try:
        from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
    except ImportError:
        raise FormatError(
            f"{strip_credentials(address)}: a zarr store in one file that is not on this computer needs fsspec 2024.12 "
            "or newer"
        ) from None
    archive = open_archive(File(fs, path), "zip")
    return FsspecStore(AsyncFileSystemWrapper(archive, asynchronous=True), read_only=True, path="")


def _check(image: xr.DataArray, options: ReadOptions) -> None:
    """Raise where something is asked for that an image once saved can't give."""
    orders = ",".join(str(image.coords[d].attrs.get("order", "none")) for d in volume_dims(image))
    if options.order != "auto" and options.order != orders:
        raise FormatError(f"order={options.order!r}: the image was saved in the order {orders!r}, it isn't sorted anew")
    if not options.mask_and_scale and image.dtype.kind not in "iub":
        raise FormatError("mask_and_scale=False: the image was saved with its values, not those stored in its source")
    if options.mask_padding:
        raise FormatError("mask_padding=True: padding is masked when the DICOM source is opened, not after saving")
    if options.dtype is not None and np.dtype(options.dtype) != image.dtype:
        raise FormatError(f"dtype={options.dtype}: the image was saved as {image.dtype}; astype converts it")


def table_headers(
    engine: str, address: str, attrs: Mapping[str, Any], storage_options: Mapping[str, Any] | None
) -> TableHeaders | None:
    """Headers of the table that lies beside an image; None where there is none."""
    if not attrs.get(HEADERS):
        return None
    from ..dicom.headers.table import TableHeaders

    return TableHeaders(partial(_load_table, engine, address, storage_options))


def _load_table(engine: str, address: str, storage_options: Mapping[str, Any] | None) -> xr.Dataset:
    if engine == "zarr":
        return _raw(engine, address, storage_options, HEADERS).load()
    import h5netcdf

    # not through xarray, which makes all texts as long as the longest
    fs, path = _filesystem(address, storage_options)
    with fs.open(path, "rb") as stream, h5netcdf.File(stream, "r", decode_vlen_strings=True) as file:
        group = file[HEADERS]
        found = {n: (v.dimensions, np.asarray(v[()])) for n, v in group.variables.items()}
    return xr.Dataset({n: v for n, v in found.items() if n != "instance"}, coords={"instance": found["instance"]})
