"""Which SOP class a derived image gets, and the elements that its class demands (PS3.3 A.4, A.3, A.21, A.8)."""

from __future__ import annotations

import numpy as np
import pydicom

from ...errors import warn
from .fields import code_item, drop, put

MR = "1.2.840.10008.5.1.4.1.1.4"
CT = "1.2.840.10008.5.1.4.1.1.2"
PET = "1.2.840.10008.5.1.4.1.1.128"
SC = "1.2.840.10008.5.1.4.1.1.7"
CR = "1.2.840.10008.5.1.4.1.1.1"
US = "1.2.840.10008.5.1.4.1.1.6.1"
XA = "1.2.840.10008.5.1.4.1.1.12.1"
RF = "1.2.840.10008.5.1.4.1.1.12.2"
RTIMAGE = "1.2.840.10008.5.1.4.1.1.481.1"
_PROJECTION = tuple(f"1.2.840.10008.5.1.4.1.1.1.{k}" for k in ("1", "1.1", "2", "2.1", "3", "3.1"))  # DX, MG, IO

ALIKE = {
    "1.2.840.10008.5.1.4.1.1.4.1": MR,  # Enhanced MR
    "1.2.840.10008.5.1.4.1.1.4.4": MR,  # Legacy Converted Enhanced MR
    "1.2.840.10008.5.1.4.1.1.2.1": CT,
    "1.2.840.10008.5.1.4.1.1.2.2": CT,
    "1.2.840.10008.5.1.4.1.1.130": PET,
    "1.2.840.10008.5.1.4.1.1.128.1": PET,
    "1.2.840.10008.5.1.4.1.1.3.1": US,  # US Multi-frame
}
"""Classic single-frame class that says what a multi-frame one says."""

_KEPT = (MR, CT, PET, SC, CR, US, XA, RF, RTIMAGE, *_PROJECTION)
_RESCALED = (MR, CT, PET, SC, CR, XA, RF, RTIMAGE)  # values may be rescaled; for DX, MG and IO by 1 and 0 only
_UNPAIRED = frozenset(
    """
    ABDOMEN ABDOMENPELVIS AORTA BACK BLADDER BRAIN CEREBELLUM CERVIX CHEST CHESTABDOMEN CHESTABDPELVIS CIRCLEOFWILLIS
    COCCYX COLON CORONARYARTERY CSPINE CTSPINE DUODENUM ESOPHAGUS FACE GALLBLADDER HEAD HEADNECK HEART ILEUM ILIUM JAW
    LARYNX LIVER LSPINE LSSPINE MAXILLA MEDIASTINUM MOUTH NECK NECKCHEST NOSE PANCREAS PELVIS PENIS PHARYNX PROSTATE
    RECTUM SCALP SKULL SPINE SPLEEN STERNUM STOMACH THYMUS THYROID TLSPINE TONGUE TRACHEA TSPINE URETER URETHRA UTERUS
    VAGINA VULVA WHOLEBODY
    """.split()  # noqa: SIM905
)
_BY_MODALITY = {"MR": MR, "CT": CT, "PT": PET}
_SCALAR_ONLY = (MR, CT, PET, CR, XA, RF, RTIMAGE, *_PROJECTION)


def class_for(header: pydicom.Dataset, colour: bool, asked: str = "") -> str:
    """SOP class of a derived image.

    Parameters
    ----------
    header : pydicom.Dataset
        Own header, or elements of the attrs.
    colour : bool
    asked : str
        ``MR``, ``CT``, ``PT`` or ``SC``, from the user.
    """
    if asked:
        return {**_BY_MODALITY, "PET": PET, "SC": SC}[asked]
    uid = str(header.get("SOPClassUID", "") or "")
    uid = ALIKE.get(uid, uid)
    if not uid:
        uid = _BY_MODALITY.get(str(header.get("Modality", "") or ""), SC)
    if uid not in _KEPT or (colour and uid in _SCALAR_ONLY):
        return SC
    return uid


