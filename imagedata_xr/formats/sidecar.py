"""The files beside a NIfTI image: BIDS' ``.json``, and FSL's ``.bval`` and ``.bvec``.

Units in the JSON are those of BIDS: seconds and degrees. `KEYS` says which per-volume label is which key.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError, warn
from ..model.phase_encoding import AXIS, OWN
from ..stores.url import File, file_name, reason

EXTENSIONS = (".json", ".bval", ".bvec")


class Key(NamedTuple):
    """A label in the JSON: its key, and the factor from the label's units to the key's."""

    key: str
    factor: float = 1.0


KEYS: dict[str, Key] = {
    "echo_time": Key("EchoTime", 1e-3),
    "inversion_time": Key("InversionTime", 1e-3),
    "repetition_time": Key("RepetitionTimeExcitation", 1e-3),
    "flip_angle": Key("FlipAngle"),
    "trigger_time": Key("TriggerTime", 1e-3),
    "decay_factor": Key("DecayCorrectionFactor"),
    "frame_reference_time": Key("FrameReferenceTime"),
    "cardiac_phase": Key("CardiacPhase"),
    "number_of_averages": Key("NumberOfAverages"),
}
"""Labels that are one number, or a list with one per volume. Times of volumes have rules of their own."""

_KEPT = """
    Modality Manufacturer MagneticFieldStrength ImagingFrequency SoftwareVersions BodyPartExamined PatientPosition
    SeriesDescription ProtocolName ScanningSequence SequenceVariant ScanOptions SequenceName PulseSequenceName
    MRAcquisitionType ImageType SliceThickness SpacingBetweenSlices PixelBandwidth EchoTrainLength ImagedNucleus
    PercentSampling PercentPhaseFieldOfView NumberOfPhaseEncodingSteps AcquisitionMatrix ReceiveCoilName
    TransmitCoilName VariableFlipAngleFlag SAR dBdt ParallelReductionFactorInPlane ParallelReductionFactorOutOfPlane
    ContrastBolusAgent KVP ConvolutionKernel FilterType GantryDetectorTilt SpiralPitchFactor ReconstructionDiameter
    Radiopharmaceutical AttenuationCorrectionMethod ScatterCorrectionMethod DecayCorrection ReconstructionMethod
    RandomsCorrectionMethod SeriesType CountsSource
"""

HEADER: dict[str, str] = {name: name for name in _KEPT.split()}
"""Elements that are kept, by DICOM keyword, and their key in the JSON. Nothing else of the header gets into it."""
HEADER["ManufacturerModelName"] = "ManufacturersModelName"
HEADER["InPlanePhaseEncodingDirection"] = "InPlanePhaseEncodingDirectionDICOM"

_JOINED = ("SoftwareVersions",)
"""Keys that are one text in BIDS; several values are joined by a backslash, as DICOM does."""

_WHO = """
    PatientName PatientID IssuerOfPatientID PatientBirthDate PatientSex PatientAge PatientWeight PatientSize StudyID
    StudyDate StudyTime AccessionNumber StudyDescription StudyInstanceUID SeriesInstanceUID SeriesDate SeriesTime
    AcquisitionDate InstitutionName StationName DeviceSerialNumber
