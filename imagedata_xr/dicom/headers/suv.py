"""Standardized uptake values of PET: the factor of each image, once all that it rests on is known.

The rules are those of the vendor-neutral pseudo-code of QIBA ("SUV calculation", appendix G of the QIBA profile
FDG-PET/CT) and of PS3.3 C.8.9: what they need and is missing or doubtful is an error that names it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pydicom

from ...errors import LabelError
from ..writing.fields import numbers
from .private import private
from .suv_times import Moments, decay_seconds

ENHANCED = "1.2.840.10008.5.1.4.1.1.130"
_PHILIPS = "Philips PET Private Group"
_FEWEST, _MOST = 1e4, 1e11  # Bq: fewer or more than any animal or patient is given
_HEAVIEST = 500.0  # kg


@dataclass(frozen=True)
class Uptake:
    """A kind of uptake value.

    Attributes
    ----------
    types : tuple of str
        SUV Types (0054,1006) of images that hold it; the first is what is written.
    units, stored : str
        Of the values, and the Units (0054,1001) of images that hold it.
    """

    types: tuple[str, ...]
    units: str
    stored: str


KINDS = {
    "suv": Uptake(("BW", ""), "g/ml", "GML"),
    "suvlbm": Uptake(("LBMJANMA",), "g/ml", "GML"),
    "suvbsa": Uptake(("BSA",), "cm2/ml", "CM2ML"),
}
"""By body weight; by lean body mass after Janmahasatian; by body surface area after Du Bois."""


def suv_factors(
    headers: Sequence[pydicom.Dataset], series: Sequence[pydicom.Dataset], kind: str, start: str | None
) -> list[float]:
    """Factor from the values of each image, after its rescale, to uptake values.

    Parameters
    ----------
    headers : sequence of pydicom.Dataset
        Of each image, as a classic one.
    series : sequence of pydicom.Dataset
        Of all images of the same source: when the first was measured decides what Series Time stands for.
    kind : str
        Of `KINDS`.
    start : str, optional
        ISO date and time that the decay is corrected to, where the elements do not tell.

    Raises
    ------
    LabelError
        Something that the factor rests on is missing or doubtful, with its name and value.
    """
    moments = Moments.of(series, start)
    known: dict[tuple[str, ...], float] = {}
    out = []
    for header in headers:
        key = (*(str(header.get(k, "")) for k in _DECIDES), str(_philips(header)))
        if key not in known:
            known[key] = _factor(header, moments, kind)
        out.append(known[key])
    return out


_DECIDES = (
    "Units", "SUVType", "CorrectedImage", "DecayCorrection", "CountsSource", "PatientWeight", "PatientSize",
    "PatientSex", "RadiopharmaceuticalInformationSequence", "SeriesInstanceUID", "DecayCorrected",
    "AttenuationCorrected", "DecayCorrectionDateTime",
)  # fmt: skip


def _factor(header: pydicom.Dataset, moments: Moments, kind: str) -> float:
    if str(header.get("Modality", "")) != "PT":
        raise LabelError(f"uptake values are of PET, but the Modality of the images is {header.get('Modality', '')!r}")
    _require_corrections(header)
    enhanced = str(header.get("SOPClassUID", "")) == ENHANCED
    units, uptake = "BQML" if enhanced else str(header.get("Units") or ""), KINDS[kind]
    if units in ("GML", "CM2ML"):
        said = str(header.get("SUVType") or "")
        if units != uptake.stored or said not in uptake.types:
            raise LabelError(
                f"the images hold uptake values already (Units {units}, SUVType {said or 'not said, which is BW'}), "
                f"but not those of kind={kind!r}"
            )
        return 1.0
    per_ml = 1.0
    if units == "CNTS":
        direct, per_ml = _philips(header)
        if kind == "suv" and direct:
            if str(header.get("DecayCorrection") or "") != "START":
                raise LabelError(_no_correction(header))
            return direct
        if not per_ml:
            raise LabelError(
                "the Units are CNTS (counts), and the private elements of Philips that make Bq/ml or SUV of them, "
                "(7053,xx00) and (7053,xx09), are missing or zero"
            )
    elif units != "BQML":
        raise LabelError(f"the Units are {units!r}: uptake values are made of BQML, GML, or CNTS of Philips")
    body = _BODY[kind](header)
    return per_ml * body / _decayed_dose(header, moments, enhanced)


def _philips(header: pydicom.Dataset) -> tuple[float, float]:
    """Factor of Philips from counts to SUV, and from counts to Bq/ml; 0 without."""
    values = (private(header, _PHILIPS, 0x7053, element) for element in (0x00, 0x09))
    direct, per_ml = (0.0 if v is None or not np.isfinite(v) or v <= 0 else float(v) for v in values)
    return direct, per_ml


def _require_corrections(header: pydicom.Dataset) -> None:
    if str(header.get("SOPClassUID", "")) == ENHANCED:
        for keyword in ("AttenuationCorrected", "DecayCorrected"):
            if str(header.get(keyword) or "") != "YES":
                raise LabelError(f"{keyword} is {header.get(keyword, '')!r}, where uptake values need YES")
        return
    corrected = header.get("CorrectedImage") or []
    words = [corrected] if isinstance(corrected, str) else [str(w) for w in corrected]
    lacking = [w for w in ("ATTN", "DECY") if w not in words]
    if lacking:
        raise LabelError(
            f"CorrectedImage is {words}, without {' and '.join(lacking)}: uptake values need images that are corrected "
            "for attenuation and decay"
        )
    if (source := str(header.get("CountsSource") or "EMISSION")) != "EMISSION":
        raise LabelError(f"CountsSource is {source!r}, where uptake values need EMISSION")


def _no_correction(header: pydicom.Dataset) -> str:
    return (
        f"DecayCorrection is {str(header.get('DecayCorrection') or '')!r}: uptake values need START (corrected to the "
        "start of the scan) or ADMIN (to the administration)"
    )


# --- dose -------------------------------------------------------------------------------------------------------------


def _decayed_dose(header: pydicom.Dataset, moments: Moments, enhanced: bool) -> float:
    """Administered activity at the moment that the decay is corrected to, Bq."""
    items = header.get("RadiopharmaceuticalInformationSequence") or []
    if len(items) != 1:
        raise LabelError(
            f"RadiopharmaceuticalInformationSequence has {len(items)} items, where uptake values need one: which dose "
            "was measured can't be told"
        )
    info = items[0]
    dose = _positive(info, "RadionuclideTotalDose", "Bq") * (1e6 if enhanced else 1.0)  # C.8.22.4: MBq
    if not _FEWEST <= dose <= _MOST:
        unit = "MBq" if enhanced else "Bq"
        raise LabelError(
            f"RadionuclideTotalDose is {info.RadionuclideTotalDose}, which can hardly be {unit}: is it of another unit?"
        )
    mode = str(header.get("DecayCorrection") or "")
    if mode == "ADMIN":
        return dose
    if mode != "START" and not enhanced:
        raise LabelError(_no_correction(header))
    half_life = _positive(info, "RadionuclideHalfLife", "s")
    return float(dose * 2.0 ** (-decay_seconds(header, info, half_life, moments) / half_life))


def _positive(ds: pydicom.Dataset, keyword: str, units: str) -> float:
    value = numbers(ds, keyword, 1)
    if value is None or value[0] <= 0:
        said = "missing" if ds.get(keyword) in (None, "") else str(ds.get(keyword))
        raise LabelError(
            f"{keyword} is {said}, where uptake values need a number of {units} above zero"
            + (f"; imd.assign_dicom({keyword}=...) sets it" if keyword.startswith("Patient") else "")
        )
    return float(value[0])


# --- body -------------------------------------------------------------------------------------------------------------


def _weight(header: pydicom.Dataset) -> float:
    """Patient's weight, kg."""
    weight = _positive(header, "PatientWeight", "kg")
    if weight > _HEAVIEST:
        raise LabelError(f"PatientWeight is {weight:g}, which can hardly be kg; imd.assign_dicom(PatientWeight=...)")
    return weight


