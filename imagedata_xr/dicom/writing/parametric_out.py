"""Writing floats as a new parametric map (PS3.3 A.75): values as they are, their quantity and units."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ...errors import FormatError
from ...formats.seam import WriteOptions, Written
from ...model.image import volume_dims
from .asked import Asked
from .objects_out import Origin, finish, naming, need_highdicom, placing, refer, source_header, write_one
from .segment_items import code_of

_DERIVATION = ("112187", "DCM", "Unspecified method of calculation")
_UCUM = {
    "": "1", "HU": "[hnsf'U]", "Bq/ml": "Bq/ml", "BQML": "Bq/ml", "US": "1", "degree": "deg", "degrees": "deg",
    "s/mm2": "s/mm2", "counts": "{counts}", "counts/s": "{counts}/s", "CNTS": "{counts}", "NONE": "1", "percent": "%",
    "PCNT": "%", "GML": "g/ml", "CM2ML": "cm2/ml", "sec": "s", "seconds": "s", "unitless": "1",
}  # fmt: skip
_UNIT = re.compile(r"[!-~]{1,16}")


def ucum(units: str) -> str:
    """Code of units in UCUM (PS3.16, unified code for units of measure).

    Raises
    ------
    FormatError
        It can't be one.
    """
    code = _UCUM.get(units.strip(), units.strip())
    if not _UNIT.fullmatch(code):
        raise FormatError(
            f"units={units!r} are no code of UCUM, which has 1 to 16 characters and no spaces, such as 'um2/s', "
            "'/min', 'ms' or '1'"
        )
    return code


def write_map(image: xr.DataArray, origin: Origin, target: str, options: WriteOptions, asked: Asked) -> Written:
    """Write an image of floats as a parametric map; values come back bit by bit.

    Raises
    ------
    FormatError
        The image has several volumes, colours or complex values; units are none; or highdicom is not installed.
    GeometryError
        Slices without a place.
    """
    hd = need_highdicom("a new parametric map")
    values = _values(image)
    mapping = _mapping(values, image, origin, asked)
    source = source_header(origin)
    low, high = _limits(values)
    window = hd.VOILUTTransformation(window_center=(low + high) / 2, window_width=max(high - low, 1e-6))
    ds = hd.pm.ParametricMap(
        [source], values, contains_recognizable_visual_features=_recognizable(origin, asked),
        real_world_value_mappings=[mapping], voi_lut_transformations=[window], content_label="MAP",
        **naming(origin), **placing(origin, source),
    )  # fmt: skip
    refer(ds, origin, _DERIVATION)
    return write_one(finish(ds, origin, "Computed with imagedata_xr."), target, options, asked)


def _recognizable(origin: Origin, asked: Asked) -> bool:
    """Whether the patient may be recognized: as asked for, else as the source says, else perhaps."""
    if asked.recognizable is not None:
        return asked.recognizable
    own = origin.first()
    return str((origin.attrs if own is None else own).get("RecognizableVisualFeatures") or "YES") != "NO"


def _values(image: xr.DataArray) -> NDArray[Any]:
    """Values of the only volume, as floats."""
    if "rgb" in image.dims or image.dtype.kind not in "biuf":
        advice = ": write its parts as two maps" if image.dtype.kind == "c" else ""
        raise FormatError(f"a parametric map holds real numbers, not colours or values of type {image.dtype}{advice}")
    dims = volume_dims(image)
    if many := [f"{image.sizes[d]} along {d!r}" for d in dims if image.sizes[d] != 1]:
        raise FormatError(
            f"the image has several volumes ({', '.join(many)}), and a parametric map is of one: select it, such as "
            f"isel({dims[0]}=0)"
        )
    values = np.asarray(image.isel(dict.fromkeys(dims, 0)).values)
    if values.dtype == np.float64 and np.array_equal(values, single := values.astype(np.float32), equal_nan=True):
        return single
    if values.dtype.kind != "f":
        wide = values.astype(np.float64)
        if wide.dtype != values.dtype and not np.array_equal(wide.astype(values.dtype), values):
            raise FormatError(f"values of type {image.dtype} are not all exact as floats of 64 bits")
        single = wide.astype(np.float32)
        return single if np.array_equal(single, wide) else wide
    return values if values.dtype in (np.float32, np.float64) else values.astype(np.float32)


def _limits(values: NDArray[Any]) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise FormatError("none of the values is finite: a map of them says nothing")
    return float(finite.min()), float(finite.max())


def _mapping(values: NDArray[Any], image: xr.DataArray, origin: Origin, asked: Asked) -> Any:
    """Real-world value mapping that says that the values are what they are, in their units (PS3.3 C.7.6.16.2.11)."""
    import highdicom as hd

    code = ucum(origin.series.units)
    unit = hd.sr.CodedConcept(code, "UCUM", "no units" if code == "1" else code)
    label = asked.label or str(image.attrs.get("quantity") or "") or str("" if image.name is None else image.name)
    label = label if label and label != "image" else "values"
    if len(label) > 16:
        if asked.label:
            raise FormatError(f"format_options label={label!r}: at most 16 characters")
        label = label[:16].rstrip()
    more: dict[str, Any] = {}
    if asked.quantity is not None:
        more["quantity_definition"] = hd.sr.CodedConcept(*code_of(asked.quantity, "format_options quantity"))
    return hd.pm.RealWorldValueMapping(
        label, asked.label or str(image.attrs.get("quantity") or label)[:64], unit, _limits(values), 1.0, 0.0, **more
    )
