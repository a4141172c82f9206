"""Give an image on purpose what it lacks: another's grid, volume labels or header, or single elements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from ..errors import GridError, IdentityError, LabelError, warn
from . import geometry
from .geometry import AXES
from .identity import PATIENT_KEYS, patient_digest, study_digest
from .image import Axis, Volumes, build, repair, space_of, volume_dims
from .indexes import Space
from .lineage import lineage_of
from .orders import BY_KEYWORD, ORDERS, snake
from .turned import turned_attrs

ASSIGNED = "assigned_elements"
"""Attr that lists the elements set by `assign_dicom`, which win over the image's own headers on writing."""

PATIENT_ELEMENTS = frozenset(
    (*PATIENT_KEYS, "PatientSex", "PatientAge", "PatientSize", "PatientWeight", "OtherPatientIDs", "OtherPatientNames",
     "OtherPatientIDsSequence", "PatientComments", "PatientBirthTime", "EthnicGroup", "PatientBirthName",
     "PatientMotherBirthName", "PatientAddress", "PatientTelephoneNumbers", "MedicalAlerts", "Allergies", "Occupation",
     "SmokingStatus", "AdditionalPatientHistory", "PregnancyStatus", "LastMenstrualDate", "PatientReligiousPreference",
     "IssuerOfPatientIDQualifiersSequence", "PatientSpeciesDescription", "ResponsiblePerson", "MilitaryRank")
)  # fmt: skip
STUDY_ELEMENTS = frozenset(
    ("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "StudyDescription",
     "ReferringPhysicianName", "AdmissionID", "RequestAttributesSequence", "ReferencedStudySequence",
     "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy", "AdmittingDiagnosesDescription")
)  # fmt: skip


def assign_grid(image: xr.DataArray, other: xr.DataArray) -> xr.DataArray:
    """Say that an image lies where another lies: take its labels of slice, row and col, and its geometry.

    Raises
    ------
    GridError
        Where the sizes differ, or the image has a place in the patient and the other has none.
    """
    if space_of(image) is not None and space_of(other) is None:
        raise GridError(
            "the other image has no place in the patient, and this one would lose its own; from_array(image.values) "
            "makes an image that has none"
        )
    for name in AXES:
        if image.sizes.get(name, 1) != other.sizes.get(name, 1):
            raise GridError(
                f"the grids have different sizes: {name!r} {image.sizes.get(name, 1)} and {other.sizes.get(name, 1)}; "
                "imd.interp_like(other) resamples"
            )
    drop = [n for n in (*AXES, "geometry") if n in image.coords]
    out = image.drop_indexes([n for n in AXES if n in image.xindexes]).drop_vars(drop)
    coords: dict[str, Any] = {}
    for name in (*AXES, "geometry"):
        if name in other.coords:
            variable = other.coords[name].variable.to_base_variable()
            if name in out.dims and not variable.dims:
                variable = variable.set_dims({name: 1})
            elif name not in out.dims and variable.dims:
                variable = variable.squeeze()
            coords[name] = variable
    before, after = space_of(image), space_of(other)
    moved = before is None or after is None or bool(np.abs(before.direction - after.direction).max() > 1e-3)
    if "PatientOrientation" in out.attrs and moved:  # of the axes that the image had
        out = out.copy(deep=False)
        out.attrs = {k: v for k, v in out.attrs.items() if k != "PatientOrientation"}
    return repair(out.assign_coords(xr.Coordinates(coords, indexes={})))  # type: ignore[no-any-return]


