"""What a volume can be ordered by, and what each per-volume label means: one table of names, units and tolerances."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import LabelError


@dataclass(frozen=True)
class Label:
    """A per-volume (or per-image) number: its coord, units, meaning, and the element that it is read from.

    Attributes
    ----------
    coord : str
        Name of the coord.
    units : str
    meaning : str
    keyword : str
        DICOM keyword; empty where the value has several sources.
    factor : float
        The coord is the element times this.
    tolerance : float
        Values nearer than this are one value, in units of the coord.
    """

    coord: str
    units: str
    meaning: str
    keyword: str = ""
    factor: float = 1.0
    tolerance: float = 1e-3


LABELS: dict[str, Label] = {
    label.coord: label
    for label in (
        Label("time", "s", "start of the volume, since the epoch of the tag coord", tolerance=1e-3),
        Label("acquisition_time", "", "clock at the start of the volume (datetime64[us])"),
        Label("slice_time", "s", "start of the image within its volume"),
        Label("b_value", "s/mm2", "diffusion weighting", "DiffusionBValue", tolerance=0.5),
        Label("b_vector_x", "1", "diffusion direction, unit vector in LPS; 0 without a direction", tolerance=1e-3),
        Label("b_vector_y", "1", "diffusion direction, unit vector in LPS; 0 without a direction", tolerance=1e-3),
        Label("b_vector_z", "1", "diffusion direction, unit vector in LPS; 0 without a direction", tolerance=1e-3),
        Label("diffusion_directionality", "1", "0 none, 1 directional, 2 b-matrix, 3 isotropic (trace)"),
        Label("echo_time", "ms", "echo time", "EchoTime", tolerance=1e-3),
        Label("repetition_time", "ms", "time between excitations", "RepetitionTime"),
        Label("inversion_time", "ms", "inversion time", "InversionTime"),
        Label("trigger_time", "ms", "time since the R peak or the trigger", "TriggerTime", tolerance=0.5),
        Label("flip_angle", "degree", "flip angle", "FlipAngle"),
        Label("frame_duration", "s", "length of the measurement", "ActualFrameDuration", factor=1e-3),
        Label(
            "frame_reference_time",
            "s",
            "time to which the values belong, since the series reference",
            "FrameReferenceTime",
            factor=1e-3,
        ),
        Label("decay_factor", "1", "decay correction applied to the values", "DecayFactor", tolerance=1e-9),
        Label(
            "angular_position",
            "degree",
            "angle of the detector; 0 at the patient's back, counter-clockwise seen from the feet",
            "AngularPosition",
        ),
        Label("cardiac_phase", "1", "number of the cardiac phase", "CardiacPhase"),
        Label(
            "nominal_percentage_of_cardiac_phase",
            "%",
            "phase of the heart cycle",
            "NominalPercentageOfCardiacPhase",
        ),
        Label(
            "nominal_percentage_of_respiratory_phase",
            "%",
            "phase of the breathing cycle",
            "NominalPercentageOfRespiratoryPhase",
        ),
        Label("positioner_primary_angle", "degree", "angle of the beam, right to left", "PositionerPrimaryAngle"),
        Label("positioner_secondary_angle", "degree", "angle of the beam, feet to head", "PositionerSecondaryAngle"),
        Label("number_of_averages", "1", "number of averages", "NumberOfAverages"),
        Label("asl_context", "1", "spin labelling: 0 control, 1 label, 2 M0 scan", "ASLContext", tolerance=0.5),
    )
}
"""Every label with a name of its own. Other elements get their keyword in snake_case and no units."""

BY_KEYWORD = {label.keyword: label for label in LABELS.values() if label.keyword}

DIRECTIONALITY = ("NONE", "DIRECTIONAL", "BMATRIX", "ISOTROPIC")
"""Codes of ``diffusion_directionality``: Diffusion Directionality (0018,9075), PS3.3 C.8.13.5.9."""

ASL_CONTEXT = ("CONTROL", "LABEL", "M_ZERO_SCAN")
"""Codes of ``asl_context``: ASL Context (0018,9257)."""

VECTOR = ("b_vector_x", "b_vector_y", "b_vector_z")


@dataclass(frozen=True)
class Order:
    """What volumes are ordered by.

    Attributes
    ----------
    name : str
        As the user writes it, and as ``tag.attrs["order"]``.
    dim : str
        Name of the dim when several orders make a grid.
    label : Label
        Units, element and tolerance of the values.
    by : {"value", "rank", "diffusion", "instance"}
        How images find their volume: by equal values; the k-th image at each position (clocks differ from slice to
        slice); by b-value and direction; or by instance number.
    read : callable, optional
        For an order of the user's own: from a `pydicom.Dataset` to a number.
    """

    name: str
    dim: str
    label: Label
    by: str = "value"
    read: Callable[[Any], float] | None = None

    @property
    def scalar(self) -> bool:
        """Whether a volume has one number that is its tag; else the tag is the volume number."""
        return self.by in ("value", "rank")

    @property
    def duplicates(self) -> str:
        """What is done by default with several images of one position and value."""
        return "keep" if self.name in ("b", "bvector", "dti", "none") else "raise"


_NUMBER = Label("tag", "1", "number of the volume")

ORDERS: dict[str, Order] = {
    o.name: o
    for o in (
        Order("none", "volume", _NUMBER, by="instance"),
        Order("time", "time", LABELS["time"], by="rank"),
        Order("triggertime", "trigger_time", LABELS["trigger_time"], by="rank"),
        Order("b", "b_value", LABELS["b_value"]),
        Order("bvector", "b_vector", _NUMBER, by="diffusion"),
        Order("dti", "diffusion", _NUMBER, by="diffusion"),
        Order("fa", "flip_angle", LABELS["flip_angle"]),
        Order("te", "echo_time", LABELS["echo_time"]),
        Order("ti", "inversion_time", LABELS["inversion_time"]),
    )
}
"""The orders with a name. ``dti`` keeps the order of acquisition, ``bvector`` sorts by b-value first."""


def snake(keyword: str) -> str:
    """DICOM keyword as a coord name: ``TemporalPositionIdentifier`` -> ``temporal_position_identifier``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", keyword).lower()


