"""One frame of a multi-frame instance as a header of a classic single-frame one (PS3.3 C.7.6.16)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pydicom

from ...model.identity import instance_digest
from .fields import drop, put

_RENAMED = {
    "EffectiveEchoTime": "EchoTime",
    "FrameType": "ImageType",
    "FrameLaterality": "ImageLaterality",
    "FrameComments": "ImageComments",
    "FrameAcquisitionNumber": "AcquisitionNumber",
    "ExposureTimeInms": "ExposureTime",
    "XRayTubeCurrentInmA": "XRayTubeCurrent",
    "ExposureInmAs": "Exposure",
    "RRIntervalTimeNominal": "NominalInterval",
    "TransmitterFrequency": "ImagingFrequency",
    "MRAcquisitionPhaseEncodingStepsInPlane": "NumberOfPhaseEncodingSteps",
}
_PASSED_OVER = ("ReferencedImageSequence", "DerivationImageSequence", "IconImageSequence",
                "ConversionSourceAttributesSequence")  # fmt: skip
_WHOLE = ("RealWorldValueMappingSequence",)
"""Sequences of a group that stand as they are in a classic header."""
_PHILIPS = "Philips MR Imaging DD 005", 0x2005, 0x0F
"""Private group of Philips with the elements of the frame that a classic header of theirs has."""
_MOST_TILES = 1024  # of a mosaic, whose header does not count them in a standard element
_NESTED = ("AnatomicRegionSequence", "PrimaryAnatomicStructureSequence")

# keyword of an enhanced MR header, values that mean nothing, code of Sequence Variant (PS3.3 C.8.3.1.1.2)
_VARIANTS = (
    ("SegmentedKSpaceTraversal", ("SINGLE",), "SK"),
    ("MagnetizationTransfer", ("NONE",), "MTC"),
    ("SteadyStatePulseSequence", ("NONE",), "SS"),
    ("Spoiling", ("NONE",), "SP"),
    ("OversamplingPhase", ("NONE",), "OSP"),
)


def is_multiframe(header: pydicom.Dataset) -> bool:
    """Whether an instance has several frames, or is of a class that may."""
    return "PerFrameFunctionalGroupsSequence" in header or int(header.get("NumberOfFrames") or 1) > 1


def frame_digests(header: pydicom.Dataset) -> dict[int, int]:
    """Digests of the frames of an instance, and the number of each, from 1."""
    uid = str(header.get("SOPInstanceUID") or "")
    return {instance_digest(uid, n): n for n in range(1, int(header.get("NumberOfFrames") or 1) + 1)}


def tile_digests(header: pydicom.Dataset) -> dict[int, int]:
    """Digests of the tiles that a mosaic or grid may have, which no standard element counts, and the number of each."""
    uid = str(header.get("SOPInstanceUID") or "")
    return {instance_digest(uid, n): n for n in range(1, _MOST_TILES + 1)}


def frame_header(header: pydicom.Dataset, number: int) -> pydicom.Dataset:
    """Header of one image; of a frame, the functional groups' elements become elements of the header.

    Parameters
    ----------
    header : pydicom.Dataset
        Of the whole instance; changed.
    number : int
        Of the frame, from 1.

    Returns
    -------
    pydicom.Dataset
        With Referenced Frame Number (0008,1160) where it is of a frame; Number of Frames stays.
    """
    if not is_multiframe(header):
        return header
    shared = header.get("SharedFunctionalGroupsSequence") or []
    each = header.get("PerFrameFunctionalGroupsSequence") or []
    groups = [*shared[:1], *each[number - 1 : number]]
    for item in groups:
        for group in item:
            if group.keyword in _WHOLE:
                header[group.tag] = group
            elif group.VR == "SQ" and not group.tag.is_private and group.keyword not in _PASSED_OVER and group.value:
                _lift(group.value[0], header)
        _keep_private(item, header)
    drop(header, ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"])
    if str(header.get("Modality")) == "MR":
        _name_sequence(header)
    put(header, "ReferencedFrameNumber", number)
    return header


def _keep_private(item: pydicom.Dataset, header: pydicom.Dataset) -> None:
    creator, group, element = _PHILIPS
    try:
        found = item.private_block(group, creator)[element]
    except KeyError:
        return
    header.private_block(group, creator, create=True).add_new(element, "SQ", found.value)


def _lift(item: pydicom.Dataset, header: pydicom.Dataset) -> None:
    for element in item:
        keyword = element.keyword
        if not keyword or element.tag.is_private:
            continue
        if (special := _SPECIAL.get(keyword)) is not None:
            special(element.value, header)
        elif element.VR != "SQ" or keyword in _NESTED:
            value = element.value
            name = _RENAMED.get(keyword, keyword)
            if name != keyword and value in (None, ""):
                continue
            put(header, name, value, element.VR if name == keyword else None)


def _gated(value: Any, header: pydicom.Dataset) -> None:
    """Trigger time of a frame that waited for the heart, which a classic header may say of such images alone."""
    if value in (None, ""):
        return
    put(header, "TriggerTime", value)
    if str(header.get("CardiacSynchronizationTechnique") or "") != "NONE":
        put_gating(header)


def put_gating(header: pydicom.Dataset) -> None:
    """Say that an image is gated by the heart (PS3.3 C.8.3.1.1.3): Trigger Time is of such images alone."""
    options = header.get("ScanOptions") or []
    words = [options] if isinstance(options, str) else [str(o) for o in options]
    if not {"CG", "PPG"} & set(words):
        put(header, "ScanOptions", [*words, "CG"])


def _acquired(value: Any, header: pydicom.Dataset) -> None:
    text = str(value or "")
    zone = next((i for i in range(8, len(text)) if text[i] in "+-"), len(text))
    if len(text) >= 8:
        put(header, "AcquisitionDateTime", text)
        put(header, "AcquisitionDate", text[:8])
        put(header, "AcquisitionTime", text[8:zone])


def _inverted(value: Any, header: pydicom.Dataset) -> None:
    first = value if isinstance(value, float) else next(iter(value or []), None)
    if first is not None:
        put(header, "InversionTime", first)


def _gradient(value: Any, header: pydicom.Dataset) -> None:
    if value and (vector := value[0].get("DiffusionGradientOrientation")) is not None:
        put(header, "DiffusionGradientOrientation", list(vector))


def _phase_encoding(value: Any, header: pydicom.Dataset) -> None:
    put(header, "InPlanePhaseEncodingDirection", {"COLUMN": "COL"}.get(str(value), str(value)))


_SPECIAL: dict[str, Callable[[Any, pydicom.Dataset], None]] = {
    "FrameAcquisitionDateTime": _acquired,
    "NominalCardiacTriggerDelayTime": _gated,
    "InversionTimes": _inverted,
    "DiffusionGradientDirectionSequence": _gradient,
    "InPlanePhaseEncodingDirection": _phase_encoding,
}


def _name_sequence(header: pydicom.Dataset) -> None:
    """Scanning Sequence and Variant of a classic MR image, from what an enhanced one says (PS3.3 C.8.13.4)."""
    if not header.get("ScanningSequence"):
        kinds = {"SPIN": ["SE"], "GRADIENT": ["GR"], "BOTH": ["SE", "GR"]}.get(
            str(header.get("EchoPulseSequence")), ["RM"]
        )
        kinds += ["IR"] * (header.get("InversionRecovery") == "YES")
        kinds += ["EP"] * (header.get("EchoPlanarPulseSequence") == "YES")
        put(header, "ScanningSequence", kinds)
    if not header.get("SequenceVariant"):
        found = [code for key, nothing, code in _VARIANTS if str(header.get(key) or nothing[0]) not in nothing]
        put(header, "SequenceVariant", found or ["NONE"])
    if "ResonantNucleus" in header and "ImagedNucleus" not in header:
        put(header, "ImagedNucleus", str(header.ResonantNucleus))
    if "PulseSequenceName" in header and "SequenceName" not in header:
        put(header, "SequenceName", str(header.PulseSequenceName)[:16])