"""

IDENTIFIERS = tuple(_WHO.split())
"""Elements that are added when identifiers are asked for."""

_SECRETS = ("PatientID", "OtherPatientIDs", "AccessionNumber", "PatientBirthDate", "StudyDate", "StudyInstanceUID")

_ALIASES = {"BodyPart": "BodyPartExamined", "DecayFactor": "DecayCorrectionFactor"}
_BY_KEY = {key: keyword for keyword, key in HEADER.items()}


class Sidecars(NamedTuple):
    """What was found beside an image: the JSON's content, b-values (n,) and FSL's vectors (n, 3)."""

    json: dict[str, Any]
    bval: NDArray[np.float64] | None = None
    bvec: NDArray[np.float64] | None = None


# --- reading ------------------------------------------------------------------------------------------------------


def read_sidecars(files: Mapping[str, File]) -> Sidecars:
    """Read what is there.

    Parameters
    ----------
    files : mapping
        Extension (``.json``, ``.bval``, ``.bvec``) -> file; absent ones are left out.

    Raises
    ------
    SourceError
        Where b-values or vectors are no numbers. A JSON file that is none is left out with a warning.
    """
    content: dict[str, Any] = {}
    if ".json" in files:
        content = _read_json(files[".json"])
    bval = _numbers(files[".bval"]).ravel() if ".bval" in files else None
    bvec = None
    if ".bvec" in files:
        bvec = _numbers(files[".bvec"])
        if bvec.ndim == 2 and bvec.shape[0] == 3 and (bvec.shape[1] != 3 or bval is None or bval.size == 3):
            bvec = bvec.T
        if bvec.ndim != 2 or bvec.shape[1] != 3:
            raise SourceError(
                f"{file_name(files['.bvec'])} has {bvec.shape} numbers: FSL's vectors are three rows, or three columns"
            )
    return Sidecars(content, bval, bvec)


def _text(file: File) -> str:
    try:
        return bytes(file.fs.cat_file(file.path)).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{file_name(file)} is no text in UTF-8") from error
    except OSError as error:
        raise SourceError(f"{file_name(file)} can't be read: {reason(error)}") from error


def _read_json(file: File) -> dict[str, Any]:
    try:
        content = json.loads(_text(file))
    except ValueError as error:
        warn(f"{file_name(file)} is left out, it is no JSON: {error}")
        return {}
    if not isinstance(content, dict):
        warn(f"{file_name(file)} is left out, it holds no object")
        return {}
    return {_ALIASES.get(str(k), str(k)): v for k, v in content.items()}


def _numbers(file: File) -> NDArray[np.float64]:
    rows = [line.replace(",", " ").split() for line in _text(file).splitlines() if line.strip()]
    try:
        values = np.array([[float(x) for x in row] for row in rows], dtype=np.float64)
    except ValueError as error:
        raise SourceError(f"{file_name(file)} does not hold rows of numbers of equal length") from error
    if not np.isfinite(values).all() or values.size == 0:
        raise SourceError(f"{file_name(file)} holds numbers that are not finite, or none")
    return values


def number_list(content: Mapping[str, Any], key: str, count: int) -> NDArray[np.float64] | None:
    """Numbers of a key, one per volume; None if absent, a single number of several volumes, or no numbers.

    A list of another length than `count` is left out with a warning.
    """
    value = content.get(key)
    if not isinstance(value, list) or not value or not all(_is_number(x) for x in value):
        return np.array([float(value)]) if count == 1 and _is_number(value) else None  # type: ignore[arg-type]
    if len(value) != count:
        warn(f"{key} in the JSON sidecar has {len(value)} numbers, the image {count} volumes: it is left out")
        return None
    return np.array(value, dtype=np.float64)


def number(content: Mapping[str, Any], key: str) -> float | None:
    """Return the number of a key; None if it is absent or no finite number."""
    value = content.get(key)
    return float(value) if value is not None and _is_number(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def header_attrs(content: Mapping[str, Any]) -> dict[str, Any]:
    """Attrs of the image, by DICOM keyword, of those keys that are elements and identify nobody."""
    out: dict[str, Any] = {}
    for key, value in content.items():
        keyword = _BY_KEY.get(key, "")
        if key in _JOINED and isinstance(value, str) and "\\" in value:
            value = value.split("\\")
        flat = value if isinstance(value, list) else [value]
        if keyword and flat and all(isinstance(x, str | int | float) and not isinstance(x, bool) for x in flat):
            out[keyword] = value
        if key in OWN and flat and all(_is_number(x) for x in flat):
            out[key] = value
    if isinstance(content.get("Units"), str) and content["Units"]:
        out["units"] = content["Units"]
    return out


# --- writing ------------------------------------------------------------------------------------------------------


def header_json(attrs: Mapping[str, Any], identifiers: bool) -> dict[str, Any]:
    """Keys for the JSON of an image's attrs: those of `HEADER`, without any text that names the patient."""
    secrets = [] if identifiers else _secrets(attrs)
    out: dict[str, Any] = {}
    for keyword, key in HEADER.items():
        value = _plain(attrs.get(keyword))
        if value is not None and not any(s.search(t) for t in _texts(value) for s in secrets):
            out[key] = "\\".join(map(str, value)) if key in _JOINED and isinstance(value, list) else value
    axis = AXIS.get(str(attrs.get("InPlanePhaseEncodingDirection", "")).strip())
    if axis:
        out["PhaseEncodingAxis"] = axis  # rows of the image are rows of the file; the polarity is not known
    if isinstance(attrs.get("units"), str):
        out["Units"] = attrs["units"]
    if identifiers:
        out |= {k: v for k in IDENTIFIERS if (v := _plain(attrs.get(k))) is not None}
    return out


def own_json(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attrs of the library's own for which BIDS has words on the axes of a file alone, for formats that carry attrs."""
    return {k: v for k in OWN if (v := _plain(attrs.get(k))) is not None}


def _secrets(attrs: Mapping[str, Any]) -> list[re.Pattern[str]]:
    """Patterns of the patient's names and ID: long ones anywhere in a text, short ones as a word."""
    texts = [str(attrs.get(k) or "").strip() for k in _SECRETS]
    words = [*re.split(r"[\^=,\s]+", str(attrs.get("PatientName") or "")), *texts]
    return [
        re.compile(re.escape(w) if len(w) > 3 else rf"(?<![^\W_]){re.escape(w)}(?![^\W_])", re.IGNORECASE)
        for w in dict.fromkeys(words)
        if len(w) > 1
    ]


def _texts(value: Any) -> list[str]:
    return [x for x in (value if isinstance(value, list) else [value]) if isinstance(x, str)]


def _plain(value: Any) -> Any:
    """Return a str, finite number or flat list of these; None for anything else."""
    if isinstance(value, np.ndarray | tuple | list):
        items = [_plain(x) for x in (value.tolist() if isinstance(value, np.ndarray) else value)]
        return None if not items or any(x is None or isinstance(x, list) for x in items) else items
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        return value or None
    return value if _is_number(value) else None


def tidy(value: float, digits: int = 9) -> int | float:
    """Return the number with so many significant digits, as int where it is whole: 0.0028, not 0.00280000000004."""
    rounded = float(f"{float(value):.{digits}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded


def tidy_list(values: Sequence[float] | NDArray[np.float64]) -> list[int | float]:
    """`tidy` of each."""
    return [tidy(v) for v in values]


def json_text(content: Mapping[str, Any]) -> str:
    """Text of the JSON file."""
    return json.dumps(dict(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def bval_text(b_values: NDArray[np.float64]) -> str:
    """Text of a ``.bval`` file: one row; whole numbers without a point."""
    return " ".join(f"{tidy(b)}" for b in b_values) + "\n"


def bvec_text(bvecs: NDArray[np.float64]) -> str:
    """Text of a ``.bvec`` file of vectors (n, 3): three rows."""
    rounded = np.round(bvecs, 8) + 0.0  # no -0
    return "".join(" ".join(f"{x:.8g}" for x in row) + "\n" for row in rounded.T)