def assign_tags(image: xr.DataArray, other: xr.DataArray) -> xr.DataArray:
    """Take the volume labels of another image: its tag, times, b-values, echo times and so on.

    Raises
    ------
    LabelError
        Where the images have other volume dims or another number of volumes.
    """
    dims = volume_dims(image)
    if dims != volume_dims(other) or any(image.sizes[d] != other.sizes[d] for d in dims):
        mine, theirs = ({d: x.sizes[d] for d in volume_dims(x)} for x in (image, other))
        raise LabelError(f"the volumes do not match: {mine} and {theirs}")
    if not dims:
        raise LabelError("no dim counts the volumes of these images: isel(tag=[k]) keeps it, isel(tag=k) drops it")
    # what is said of each image by itself stays: its instance, its time, and what was assigned to it
    old = [n for n, c in image.coords.items() if c.dims and set(map(str, c.dims)) <= set(dims)]
    out = image.drop_indexes([d for d in dims if d in image.xindexes]).drop_vars(old)
    new = {
        n: c.variable.to_base_variable()
        for n, c in other.coords.items()
        if c.dims and set(map(str, c.dims)) <= set(dims)
    }
    return repair(out.assign_coords(xr.Coordinates(new, indexes={})))  # type: ignore[no-any-return]


def assign_header(image: xr.DataArray, template: xr.DataArray, relabel: bool = False) -> xr.DataArray:
    """Give an image the patient, study and elements of a template.

    Parameters
    ----------
    image, template : xarray.DataArray
        Repaired images.
    relabel : bool
        Allow a template of another patient or study than the image's own.

    Returns
    -------
    xarray.DataArray
        With the template's attrs (the image keeps its own units), patient, study and source. Each plane refers to the
        header of the template's plane that lies where it lies and has its order value, where there is one (see
        `lineage.lineage_of`); other planes are written from the attrs and labels. Elements that were assigned to the
        image stay so, and those that were assigned to the template come along.

    Raises
    ------
    IdentityError
        Where the image has a patient or study of its own that is another, or a patient and the template none.
    """
    if not relabel:
        check_identity(image, template)
    image = repair(image)
    lineage = lineage_of(image, template)
    drop = [n for n in ("patient", "study", "source", "instance") if n in image.coords]
    out = image.drop_vars(drop).copy(deep=False)  # attrs of its own: drop_vars shares those of the image
    out.attrs = {**{k: v for k, v in template.attrs.items() if k != "units"}, **_units(image)}
    mine, theirs = space_of(image), space_of(template)
    if mine is not None and theirs is not None:
        out.attrs = turned_attrs(out.attrs, theirs.direction, mine.direction)
    _keep_assigned(out, image, template, relabel)
    scalars = {n: template.coords[n].variable for n in ("patient", "study", "source") if n in template.coords}
    out = out.assign_coords(scalars)
    dims = [d for d in (*volume_dims(image), "slice") if d in image.dims]
    shape = tuple(image.sizes[d] for d in dims)
    out = out.assign_coords(instance=(dims, lineage.reshape(shape)))
    return _frame_of_reference(out, template, bool((lineage != 0).any()))


def check_identity(image: xr.DataArray, template: xr.DataArray) -> None:
    """Raise `IdentityError` where the template is of another patient or study than the image, or of no patient."""
    if "patient" in image.coords and "patient" not in template.coords:
        raise IdentityError(
            "the template knows no patient, and the image does: it would lose its own. geometry= or imd.assign_grid "
            "takes the place alone; relabel=True (imd.assign_header) allows it"
        )
    for name in ("patient", "study"):
        if name not in image.coords or name not in template.coords:
            continue
        mine, theirs = image.coords[name], template.coords[name]
        if mine.ndim or theirs.ndim or int(mine) != int(theirs):
            raise IdentityError(
                f"the template is of another {name} than the image; relabel=True (imd.assign_header) allows it"
            )


def _units(image: xr.DataArray) -> dict[str, Any]:
    return {"units": image.attrs["units"]} if "units" in image.attrs else {}


