"""The xarray engine ``imagedata``: it hands over to `imagedata_xr.formats.reading`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import xarray as xr
from xarray.backends import BackendEntrypoint

from .formats.reading import open_all, open_one
from .formats.seam import ReadOptions
from .model.lazy import kept_in_memory
from .stores.url import source_name

_EXTENSIONS = (".dcm", ".ima", ".dcm.gz", ".ima.gz", ".nii", ".nii.gz")


class ImagedataEntrypoint(BackendEntrypoint):
    """Medical images as labelled arrays.

    ``xr.open_dataset(source, engine="imagedata")`` gives a Dataset with the variable ``image`` on
    ``(tag, slice, row, col)``; ``xr.open_dataarray`` that variable, ``xr.open_datatree`` every image of a source.

    Parameters
    ----------
    filename_or_obj
        A file, folder, glob, fsspec URL or `OpenFile`, or a list of these.
    drop_variables : str or iterable of str, optional
        Variables and coords to leave out.
    order : str or mapping
        What the volumes are ordered by: ``"none"``, ``"time"``, ``"triggertime"``, ``"b"``, ``"bvector"``, ``"dti"``,
        ``"fa"``, ``"te"``, ``"ti"``, a DICOM keyword, several joined by commas, or a mapping of names to keywords or
        callables; ``"auto"`` finds out.
    auto_order : sequence of str, optional
        Orders that ``"auto"`` may find.
    series, stack : optional
        Which series (UID, number, or description with wildcards) and which of its stacks.
    acquisition, echo : int or sequence of int, optional
        Acquisition and echo numbers to take.
    split : str or sequence of str, optional
        DICOM keywords whose values make stacks of their own.
    template, geometry : optional
        An image (or its address) whose header, or whose place in the patient, the images get.
    missing : {"raise", "drop", "fill"}
        What is done with incomplete volumes.
    duplicates : {"raise", "keep"}, optional
        What is done with several images of one position and value.
    format : str, optional
        Name of the format; skips detection.
    format_options : mapping, optional
        Options of the format.
    dtype : dtype, optional
        Type of the values; raises where it does not hold them exactly.
    mask_and_scale : bool
        False gives the stored numbers.
    mask_padding : bool
        Pixels of the padding value become NaN.
    errors : {"warn", "raise"}
        Damaged files, and series of a tree that can't be built: named in a warning, or an error.
    storage_options : mapping, optional
        For fsspec.
    """

    description = "Medical images (DICOM, NIfTI) as labelled arrays"
    url = "https://pypi.org/project/imagedata-xr/"
    supports_groups = True
    open_dataset_parameters = (
        "filename_or_obj", "drop_variables", "order", "auto_order", "series", "stack", "acquisition", "echo", "split",
        "template", "geometry", "missing", "duplicates", "format", "format_options", "dtype", "mask_and_scale",
        "mask_padding", "errors", "storage_options",
    )  # fmt: skip

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        order: str | Mapping[str, Any] = "auto",
        auto_order: Sequence[str] | None = None,
        series: Any = None,
        stack: Any = None,
        acquisition: Any = None,
        echo: Any = None,
        split: str | Sequence[str] | None = None,
        template: Any = None,
        geometry: Any = None,
        missing: str = "raise",
        duplicates: str | None = None,
        format: str | None = None,
        format_options: Mapping[str, Any] | None = None,
        dtype: Any = None,
        mask_and_scale: bool = True,
        mask_padding: bool = False,
        errors: str = "warn",
        storage_options: Mapping[str, Any] | None = None,
    ) -> xr.Dataset:
        """Open the one image of a source, lazily."""
        options = ReadOptions(
            order=order, auto_order=auto_order, series=series, stack=stack, acquisition=acquisition, echo=echo,
            split=split, missing=missing, duplicates=duplicates, dtype=dtype, mask_and_scale=mask_and_scale,
            mask_padding=mask_padding, errors=errors, storage_options=storage_options,
            format_options=format_options or {},
        )  # fmt: skip
        ds = open_one(filename_or_obj, format, options)
        ds.encoding |= _source(filename_or_obj)
        return _finish(ds, template, geometry, drop_variables)

    def open_groups_as_dict(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        order: str | Mapping[str, Any] = "auto",
        auto_order: Sequence[str] | None = None,
        series: Any = None,
        stack: Any = None,
        acquisition: Any = None,
        echo: Any = None,
        split: str | Sequence[str] | None = None,
        template: Any = None,
        geometry: Any = None,
        missing: str = "raise",
        duplicates: str | None = None,
        format: str | None = None,
        format_options: Mapping[str, Any] | None = None,
        dtype: Any = None,
        mask_and_scale: bool = True,
        mask_padding: bool = False,
        errors: str = "warn",
        storage_options: Mapping[str, Any] | None = None,
    ) -> dict[str, xr.Dataset]:
        """Open every image of a source, by its path /patient/study/series."""
        options = ReadOptions(
            order=order, auto_order=auto_order, series=series, stack=stack, acquisition=acquisition, echo=echo,
            split=split, missing=missing, duplicates=duplicates, dtype=dtype, mask_and_scale=mask_and_scale,
            mask_padding=mask_padding, errors=errors, storage_options=storage_options,
            format_options=format_options or {},
        )  # fmt: skip
        found = open_all(filename_or_obj, format, options)
        return {path: _finish(ds, template, geometry, drop_variables) for path, ds in found.items()}

    def open_datatree(self, filename_or_obj: Any, **kwargs: Any) -> xr.DataTree:
        """Open every image of a source as a tree."""
        tree = xr.DataTree.from_dict(self.open_groups_as_dict(filename_or_obj, **kwargs))
        tree.encoding |= _source(filename_or_obj)
        return tree

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether this is a single file of ours: by its extension, or by DICOM's magic number; never a folder."""
        if not isinstance(filename_or_obj, (str, os.PathLike)):
            return False
        path = os.fspath(filename_or_obj)
        named = os.fsdecode(path).lower().endswith(_EXTENSIONS)
        if "://" in os.fsdecode(path):
            return named
        if named or not os.path.isfile(path):
            return named and not os.path.isdir(path)
        try:
            with open(path, "rb") as stream:
                return stream.read(132)[128:] == b"DICM"
        except OSError:  # not ours to report: xarray asks every engine
            return False


def _source(address: Any) -> dict[str, str]:
    """Encoding of an address: xarray would put it there as it was given, with passwords and tokens in it."""
    return {"source": source_name(address)} if isinstance(address, str) and "://" in address else {}


def _finish(ds: xr.Dataset, template: Any, geometry: Any, drop: str | Iterable[str] | None) -> xr.Dataset:
    if "image" in ds.data_vars and (template is not None or geometry is not None):
        from .formats.template import dataset_with_templates

        ds = dataset_with_templates(ds, template, geometry)
    if drop is not None:
        names = [drop] if isinstance(drop, str) else list(drop)
        ds = ds.drop_vars([n for n in names if n in ds.variables])
    return kept_in_memory(ds)