def may_rescale(uid: str) -> bool:
    """Whether images of this class may have a rescale other than slope 1 and intercept 0."""
    return uid in _RESCALED


def is_projection(uid: str) -> bool:
    """Whether images of this class are digital X-ray, mammography or intra-oral projections."""
    return uid in _PROJECTION


def only_bytes(uid: str) -> bool:
    """Whether grey images of this class have 8 bits (PS3.3 C.8.5.6.1.3)."""
    return uid == US


def sixteen_bits(uid: str) -> bool:
    """Whether images of this class have 16 bits allocated (PS3.3 C.8.3.1, C.8.2.1, C.8.9.4)."""
    return uid in (MR, CT, PET)


def _empty(ds: pydicom.Dataset, *keywords: str) -> None:
    for keyword in keywords:
        if keyword not in ds:
            put(ds, keyword, "")


def _default(ds: pydicom.Dataset, keyword: str, value: object) -> bool:
    """Give an element a value where it has none; return whether it was needed."""
    if keyword in ds and ds[keyword].value not in (None, "", []):
        return False
    put(ds, keyword, value)
    return True


def complete(ds: pydicom.Dataset, uid: str, slices: int, volumes: int, has_place: bool) -> list[str]:
    """Fill in what a class demands and nobody said.

    Returns
    -------
    list of str
        Keywords that got a neutral value where the class demands a true one.
    """
    if "Manufacturer" not in ds:  # of what produced the instance; empty it may be, but some readers fail at that
        ds.Manufacturer = "imagedata_xr"
    _empty(ds, "SeriesNumber", "InstanceNumber")
    ds.SOPClassUID = uid
    if has_place:
        _empty(ds, "PositionReferenceIndicator")
    elif uid not in (US, SC):
        _empty(ds, "PatientOrientation")
    if not ds.get("AnatomicRegionSequence"):  # one item, or none at all (PS3.3 10.5)
        drop(ds, ["AnatomicRegionSequence"])
    put_laterality(ds)
    filler = {MR: _mr, CT: _ct, PET: _pet, SC: _sc}.get(uid)
    return filler(ds, slices, volumes) if filler is not None else []


def put_laterality(ds: pydicom.Dataset) -> None:
    """Laterality is demanded, and may be empty, unless the body part is known to be unpaired (PS3.3 C.7.3.1)."""
    part = str(ds.get("BodyPartExamined", "") or "").strip()
    if not part:
        drop(ds, ["BodyPartExamined"])
    if part in _UNPAIRED and not str(ds.get("Laterality", "") or ""):
        drop(ds, ["Laterality"])
    elif part not in _UNPAIRED and "ImageLaterality" not in ds:
        _empty(ds, "Laterality")


def _mr(ds: pydicom.Dataset, slices: int, volumes: int) -> list[str]:
    ds.Modality = "MR"
    guessed = [k for k, v in (("ScanningSequence", "RM"), ("SequenceVariant", "NONE")) if _default(ds, k, v)]
    _empty(ds, "ScanOptions", "MRAcquisitionType", "EchoTime", "EchoTrainLength", "RepetitionTime", "SliceThickness")
    if "IR" in str(ds.ScanningSequence):
        _empty(ds, "InversionTime")
    elif not ds.get("InversionTime"):  # enhanced headers say 0 where nothing is inverted
        drop(ds, ["InversionTime"])
    if {"CG", "PPG"} & {str(o) for o in np.atleast_1d(ds.ScanOptions or "")}:  # heart gating
        _empty(ds, "TriggerTime")
    if "PatientPosition" not in ds and "PatientOrientationCodeSequence" not in ds:
        put(ds, "PatientPosition", "")
    return guessed


def _ct(ds: pydicom.Dataset, slices: int, volumes: int) -> list[str]:
    ds.Modality = "CT"
    _empty(ds, "KVP", "AcquisitionNumber", "SliceThickness")
    if "PatientPosition" not in ds and "PatientOrientationCodeSequence" not in ds:
        put(ds, "PatientPosition", "")
    return []