def _keep_assigned(out: xr.DataArray, image: xr.DataArray, template: xr.DataArray, relabel: bool) -> None:
    """Give back what `assign_dicom` had set in an image whose attrs are those of a template now."""
    labels = {BY_KEYWORD[w].coord if w in BY_KEYWORD else snake(w): w for w in _as_list(out.attrs.get(ASSIGNED))}
    if labels := {n: w for n, w in labels.items() if n in template.coords}:
        out.attrs[ASSIGNED] = [w for w in _as_list(out.attrs[ASSIGNED]) if w not in labels.values()]
        if lost := sorted(w for n, w in labels.items() if n not in image.coords):
            warn(
                f"{', '.join(lost)} of the template was assigned as a label of its images, and does not come along: "
                "assign it to the image that gets the template"
            )
    words = set(_as_list(image.attrs.get(ASSIGNED)))
    if relabel:
        words -= PATIENT_ELEMENTS | STUDY_ELEMENTS
    for keyword in words:
        out.attrs.pop(keyword, None)
        if keyword in image.attrs:
            out.attrs[keyword] = image.attrs[keyword]
    if words:
        out.attrs[ASSIGNED] = sorted({*_as_list(out.attrs.get(ASSIGNED)), *words})


def _frame_of_reference(image: xr.DataArray, template: xr.DataArray, matched: bool) -> xr.DataArray:
    """Take the template's frame of reference, where the image has none and lies on the template's planes."""
    mine, theirs = space_of(image), space_of(template)
    if mine is None or theirs is None or mine.frame_of_reference or not matched:
        return image
    named = Space(mine.direction, theirs.frame_of_reference)
    out = image.drop_indexes([n for n in AXES if n in image.xindexes])
    return repair(out.assign_coords(geometry=named.to_variable()))  # type: ignore[no-any-return]


def assign_dicom(image: xr.DataArray, keywords: Mapping[str, Any], known: Any) -> xr.DataArray:
    """Set elements, by DICOM keyword; on writing they win over those of the source.

    Parameters
    ----------
    image : xarray.DataArray
    keywords : mapping
        Keyword -> str, number or flat list of these; None removes the element.
    known : callable
        Whether a word is a DICOM keyword.

    Raises
    ------
    LabelError
        For an unknown keyword, or a value of another kind.
    """
    attrs = dict(image.attrs)
    before = {name: image.coords.get(name) for name in ("patient", "study")}
    lost = {n: c is None or c.ndim > 0 for n, c in before.items()}
    for name, elements in (("patient", PATIENT_ELEMENTS), ("study", STUDY_ELEMENTS)):
        if lost[name] and elements & set(keywords):
            # what is left of an identity that was lost may be another's
            attrs = {k: v for k, v in attrs.items() if k not in elements}
    for keyword, value in keywords.items():
        _check_element(keyword, value, known)
        attrs.pop(keyword, None)
        if value is not None:
            attrs[keyword] = value if isinstance(value, (str, int, float)) else list(value)
    attrs[ASSIGNED] = sorted({*_as_list(attrs.get(ASSIGNED)), *keywords})
    out = image.copy(deep=False)
    out.attrs = attrs
    coords: dict[str, Any] = {}
    if PATIENT_ELEMENTS & set(keywords):
        coords["patient"] = np.int64(patient_digest(attrs))
    if "StudyInstanceUID" in keywords:
        coords["study"] = np.int64(study_digest(attrs))
    return out.drop_vars([n for n in coords if n in out.coords]).assign_coords(coords)


def _as_list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(v) for v in (value if value is not None else [])]


def _check_element(keyword: str, value: Any, known: Any) -> None:
    if not known(keyword):
        raise LabelError(f"{keyword!r} is no DICOM keyword")
    plain = value is None or isinstance(value, (str, int, float))
    if not plain and not (isinstance(value, Sequence) and all(isinstance(v, (str, int, float)) for v in value)):
        raise LabelError(f"{keyword} must be a text, a number or a flat list of these, not {type(value).__name__}")


# --- from an array -------------------------------------------------------------------------------------------------


