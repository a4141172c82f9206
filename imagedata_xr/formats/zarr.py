"""zarr and netCDF through xarray itself: an image without loss, with its whole headers beside it.

Any program opens them (``xr.open_zarr``, ``xr.open_dataset``); opened with this engine the image has its indexes
back, and its headers, so that DICOM can be written after the source is gone. Both hold who the patient is.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import xarray as xr

from ..errors import FormatError
from ..stores.address import STORE
from ..stores.url import File
from .reopening import MAIN, address_of, foreign, is_packed, netcdf_attrs, node_of, table_headers, zarr_attrs
from .saving import prepared, run, write_netcdf, write_zarr
from .seam import Needs, Node, ReadOptions, WriteOptions
from .storable import MARK, storable
from .whole import Whole
from .whole_folder import WholeFolder, WholePack


class Zarr:
    """A zarr store (format 3), local or on any fsspec store; as ``.zarr.zip`` one local file.

    Format options for writing: ``chunks``, a mapping of dims to lengths (by default those in which the image was read);
    ``headers=False`` leaves the header table out.
    """

    name = "zarr"
    extensions: tuple[str, ...] = (".zarr", STORE)
    needs = Needs("zarr", "zarr")
    description = "zarr, with the DICOM headers; for further computing, keeps everything"

    def recognise(self, files: Sequence[File]) -> list[File]:
        """Return none: a store is a folder, and taken as a whole."""
        return []

    def read(self, files: Sequence[File], options: ReadOptions) -> list[Node]:
        """Raise `FormatError`: single files are no store."""
        raise FormatError("a zarr store is opened by the address of its folder, which has a zarr.json")

    def open_whole(self, source: Any, options: ReadOptions) -> list[Node] | None:
        """The image of a store that this library wrote; None for what is no zarr store.

        Raises
        ------
        NotFoundError
            For a store of another program, or none where the name says so.
        """
        address = address_of(source)
        if address is None:
            return None
        named = address.rstrip("/").lower().endswith(self.extensions)
        if not named and ("://" in address or not os.path.isfile(os.path.join(address, MAIN))):
            return None
        attrs = zarr_attrs(address, options.storage_options)
        if attrs is None or MARK not in attrs:
            return foreign(address, "zarr", attrs is not None) if named else None
        _require("zarr")
        return [node_of("zarr", address, attrs, options)]

    def headers(self, source: str) -> Any:
        """Headers of a store that this library wrote; None where there are none."""
        address = address_of(source)
        if address is None or not address.rstrip("/").lower().endswith(self.extensions):
            return None
        attrs = zarr_attrs(address, None)
        return table_headers("zarr", address, attrs, None) if attrs and MARK in attrs else None

    def write(self, image: xr.DataArray, target: str, options: WriteOptions) -> Any:
        """Write an image and its headers as a zarr store that appears when it is whole.

        Raises
        ------
        FormatError
            Where a coord or an attribute can't be stored, or zarr is not installed.
        FileExistsError
            If the target exists and ``options.overwrite`` is false, or is no zarr store.
        """
        _require("zarr")
        image, chunks = prepared(image, options)
        packed = is_packed(str(target))
        begin = WholePack if packed else partial(WholeFolder, main=MAIN)
        whole = begin(target, overwrite=options.overwrite, storage_options=options.storage_options)
        return run(partial(write_zarr, storable(image, True), image, chunks, whole, options), options)


class NetCDF:
    """A netCDF-4 file; options as for `Zarr`."""

    name = "netcdf"
    extensions: tuple[str, ...] = (".nc",)
    needs = Needs("h5netcdf", "netcdf")
    description = "netCDF-4, with the DICOM headers; for other programs, keeps everything"

    def recognise(self, files: Sequence[File]) -> list[File]:
        """Return none: a file is taken as a whole, by its name."""
        return []

    def read(self, files: Sequence[File], options: ReadOptions) -> list[Node]:
        """Raise `FormatError`: only single files called .nc are opened."""
        raise FormatError("netCDF files are opened one by one, and are called .nc")

    def open_whole(self, source: Any, options: ReadOptions) -> list[Node] | None:
        """The image of a file that this library wrote; None for what is not called .nc.

        Raises
        ------
        NotFoundError
            For a file of another program.
        """
        address = address_of(source)
        if address is None or not address.lower().endswith(self.extensions):
            return None
        _require("h5netcdf")
        attrs = netcdf_attrs(address, options.storage_options)
        if attrs is None or MARK not in attrs:
            return foreign(address, "h5netcdf", attrs is not None)
        return [node_of("h5netcdf", address, attrs, options)]

    def headers(self, source: str) -> Any:
        """Headers of a file that this library wrote; None where there are none."""
        address = address_of(source)
        if address is None or not address.lower().endswith(self.extensions) or find_spec("h5netcdf") is None:
            return None
        attrs = netcdf_attrs(address, None)
        return table_headers("h5netcdf", address, attrs, None) if attrs and MARK in attrs else None

    def write(self, image: xr.DataArray, target: str, options: WriteOptions) -> Any:
        """Write an image and its headers as a netCDF-4 file that appears when it is whole.

        Raises
        ------
        FormatError
            Where netCDF can't hold the values, a coord or an attribute, or h5netcdf is not installed.
        FileExistsError
            If the target exists and ``options.overwrite`` is false.
        """
        _require("h5netcdf")
        if not str(target).lower().endswith(self.extensions):
            raise FormatError(f"a netCDF file is called .nc, not {os.path.basename(str(target))!r}")
        if image.dtype.kind == "c":
            raise FormatError(
                "netCDF has no complex numbers: write zarr, or image.real and image.imag (or abs(image) and its phase) "
                "as two images"
            )
        if image.dtype == np.float16:
            raise FormatError("netCDF has no float16: write zarr, or image.astype('float32')")
        image, chunks = prepared(image, options)
        name = os.path.basename(str(target))
        whole = Whole(str(target), [name], (), options.overwrite, options.storage_options)
        return run(partial(write_netcdf, storable(image, False), image, chunks, whole, options), options)


def _require(package: str) -> None:
    extra = {"zarr": "zarr", "h5netcdf": "netcdf"}[package]
    for name in ("zarr",) if package == "zarr" else ("h5netcdf", "h5py"):
        if find_spec(name) is None:
            raise FormatError(f"the package {name} is not installed: pip install 'imagedata-xr[{extra}]'")