def _pet(ds: pydicom.Dataset, slices: int, volumes: int) -> list[str]:
    ds.Modality = "PT"
    kind = [str(v) for v in ds.get("SeriesType", None) or ["STATIC", "IMAGE"]]
    if volumes > 1 and kind[0] == "STATIC":
        kind[0] = "DYNAMIC"
    elif volumes == 1 and kind[0] in ("DYNAMIC", "GATED"):
        kind[0] = "STATIC"
    ds.SeriesType = [kind[0], kind[1] if len(kind) > 1 else "IMAGE"]
    if kind[0] == "DYNAMIC":
        put(ds, "NumberOfTimeSlices", volumes)
    put(ds, "NumberOfSlices", slices)
    needed = [
        ("CountsSource", "EMISSION"),
        ("DecayCorrection", "NONE"),
        ("FrameReferenceTime", 0),
        ("ActualFrameDuration", 0),
    ]
    if str(ds.get("DecayCorrection", "NONE") or "NONE") != "NONE":
        needed.append(("DecayFactor", 1))
    guessed = [k for k, v in needed if _default(ds, k, v)]
    _default(ds, "CollimatorType", "NONE")
    _empty(ds, "CorrectedImage", "SliceThickness", "AcquisitionDate", "AcquisitionTime")
    _put_lying(ds)
    if "RadiopharmaceuticalInformationSequence" not in ds:
        put(ds, "RadiopharmaceuticalInformationSequence", [])
    return guessed


_LYING = {"S": ("40199007", "supine"), "P": ("1240000", "prone"), "DR": ("102535000", "right lateral decubitus"),
          "DL": ("102536004", "left lateral decubitus")}  # fmt: skip
"""PS3.16 CID 20, modifiers of recumbent."""
_FIRST = {"H": ("102540008", "headfirst"), "F": ("102541007", "feet-first")}
"""PS3.16 CID 21."""
_LYING_CODES = ("PatientOrientationCodeSequence", "PatientGantryRelationshipCodeSequence")


def _put_lying(ds: pydicom.Dataset) -> None:
    """Say who lies how by codes, which PET demands, and which stand in place of Patient Position (PS3.3 C.7.3.1)."""
    codes = _LYING_CODES
    position = str(ds.get("PatientPosition") or "")
    if any(ds.get(keyword) for keyword in codes):
        return
    for keyword in codes:
        put(ds, keyword, [])
    if position[:1] in _FIRST and position[2:] in _LYING:
        lying = code_item("102538003", "SCT", "recumbent")
        lying.PatientOrientationModifierCodeSequence = [code_item(*_sct(_LYING[position[2:]]))]
        put(ds, codes[0], [lying])
        put(ds, codes[1], [code_item(*_sct(_FIRST[position[0]]))])
        drop(ds, ["PatientPosition"])


def _sct(code: tuple[str, str]) -> tuple[str, str, str]:
    return code[0], "SCT", code[1]


def _sc(ds: pydicom.Dataset, slices: int, volumes: int) -> list[str]:
    _default(ds, "Modality", "OT")
    _default(ds, "ConversionType", "WSD")
    _empty(ds, "PatientOrientation")
    for keyword in _LYING_CODES:  # PET and nuclear medicine alone may leave them empty
        if not ds.get(keyword):
            drop(ds, [keyword])
    for view in ds.get("ViewCodeSequence") or ():  # mammography alone has an empty one
        if not view.get("ViewModifierCodeSequence"):
            drop(view, ["ViewModifierCodeSequence"])
    return []


def warn_neutral(keywords: set[str]) -> None:
    """Say which elements were demanded and unknown."""
    if keywords:
        warn(
            f"{', '.join(sorted(keywords))}: the SOP class demands them and the image does not know them, so neutral "
            "values are written. assign_dicom(...) or labels say the true ones"
        )
