"""Templates: an image, a Dataset, or the address of one, whose header or place another image gets."""

from __future__ import annotations

from typing import Any

import xarray as xr

from ..model.assign import assign_grid, assign_header, check_identity
from ..model.fill import fill_like
from ..model.image import NAME, as_image
from ..model.repair import SEGMENT
from .seam import ReadOptions


def as_template(template: Any, storage_options: Any = None) -> xr.DataArray:
    """Image that a ``template=`` or ``geometry=`` means: itself, or what lies at its address."""
    if isinstance(template, (xr.DataArray, xr.Dataset)):
        return as_image(template)
    from .reading import open_one

    return as_image(open_one(template, None, ReadOptions(storage_options=storage_options)))


def with_templates(image: xr.DataArray, template: Any, geometry: Any, storage_options: Any = None) -> xr.DataArray:
    """Image with the grid of `geometry` and the header of `template`, where given.

    A segmentation is put on the slices of either, and keeps its own header.
    """
    if SEGMENT in image.coords:
        return _segmentation_with(image, template, geometry, storage_options)
    if geometry is not None:
        image = assign_grid(image, as_template(geometry, storage_options))
    if template is not None:
        image = assign_header(image, as_template(template, storage_options))
    return image


def _segmentation_with(image: xr.DataArray, template: Any, geometry: Any, storage_options: Any) -> xr.DataArray:
    if geometry is not None:
        image = fill_like(image, as_template(geometry, storage_options))
    if template is None:
        return image
    header = as_template(template, storage_options)
    image = fill_like(image, header) if geometry is None else image
    if "SegmentSequence" not in image.attrs:
        return assign_header(image, header)
    check_identity(image, header)
    return image


def dataset_with_templates(ds: xr.Dataset, template: Any, geometry: Any) -> xr.Dataset:
    """Return the same of a Dataset with the variable ``image``."""
    return with_templates(as_image(ds), template, geometry).to_dataset(name=NAME)