def from_array(
    array: Any,
    dims: Sequence[str] | None = None,
    spacing: ArrayLike | None = None,
    position: ArrayLike | None = None,
    direction: ArrayLike | None = None,
    order: str = "none",
    tags: ArrayLike | None = None,
) -> xr.DataArray:
    """Label an array as an image.

    Parameters
    ----------
    array : array_like
        numpy or dask.
    dims : sequence of str, optional
        Names of its axes; by default the last ones of ``(tag, slice, row, col)``. ``rgb`` may follow.
    spacing : array_like, shape (3,), optional
        Distance of slices, rows and columns, mm.
    position : array_like, shape (3,), optional
        Centre of the first voxel, LPS mm; the origin by default.
    direction : array_like, shape (3, 3), optional
        Unit vectors (columns slice, row, col), LPS; an axial image by default. Without `spacing`, `position` and
        `direction` the image has no place in the patient.
    order : str
        What `tags` are: ``"time"`` (s), ``"b"`` (s/mm2), ``"te"`` (ms) and so on.
    tags : array_like, shape (n,), optional
        Value of each volume.
    """
    data = array if hasattr(array, "shape") and hasattr(array, "dtype") else np.asarray(array)
    names = list(dims) if dims is not None else ["tag", *AXES][-data.ndim :]
    if len(names) != data.ndim or len(set(names)) != len(names) or not set(names) <= {"tag", *AXES, "rgb"}:
        raise LabelError(
            f"dims {names} do not name the {data.ndim} axes of the array with tag, slice, row, col and rgb"
        )
    for name in ("tag", *AXES):
        if name not in names:
            data, names = data[None], [name, *names]
    wanted = ["tag", *AXES, *(["rgb"] if "rgb" in names else [])]
    data = data.transpose([names.index(n) for n in wanted])
    sizes = dict(zip(wanted, data.shape, strict=True))
    space, axes = _grid(sizes, spacing, position, direction)
    return build(data, volumes=[_own_volumes(order, tags, sizes["tag"])], axes=axes, space=space)["image"]


def _grid(
    sizes: Mapping[str, int], spacing: ArrayLike | None, position: ArrayLike | None, direction: ArrayLike | None
) -> tuple[Space | None, dict[str, Axis]]:
    if spacing is None and position is None and direction is None:
        return None, {n: Axis(np.arange(sizes[n]), 1.0) for n in AXES}
    if spacing is None:
        raise LabelError("an image with a position or direction needs its spacing: (slice, row, col) in mm")
    step = np.asarray(spacing, dtype=np.float64)
    if step.shape != (3,) or not (step > 0).all():
        raise LabelError(f"spacing={spacing!r}: three positive numbers, mm, of slice, row and col")
    space = Space(np.eye(3)[[2, 1, 0]] if direction is None else direction)
    first = geometry.labels_of(space.direction, np.zeros(3) if position is None else position)
    return space, {n: Axis(first[k] + step[k] * np.arange(sizes[n]), float(step[k])) for k, n in enumerate(AXES)}


def _own_volumes(order: str, tags: ArrayLike | None, n: int) -> Volumes:
    if order not in ORDERS:
        raise LabelError(f"order={order!r}: one of {', '.join(ORDERS)}")
    values = np.arange(n, dtype=np.float64) if tags is None else np.atleast_1d(np.asarray(tags, dtype=np.float64))
    if values.shape != (n,):
        raise LabelError(f"{values.size} tags for {n} volumes")
    if tags is None and ORDERS[order].scalar and n > 1:
        raise LabelError(f"order={order!r} needs tags: the value of each of the {n} volumes")
    attrs: dict[str, Any] = {"order": order, "units": ORDERS[order].label.units or "1"}
    if ORDERS[order].by == "rank":
        attrs |= {"source": "", "epoch": "", "interval": float(np.median(np.diff(values))) if n > 1 else 0.0}
    return Volumes(values, attrs)
