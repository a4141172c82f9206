"""What an image is, as plain values: what ``imd info`` prints."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import xarray as xr

from ..errors import GeometryError
from ..model.geometry import AXES
from ..model.image import as_image, axis_of, space_of, volume_dims
from ..model.masking import mask
from .sources import Found

IDENTIFIERS = (
    "PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "SeriesInstanceUID", "SeriesDate", "SeriesTime",
)  # fmt: skip
_UID = re.compile(r"\b\d+(\.\d+){4,}\b")


def describe(found: Found, identifiers: bool) -> dict[str, Any]:
    """Describe an image of a source; only headers are read.

    Parameters
    ----------
    found : Found
    identifiers : bool
        Whether patient, study, dates, UIDs and the path in the tree are told, and descriptions are left as they are.

    Returns
    -------
    dict
        That JSON can hold; ``None`` for what is unknown.
    """
    ds = found.node.open()
    image = as_image(ds)
    attrs = {**ds.attrs, **image.attrs}
    out: dict[str, Any] = {
        "number": found.number,
        "series_number": _series_number(attrs),
        "stack": found.node.parts[3] if len(found.node.parts) > 3 else None,
        "kind": shown(found.node.kind, attrs, identifiers) or None,
        "description": shown(_description(found, attrs), attrs, identifiers) or None,
        "modality": str(attrs.get("Modality", "")) or None,
        "shape": {str(d): int(n) for d, n in image.sizes.items()},
        "orders": [_order(image, dim) for dim in volume_dims(image)],
        "segments": _segments(image, attrs, identifiers),
        "place_in_patient": space_of(image) is not None,
        "spacing_mm": spacing(image),
        "dtype": str(image.dtype),
        "stored_dtype": str(image.encoding.get("stored_dtype", image.dtype)),
        "units": str(attrs.get("units", "")) or None,
        "bytes": int(image.nbytes),
    }
    if identifiers:
        space = space_of(image)
        frame = {"FrameOfReferenceUID": space.frame_of_reference} if space and space.frame_of_reference else {}
        known = {k: str(attrs[k]) for k in IDENTIFIERS if attrs.get(k) not in (None, "")}
        out["identifiers"] = {"path": found.path, **known, **frame}
    return out


def shown(text: str, attrs: dict[str, Any], identifiers: bool) -> str:
    """Text without the patient's names, IDs, and UIDs, unless these are asked for."""
    return text if identifiers else _UID.sub("***", mask(text, attrs))


def _series_number(attrs: dict[str, Any]) -> int | str | None:
    number = attrs.get("SeriesNumber")
    return None if number in (None, "") else int(number) if str(number).strip().isdecimal() else str(number)


def _description(found: Found, attrs: dict[str, Any]) -> str:
    """Series description; where there is neither it nor a series number, the name that the format gives."""
    said = str(attrs.get("SeriesDescription", ""))
    return said if said or "SeriesNumber" in attrs else found.node.parts[-1]


def _segments(image: xr.DataArray, attrs: dict[str, Any], identifiers: bool) -> list[dict[str, Any]] | None:
    """Numbers and names of segments; None for an image that has none."""
    if "segment" not in image.dims:
        return None
    names = image.coords["label"].values if "label" in image.coords else [""] * image.sizes["segment"]
    numbers = image.coords["segment"].values
    told = [shown(str(name), attrs, identifiers) for name in names]
    return [{"number": int(n), "label": label} for n, label in zip(numbers, told, strict=True)]


def _order(image: xr.DataArray, dim: str) -> dict[str, Any]:
    """What the volumes along a dim differ in, from where to where; of diffusion the b-values."""
    coord = image[dim]
    order = str(coord.attrs.get("order", "none"))
    values, units = np.asarray(coord.values, dtype=np.float64), str(coord.attrs.get("units", ""))
    of = order
    if order in ("dti", "bvector") and "b_value" in image.coords:
        b = image["b_value"]
        values, units, of = np.asarray(b.values, dtype=np.float64), str(b.attrs.get("units", "s/mm2")), "b"
    out: dict[str, Any] = {"dim": dim, "order": order, "count": int(coord.size)}
    values = values[np.isfinite(values)]
    if order == "none" or not values.size:
        return out
    interval = coord.attrs.get("interval")
    return out | {
        "of": of,
        "first": float(values.min()),
        "last": float(values.max()),
        "interval": None if interval is None or of != order else float(interval),
        "units": units,
    }


def spacing(image: xr.DataArray) -> dict[str, Any] | None:
    """Distance of slices, rows and columns, mm: a number, [least, largest] where uneven, None where unknown.

    None as a whole, where the image has no place in the patient: its labels are indices then.
    """
    if space_of(image) is None:
        return None
    out: dict[str, Any] = {}
    for name in AXES:
        try:
            values, step = axis_of(image, name)
        except GeometryError:
            out[name] = None
            continue
        if step is None and values.size > 1:
            steps = np.abs(np.diff(values))
            out[name] = [float(steps.min()), float(steps.max())]
        else:
            out[name] = None if step is None else abs(float(step))
    return out
