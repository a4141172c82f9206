"""Elements that can't be assigned, since labels, geometry, pixels or the writer own them, and what to do instead."""

from __future__ import annotations

from ..writing.identity_out import STUDY_KEYWORDS
from ..writing.stale import STALE

_GEOMETRY = "say where the image lies with imd.assign_grid(other), or change the labels slice, row and col"
_PIXELS = "it follows from the values: change those, with astype or arithmetic; units= of imd.write says their unit"
_UIDS = "UIDs of what is written are made anew; keep_uid=True of imd.write keeps those of unchanged images"
_MOMENTS = "change the labels: assign_coords(acquisition_time=...), or the values and attrs['epoch'] of a dim of time"
_DIFFUSION = "change the labels b_value, b_vector_x, b_vector_y, b_vector_z and diffusion_directionality"
_FRAMES = "it belongs to multi-frame instances; the images of a changed one are written one by one"
_LABELLING = "change the label asl_context (0 control, 1 label, 2 M0 scan)"
_WRITTEN = "it speaks of files, or counts them, and is made anew when they are written"
_TEXT = "format_options={'character_set': ...} of imd.write chooses it"
_SHOWN = frozenset(
    """
    WindowCenter WindowWidth WindowCenterWidthExplanation VOILUTFunction VOILUTSequence RealWorldValueMappingSequence
    ReferencedImageSequence
    """.split()  # noqa: SIM905
)
"""Elements that are stale in a derived image, unless somebody says them."""

_OWNED: dict[str, str] = {
    **dict.fromkeys(STALE - _SHOWN, _WRITTEN),
    **{
        word: why
        for why, words in {
            _GEOMETRY: "ImagePositionPatient ImageOrientationPatient PixelSpacing SliceLocation SpacingBetweenSlices "
            "FrameOfReferenceUID",
            _PIXELS: "Rows Columns PixelData FloatPixelData DoubleFloatPixelData BitsAllocated BitsStored HighBit "
            "PixelRepresentation SamplesPerPixel PlanarConfiguration PhotometricInterpretation RescaleSlope "
            "RescaleIntercept RescaleType PixelPaddingValue PixelPaddingRangeLimit SmallestImagePixelValue "
            "LargestImagePixelValue LossyImageCompression",
            _UIDS: "SOPInstanceUID SeriesInstanceUID SOPClassUID MediaStorageSOPInstanceUID MediaStorageSOPClassUID "
            "TransferSyntaxUID",
            _MOMENTS: "AcquisitionTime AcquisitionDate AcquisitionDateTime FrameAcquisitionDateTime",
            _DIFFUSION: "DiffusionBValue DiffusionGradientOrientation DiffusionDirectionality",
            _FRAMES: "NumberOfFrames SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence "
            "DimensionIndexSequence DimensionOrganizationSequence",
            _LABELLING: "ASLContext",
            _WRITTEN: "InstanceNumber InstanceCreationDate InstanceCreationTime",
            _TEXT: "SpecificCharacterSet",
        }.items()
        for word in words.split()
    },
}
_OF_PLACE = ("ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio", "PatientOrientation")
_OF_SERIES = frozenset(
    """
    Modality Laterality SeriesNumber PerformingPhysicianName ProtocolName SeriesDescription SeriesDate SeriesTime
    OperatorsName BodyPartExamined PatientPosition Manufacturer InstitutionName InstitutionAddress StationName
    InstitutionalDepartmentName ManufacturerModelName DeviceSerialNumber SoftwareVersions PositionReferenceIndicator
    """.split()  # noqa: SIM905
)


def owned(keyword: str, placed: bool) -> str | None:
    """Say why an element can't be assigned; None where it can.

    Parameters
    ----------
    keyword : str
    placed : bool
        Whether the image has a place in the patient.
    """
    if placed and keyword in _OF_PLACE:
        return _GEOMETRY
    return _OWNED.get(keyword)


def of_series(keyword: str) -> bool:
    """Whether an element is of a whole study or series (PS3.3 C.7.2, C.7.3, C.7.5)."""
    return keyword in _OF_SERIES or keyword in STUDY_KEYWORDS
