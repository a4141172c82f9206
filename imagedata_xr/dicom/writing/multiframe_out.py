"""Single-frame images of a series as one Legacy Converted Enhanced instance (PS3.3 A.70 to A.72), by highdicom."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pydicom
from pydicom.uid import ExplicitVRLittleEndian

from ...errors import FormatError, warn
from .derived import Series
from .fields import code_item, drop, put
from .objects_out import need_highdicom
from .sop_classes import CT, MR, PET, put_laterality
from .uids import new_uid

_MAKERS = {
    MR: "LegacyConvertedEnhancedMRImage",
    CT: "LegacyConvertedEnhancedCTImage",
    PET: "LegacyConvertedEnhancedPETImage",
}
_OF_PIXELS = ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue")
_OF_ALL = (
    "FrameOfReferenceUID", "StudyInstanceUID", "PatientID", "PatientName", "Rows", "Columns", *_OF_PIXELS,
    "PixelPaddingRangeLimit", "PhotometricInterpretation", "SpecificCharacterSet", "Manufacturer",
    "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions", "StationName", "InstitutionName",
)  # fmt: skip
_DERIVATION = ("112187", "DCM", "Unspecified method of calculation")


def alike(images: Sequence[pydicom.Dataset]) -> bool:
    """Whether the pixels of all images are stored in one way, padding included."""
    return all(len({str(ds.get(keyword)) for ds in images}) == 1 for keyword in _OF_PIXELS)


def check_class(uid: str) -> None:
    """Refuse images that no multi-frame class is for.

    Raises
    ------
    FormatError
        They are no MR, CT or PET images.
    """
    if uid not in _MAKERS:
        raise FormatError(
            f"multiframe=True makes Legacy Converted Enhanced MR, CT or PET images of grey classic ones, and these are "
            f"of the class {pydicom.uid.UID(uid).name}: leave it out, or give sop_class"
        )


def converted(
    images: Sequence[pydicom.Dataset], series: Series, derived: bool, sources: Mapping[str, str]
) -> pydicom.Dataset:
    """One instance of all images of a series.

    Parameters
    ----------
    images : sequence of pydicom.Dataset
        Whole classic images; unchanged ones under the UIDs of their source, to which each frame refers.
    series : Series
        Its UID, and what was asked for.
    derived : bool
        Whether the images are derived: frames then refer to what these were derived from.
    sources : mapping
        UIDs of the instances that these were derived from, and the series of each.

    Raises
    ------
    FormatError
        The images differ in what one instance says of all of them, or can't be converted.
    """
    hd = need_highdicom("multiframe=True")
    for ds in images:
        check_class(str(ds.SOPClassUID))
        if "ImagePositionPatient" not in ds:
            raise FormatError("multiframe=True says of each frame where it lies, and these images have no place")
    if odd := [k for k in (*_OF_ALL, "SOPClassUID") if len({str(ds.get(k)) for ds in images}) > 1]:
        raise FormatError(
            f"the images differ in {', '.join(odd)}, of which one multi-frame instance has one value for all: leave "
            "out multiframe=True, or write them as several series"
        )
    if derived:
        low, high = _limits(images)
        for ds in images:
            put(ds, "WindowCenter", (low + high) / 2)
            put(ds, "WindowWidth", max(high - low, 1.0))
            if "SourceImageSequence" in ds:
                ds.DerivationCodeSequence = [code_item(*_DERIVATION)]
    first = images[0]
    number = series.number if series.number is not None else first.get("SeriesNumber")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            made: pydicom.Dataset = getattr(hd.legacy, _MAKERS[first.SOPClassUID])(
                list(images), series.uid, max(int(number or 1), 1), new_uid(), 1,
                transfer_syntax_uid=ExplicitVRLittleEndian,
            )  # fmt: skip
        except (ValueError, TypeError, AttributeError, KeyError, NotImplementedError) as error:
            raise FormatError(f"highdicom can't make one multi-frame instance of these images: {error}") from error
    if said:
        warn(
            "the multi-frame instance lacks what its source lacks: " + "; ".join(sorted({str(w.message) for w in said}))
        )
    return _finished(made, images, series, derived, sources)


def _limits(images: Sequence[pydicom.Dataset]) -> tuple[float, float]:
    """Lowest and highest value of derived images, which are stored natively."""
    ends = []
    for ds in images:
        kind = np.dtype(f"<{'i' if ds.PixelRepresentation else 'u'}{ds.BitsAllocated // 8}")
        stored = np.frombuffer(ds.PixelData, kind, ds.Rows * ds.Columns)
        known = stored[stored != ds.PixelPaddingValue] if "PixelPaddingValue" in ds else stored
        slope, intercept = float(ds.get("RescaleSlope") or 1), float(ds.get("RescaleIntercept") or 0)
        ends += [float(v) * slope + intercept for v in (known.min(), known.max())] if known.size else []
    return min(ends, default=0.0), max(ends, default=0.0)


def _finished(
    made: pydicom.Dataset, images: Sequence[pydicom.Dataset], series: Series, derived: bool,
    sources: Mapping[str, str],
) -> pydicom.Dataset:  # fmt: skip
    """Put right what highdicom leaves open: references, names of the series, and padding that stands for NaN."""
    first = images[0]
    description = series.description if series.description is not None else str(first.get("SeriesDescription") or "")
    if description:
        put(made, "SeriesDescription", description)
    frames = (*made.SharedFunctionalGroupsSequence, *made.PerFrameFunctionalGroupsSequence)
    if not any("FrameAnatomySequence" in frame for frame in frames):  # which says the side
        put_laterality(made)
    drop(made, ["ReferencedSeriesSequence"])  # of images that are no references (dciodvfy), or were never written
    for frame in made.PerFrameFunctionalGroupsSequence:
        if "UnassignedPerFrameConvertedAttributesSequence" not in frame:
            own = pydicom.Dataset()  # a single frame has all in common with itself, and the item is demanded
            put(own, "InstanceNumber", first.get("InstanceNumber"))
            frame.UnassignedPerFrameConvertedAttributesSequence = [own]
    for shared in made.SharedFunctionalGroupsSequence:
        steps = {str(ds.get("SpacingBetweenSlices") or "") for ds in images}
        if shared.get("PixelMeasuresSequence") and len(steps) == 1 and "" not in steps:
            put(shared.PixelMeasuresSequence[0], "SpacingBetweenSlices", first.SpacingBetweenSlices)
    if "PixelPaddingValue" in first:
        made["PixelPaddingValue"] = first["PixelPaddingValue"]
    if derived:
        put(made, "DerivationDescription", first.get("DerivationDescription"))
        for frame in frames:
            drop(frame, ["ConversionSourceAttributesSequence"])
            for item in frame.get("DerivationImageSequence") or ():
                put(item, "DerivationDescription", first.get("DerivationDescription"))
        _refer(made, images, sources)
    return made


def _refer(made: pydicom.Dataset, images: Sequence[pydicom.Dataset], sources: Mapping[str, str]) -> None:
    """List the images that were sources, by their series (PS3.3 C.12.2)."""
    listed: dict[str, dict[str, pydicom.Dataset]] = {}
    for ds in images:
        for item in ds.get("SourceImageSequence") or ():
            uid = str(item.ReferencedSOPInstanceUID)
            if uid in sources:
                short = pydicom.Dataset()
                short.ReferencedSOPClassUID, short.ReferencedSOPInstanceUID = item.ReferencedSOPClassUID, uid
                listed.setdefault(sources[uid], {})[uid] = short
    if listed:
        made.ReferencedSeriesSequence = []
    for series, instances in listed.items():
        group = pydicom.Dataset()
        group.SeriesInstanceUID, group.ReferencedInstanceSequence = series, list(instances.values())
        made.ReferencedSeriesSequence.append(group)
    if listed:  # sources are of the study of what was derived from them, or not named
        study = pydicom.Dataset()
        study.StudyInstanceUID, study.ReferencedSeriesSequence = made.StudyInstanceUID, []
        for uid, instances in listed.items():
            group = pydicom.Dataset()
            group.SeriesInstanceUID, group.ReferencedSOPSequence = uid, list(instances.values())
            study.ReferencedSeriesSequence.append(group)
        made.SourceImageEvidenceSequence = [study]