def label_for(keyword: str) -> Label:
    """Label of an element: that of the table, else its name in snake_case without units."""
    return BY_KEYWORD.get(keyword) or Label(snake(keyword), "", keyword, keyword, tolerance=1e-6)


def parse_order(order: str | Mapping[str, Any], known: Callable[[str], bool]) -> list[Order] | None:
    """Orders that a user asks for.

    Parameters
    ----------
    order : str or mapping
        Names or DICOM keywords joined by commas, or a mapping from a name of one's own to a keyword or a callable of
        a `pydicom.Dataset`. ``"auto"`` gives None.
    known : callable
        Whether a word is a DICOM keyword.

    Raises
    ------
    LabelError
        Where a word is neither, with the words allowed.
    """
    if isinstance(order, Mapping):
        if not order:
            raise LabelError("order is an empty mapping: map a name to a DICOM keyword or a callable, or leave it out")
        return [_own_order(str(name), how, known) for name, how in order.items()]
    words = [w.strip() for w in str(order).split(",") if w.strip()]
    if words == ["auto"]:
        return None
    if not words:
        raise LabelError("order is empty: give a name such as 'time', or leave it out")
    return [_named_order(w, known) for w in words]


def _named_order(word: str, known: Callable[[str], bool]) -> Order:
    if word.lower() in ORDERS:
        return ORDERS[word.lower()]
    if not known(word):
        raise LabelError(
            f"unknown order {word!r}: use one of {', '.join(ORDERS)}, 'auto', a DICOM keyword such as 'EchoTime', "
            "or a mapping {name: keyword or callable}"
        )
    label = label_for(word)
    return Order(word, label.coord, label)


def _own_order(name: str, how: Any, known: Callable[[str], bool]) -> Order:
    if not name.isidentifier() or name in ("slice", "row", "col", "rgb", "tag"):
        raise LabelError(f"{name!r} can't name an order: it must be an identifier other than a dim of the image")
    if isinstance(how, str):
        named = _named_order(how, known)
        return Order(name, name, named.label, named.by)
    if not callable(how):
        raise LabelError(f"the order {name!r} must map to a DICOM keyword or a callable, not {type(how).__name__}")
    return Order(name, name, Label(name, "", name, tolerance=1e-6), read=how)