def _height(header: pydicom.Dataset) -> float:
    """Patient's height, m."""
    height = _positive(header, "PatientSize", "m")
    if not 0.2 <= height <= 2.8:
        raise LabelError(f"PatientSize is {height:g}, which can hardly be m; imd.assign_dicom(PatientSize=...)")
    return height


def _grams(header: pydicom.Dataset) -> float:
    return 1e3 * _weight(header)


def _lean(header: pydicom.Dataset) -> float:
    """Lean body mass, g (Janmahasatian et al., Clin Pharmacokinet 2005;44:1051-65)."""
    weight, height, sex = _weight(header), _height(header), str(header.get("PatientSex") or "")
    if sex not in ("M", "F"):
        raise LabelError(f"PatientSex is {sex!r}, where lean body mass needs M or F; imd.assign_dicom(PatientSex=...)")
    index = weight / height**2
    return 1e3 * (9270 * weight / (6680 + 216 * index if sex == "M" else 8780 + 244 * index))


def _surface(header: pydicom.Dataset) -> float:
    """Body surface area, cm2 (Du Bois and Du Bois, Arch Intern Med 1916;17:863-71)."""
    return float(1e4 * 0.007184 * _weight(header) ** 0.425 * (100 * _height(header)) ** 0.725)


_BODY = {"suv": _grams, "suvlbm": _lean, "suvbsa": _surface}
