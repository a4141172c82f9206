"""One small source of each kind of image that DICOM has a class for, with values made of frame, row and column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import multiframe
import numpy as np
import phantoms
import pydicom
import xarray as xr
from multiframe import Frame, item, save
from numpy.typing import NDArray
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

import imagedata_xr

ROWS, COLS = 6, 8
_ROOT = "1.2.826.0.1.3680043.8.498.77"
_REGION = {"CodeValue": "12738006", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Brain"}


def numbers(frames: int, dtype: str = "u2", colour: bool = False) -> NDArray[Any]:
    """Values of all frames, shape (frames, rows, cols[, 3])."""
    f, i, j = np.indices((frames, ROWS, COLS))
    values = 50 * f + 8 * i + j + 3
    return np.stack([values, values // 2, values // 3], axis=-1).astype(dtype) if colour else values.astype(dtype)


def header(sop_class: str, modality: str, number: int = 1, **elements: Any) -> Dataset:
    """Patient, study, series and equipment."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    said = {
        "SpecificCharacterSet": "ISO_IR 192", "SOPClassUID": UID(sop_class),
        "SOPInstanceUID": UID(f"{_ROOT}.1.{number}"),
        "ImageType": ["ORIGINAL", "PRIMARY"], "StudyDate": "20240305", "StudyTime": "095500", "SeriesDate": "20240305",
        "SeriesTime": "100000", "ContentDate": "20240305", "ContentTime": "100000", "AcquisitionDate": "20240305",
        "AcquisitionTime": "100000", "AccessionNumber": "A-7", "Modality": modality, "Manufacturer": "Mathematics",
        "ReferringPhysicianName": "Doe^Jane", "PatientName": "Müller^Zoé", "PatientID": "P-1",
        "PatientBirthDate": "19700102", "PatientSex": "O", "StudyInstanceUID": UID(f"{_ROOT}.2"),
        "SeriesInstanceUID": UID(f"{_ROOT}.3"), "StudyID": "S1", "SeriesNumber": 5, "InstanceNumber": number,
        "SeriesDescription": "kinds",
    }  # fmt: skip
    for keyword, value in {**said, **elements}.items():
        setattr(ds, keyword, value)
    return ds


def pixels(ds: Dataset, values: NDArray[Any], many: bool = False) -> Dataset:
    """Native pixel data; `many` says the number of frames."""
    colour = values.ndim == 4
    bits = 8 * values.dtype.itemsize
    ds.SamplesPerPixel, ds.PhotometricInterpretation = (3, "RGB") if colour else (1, "MONOCHROME2")
    if colour:
        ds.PlanarConfiguration = 0
    if many:
        ds.NumberOfFrames = len(values)
    ds.Rows, ds.Columns = values.shape[1:3]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, bits, bits - 1, 0
    ds.PixelData = values.tobytes()
    ds["PixelData"].VR = "OW" if bits > 8 else "OB"
    return ds


def _saved(folder: Path, *made: Dataset) -> list[Path]:
    return [save(ds, folder / f"{k}.dcm") for k, ds in enumerate(made)]


# --- enhanced ---------------------------------------------------------------------------------------------------------


def frames_of(volumes: Sequence[dict[str, dict[str, Any]]], slices: int) -> list[Frame]:
    """Frames of volumes, each with its functional groups."""
    return [Frame(k, v, 1.0 + v, -2.0 * v, dict(groups)) for v, groups in enumerate(volumes) for k in range(slices)]


def enhanced(
    sop_class: str, modality: str, volumes: Sequence[dict[str, dict[str, Any]]], shared: dict[str, dict[str, Any]],
    slices: int = 3, **elements: Any,
) -> Dataset:  # fmt: skip
    """An enhanced instance; frames of a volume share its groups, and are told apart by position and volume."""
    frames = frames_of(volumes, slices)
    ds = multiframe.instance(frames)
    who = header(sop_class, modality, **elements)
    for element in who:
        ds[element.tag] = element
    ds.SharedFunctionalGroupsSequence[0].update(item(shared))
    organization = UID(f"{_ROOT}.9")
    ds.DimensionOrganizationSequence = [item({"DimensionOrganizationUID": organization})]
    pointers = [("StackID", "FrameContentSequence"), ("InStackPositionNumber", "FrameContentSequence"),
                ("TemporalPositionIndex", "FrameContentSequence")]  # fmt: skip
    ds.DimensionIndexSequence = [
        item({"DimensionOrganizationUID": organization, "DimensionIndexPointer": tag_for_keyword(name),
              "FunctionalGroupPointer": tag_for_keyword(within)}) for name, within in pointers
    ]  # fmt: skip
    start = 10.0
    for n, (frame, groups) in enumerate(zip(frames, ds.PerFrameFunctionalGroupsSequence, strict=True)):
        content = groups.FrameContentSequence[0] if "FrameContentSequence" in groups else Dataset()
        seconds = start + 2.5 * frame.v + 0.5 * frame.k
        content.FrameAcquisitionNumber, content.FrameReferenceDateTime = n + 1, f"202403051000{seconds:04.1f}"
        content.FrameAcquisitionDateTime, content.FrameAcquisitionDuration = f"202403051000{seconds:04.1f}", 500.0
        content.StackID, content.InStackPositionNumber, content.TemporalPositionIndex = "1", frame.k + 1, frame.v + 1
        content.DimensionIndexValues = [1, frame.k + 1, frame.v + 1]
        groups.FrameContentSequence = [content]
    return ds


_FRAME = {"FrameType": ["ORIGINAL", "PRIMARY", "WHOLE_BODY", "NONE"], "PixelPresentation": "MONOCHROME",
          "VolumetricProperties": "VOLUME", "VolumeBasedCalculationTechnique": "NONE"}  # fmt: skip
_ANATOMY = {"FrameAnatomySequence": {"AnatomicRegionSequence": _REGION, "FrameLaterality": "U"}}
_WINDOW = {"FrameVOILUTSequence": {"WindowCenter": "1500", "WindowWidth": "3000"}}
_INSTANCE: dict[str, Any] = {
    "PixelPresentation": "MONOCHROME", "VolumetricProperties": "VOLUME", "VolumeBasedCalculationTechnique": "NONE",
    "AcquisitionNumber": 1, "AcquisitionDateTime": "20240305100010", "AcquisitionDuration": 8.0,
    "ContentQualification": "RESEARCH", "ManufacturerModelName": "Model", "DeviceSerialNumber": "1",
    "SoftwareVersions": "1", "PatientPosition": "HFS", "PositionReferenceIndicator": "", "BurnedInAnnotation": "NO",
    "LossyImageCompression": "00", "PresentationLUTShape": "IDENTITY", "AcquisitionContextSequence": [],
    "ImageType": ["ORIGINAL", "PRIMARY", "OTHER", "NONE"],
}  # fmt: skip


def enhanced_mr() -> Dataset:
    """Two echoes of three slices, one of them with a b-value, at two phases of the heart."""
    frame: dict[str, Any] = {**_FRAME, "FrameType": ["ORIGINAL", "PRIMARY", "OTHER", "NONE"],
                             "ComplexImageComponent": "MAGNITUDE", "AcquisitionContrast": "DIFFUSION"}  # fmt: skip
    shared: dict[str, dict[str, Any]] = {
        "MRImageFrameTypeSequence": frame, **_ANATOMY, **_WINDOW,
        "MRTimingAndRelatedParametersSequence": {
            "RepetitionTime": 2500.0, "FlipAngle": 35.0, "EchoTrainLength": 1, "RFEchoTrainLength": 1,
            "GradientEchoTrainLength": 0,
        },
        "MRFOVGeometrySequence": {
            "InPlanePhaseEncodingDirection": "ROW", "MRAcquisitionFrequencyEncodingSteps": 5,
            "MRAcquisitionPhaseEncodingStepsInPlane": 4, "PercentSampling": 100.0, "PercentPhaseFieldOfView": 100.0,
        },
        "MRModifierSequence": {
            "InversionRecovery": "YES", "InversionTimes": [900.0], "FlowCompensation": "NONE", "Spoiling": "NONE",
            "T2Preparation": "NO", "SpectrallySelectedExcitation": "NONE", "SpatialPresaturation": "NONE",
            "PartialFourier": "NO", "ParallelAcquisition": "NO",
        },
        "MRTransmitCoilSequence": {"TransmitCoilName": "BODY", "TransmitCoilManufacturerName": "",
                                   "TransmitCoilType": "BODY"},
        "MRReceiveCoilSequence": {"ReceiveCoilName": "HEAD", "ReceiveCoilManufacturerName": "",
                                  "ReceiveCoilType": "VOLUME", "QuadratureReceiveCoil": "YES"},
        "MRImagingModifierSequence": {"MagnetizationTransfer": "NONE", "BloodSignalNulling": "NO", "Tagging": "NONE",
                                      "TransmitterFrequency": 123.25, "PixelBandwidth": 1500.0},
        "MRAveragesSequence": {"NumberOfAverages": 2.0},
    }  # fmt: skip
    volumes: list[dict[str, dict[str, Any]]] = [
        {"MREchoSequence": {"EffectiveEchoTime": 30.0}, **multiframe.diffusion(0.0, None),
         "CardiacSynchronizationSequence": {"NominalCardiacTriggerDelayTime": 100.0, "RRIntervalTimeNominal": 850.0}},
        {"MREchoSequence": {"EffectiveEchoTime": 80.0}, **multiframe.diffusion(700.0, (0.0, 0.6, 0.8)),
         "CardiacSynchronizationSequence": {"NominalCardiacTriggerDelayTime": 350.0, "RRIntervalTimeNominal": 850.0}},
    ]  # fmt: skip
    of_instance: dict[str, Any] = {
        "ComplexImageComponent": "MAGNITUDE", "AcquisitionContrast": "DIFFUSION", "ResonantNucleus": "1H",
        "MagneticFieldStrength": 3.0, "KSpaceFiltering": "NONE", "ApplicableSafetyStandardAgency": "IEC",
        "MRAcquisitionType": "2D", "PulseSequenceName": "epse2d1_104", "EchoPulseSequence": "SPIN",
        "MultiPlanarExcitation": "NO", "PhaseContrast": "NO", "TimeOfFlightContrast": "NO",
        "SteadyStatePulseSequence": "NONE", "EchoPlanarPulseSequence": "YES", "SaturationRecovery": "NO",
        "SpectrallySelectedSuppression": "FAT", "GeometryOfKSpaceTraversal": "RECTILINEAR",
        "RectilinearPhaseEncodeReordering": "LINEAR", "SegmentedKSpaceTraversal": "SINGLE",
        "CoverageOfKSpace": "FULL", "NumberOfKSpaceTrajectories": 1, "MultipleSpinEcho": "NO",
    }  # fmt: skip
    return enhanced("1.2.840.10008.5.1.4.1.1.4.1", "MR", volumes, shared, **_INSTANCE, **of_instance)


def enhanced_ct() -> Dataset:
    """One volume of three slices, each with a tube current of its own volume."""
    shared: dict[str, dict[str, Any]] = {
        "CTImageFrameTypeSequence": {**_FRAME, "FrameType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]}, **_ANATOMY,
        **_WINDOW,
        "CTAcquisitionTypeSequence": {"AcquisitionType": "SPIRAL", "TubeAngle": 0.0, "ConstantVolumeFlag": "NO",
                                      "FluoroscopyFlag": "NO"},
        "CTAcquisitionDetailsSequence": {
            "RotationDirection": "CW", "RevolutionTime": 0.5, "SingleCollimationWidth": 0.6,
            "TotalCollimationWidth": 38.4, "TableHeight": 150.0, "GantryDetectorTilt": 0.0,
            "DataCollectionDiameter": 500.0,
        },
        "CTTableDynamicsSequence": {"TableSpeed": 40.0, "TableFeedPerRotation": 20.0, "SpiralPitchFactor": 0.8},
        "CTGeometrySequence": {"DistanceSourceToDetector": 1085.0, "DistanceSourceToDataCollectionCenter": 595.0},
        "CTReconstructionSequence": {
            "ReconstructionAlgorithm": "FILTER_BACK_PROJ", "ConvolutionKernel": "B30f",
            "ConvolutionKernelGroup": "BRAIN", "ReconstructionDiameter": 250.0, "ReconstructionAngle": 360.0,
        },
    }  # fmt: skip
    volumes: list[dict[str, dict[str, Any]]] = [
        {"CTExposureSequence": {"ExposureTimeInms": 500.0, "XRayTubeCurrentInmA": 210.0 + v, "ExposureInmAs": 105.0,
                                "ExposureModulationType": "NONE", "CTDIvol": 12.5},
         "CTXRayDetailsSequence": {"KVP": 120.0, "FocalSpots": 1.2, "FilterType": "NONE", "FilterMaterial": "ALUMINUM"}}
        for v in range(2)
    ]  # fmt: skip
    kind = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    return enhanced("1.2.840.10008.5.1.4.1.1.2.1", "CT", volumes, shared, **{**_INSTANCE, "ImageType": kind})


def enhanced_pet() -> Dataset:
    """Two time frames of three slices."""
    shared: dict[str, dict[str, Any]] = {"PETFrameTypeSequence": _FRAME, **_ANATOMY, **_WINDOW}
    volumes: list[dict[str, dict[str, Any]]] = [
        {"PETFrameCorrectionFactorsSequence": {"PrimaryPromptsCountsAccumulated": 1000, "SliceSensitivityFactor": 1.0,
                                               "DecayFactor": 1.01 + v, "ScatterFractionFactor": 0.2,
                                               "DeadTimeFactor": 1.0}}
        for v in range(2)
    ]  # fmt: skip
    return enhanced(
        "1.2.840.10008.5.1.4.1.1.130", "PT", volumes, shared, **_INSTANCE, SeriesType=["DYNAMIC", "IMAGE"],
        CountsSource="EMISSION", DecayCorrection="START", Units="BQML", NumberOfSlices=3, NumberOfTimeSlices=2,
        CollimatorType="NONE", DecayCorrected="YES",
    )  # fmt: skip


def legacy(kind: str) -> Callable[[Path], list[Path]]:
    """Build a legacy converted enhanced instance of a phantom series, by highdicom."""

    def make(folder: Path) -> list[Path]:
        import highdicom as hd

        of = {"MR": phantoms.mr, "CT": phantoms.ct, "PET": phantoms.pet}[kind](shape=(1, 4, 6, 8))
        source = [pydicom.dcmread(f) for f in phantoms.make(folder / "classic", of)]
        name = f"LegacyConvertedEnhanced{kind}Image"
        ds = getattr(hd.legacy, name)(source, hd.UID(), 15, hd.UID(), 1)
        for file in (folder / "classic").iterdir():
            file.unlink()
        (folder / "classic").rmdir()
        return [save(ds, folder / "0.dcm")]

    return make


# --- projections, ultrasound, nuclear medicine, dose ------------------------------------------------------------------


def ultrasound(frames: int, colour: bool) -> Dataset:
    """Ultrasound, one image or a loop."""
    uid = "1.2.840.10008.5.1.4.1.1.3.1" if frames > 1 else "1.2.840.10008.5.1.4.1.1.6.1"
    ds = header(uid, "US", BurnedInAnnotation="NO", LossyImageCompression="00", PatientOrientation="")
    ds.Laterality = ""
    if frames > 1:
        ds.FrameTime, ds.FrameIncrementPointer = "40", tag_for_keyword("FrameTime")
    return pixels(ds, numbers(frames, "u1", colour), frames > 1)


def nuclear(dynamic: bool) -> Dataset:
    """Nuclear medicine: reconstructed slices, or planar frames over time."""
    count = 4
    ds = header("1.2.840.10008.5.1.4.1.1.20", "NM", PatientOrientation="", Laterality="", CountsAccumulated="5000",
                ActualFrameDuration="1000", PixelSpacing=["1.5", "1.25"], SliceThickness="3",
                EnergyWindowInformationSequence=[], RadiopharmaceuticalInformationSequence=[],
                PatientOrientationCodeSequence=[], PatientGantryRelationshipCodeSequence=[],
                NumberOfEnergyWindows=1, NumberOfDetectors=1, FrameOfReferenceUID=UID(f"{_ROOT}.6"),
                PositionReferenceIndicator="")  # fmt: skip
    said = {"CollimatorType": "PARA", "FocalDistance": 0, "ZoomFactor": ["1", "1"], "CollimatorGridName": "",
            "ImagePositionPatient": [-20.25, 11.5, 42.125],
            "ImageOrientationPatient": list(phantoms.AXIAL)}  # fmt: skip
    ds.DetectorInformationSequence = [item(said)]
    vectors = {"EnergyWindowVector": [1] * count, "DetectorVector": [1] * count}
    if dynamic:
        ds.ImageType = ["ORIGINAL", "PRIMARY", "DYNAMIC", "EMISSION"]
        vectors |= {"PhaseVector": [1] * count, "TimeSliceVector": list(range(1, count + 1))}
        phase = {"PhaseDelay": "0", "ActualFrameDuration": "1000", "PauseBetweenFrames": "0",
                 "NumberOfFramesInPhase": count}  # fmt: skip
        ds.NumberOfPhases, ds.NumberOfTimeSlices, ds.PhaseInformationSequence = 1, count, [item(phase)]
    else:
        ds.ImageType = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]
        del vectors["EnergyWindowVector"], vectors["DetectorVector"]
        vectors = {"SliceVector": list(range(1, count + 1))}
        ds.NumberOfSlices, ds.SpacingBetweenSlices, ds.NumberOfRotations = count, "3", 1
        turn = {"ScanArc": "360", "AngularStep": "6", "StartAngle": "0", "RotationDirection": "CW",
                "ActualFrameDuration": "1000", "NumberOfFramesInRotation": 60, "RadialPosition": "200",
                "TableTraverse": "0", "TableHeight": "0"}  # fmt: skip
        ds.RotationInformationSequence = [item(turn)]
    for keyword, value in vectors.items():
        setattr(ds, keyword, value)
    ds.FrameIncrementPointer = [tag_for_keyword(word) for word in vectors]
    return pixels(ds, numbers(count), many=True)


def dose() -> Dataset:
    """A grid of three planes."""
    ds = header("1.2.840.10008.5.1.4.1.1.481.2", "RTDOSE", OperatorsName="", DoseUnits="GY", DoseType="PHYSICAL",
                DoseSummationType="PLAN", DoseGridScaling="0.001", GridFrameOffsetVector=["0", "3", "6"],
                FrameIncrementPointer=tag_for_keyword("GridFrameOffsetVector"), Laterality="",
                FrameOfReferenceUID=UID(f"{_ROOT}.6"), PositionReferenceIndicator="",
                ImagePositionPatient=[-20.25, 11.5, 42.125], ImageOrientationPatient=list(phantoms.AXIAL),
                PixelSpacing=["1.5", "1.25"], SliceThickness="3")  # fmt: skip
    del ds.ImageType
    plan = {"ReferencedSOPClassUID": "1.2.840.10008.5.1.4.1.1.481.5", "ReferencedSOPInstanceUID": f"{_ROOT}.8"}
    ds.ReferencedRTPlanSequence = [item(plan)]
    return pixels(ds, numbers(3), many=True)


_XRAY: dict[str, Any] = {
    "KVP": "70", "RadiationSetting": "GR", "XRayTubeCurrent": "200", "ExposureTime": "10", "Exposure": "2",
    "LossyImageCompression": "00", "PixelIntensityRelationship": "LOG", "PatientOrientation": ["L", "F"],
    "Laterality": "", "ImagerPixelSpacing": ["0.2", "0.2"],
}  # fmt: skip


def angiography(frames: int = 4, fluoroscopy: bool = False) -> Dataset:
    """X-ray angiography or fluoroscopy: a run of frames."""
    kind, modality = ("12.2", "RF") if fluoroscopy else ("12.1", "XA")
    ds = header(f"1.2.840.10008.5.1.4.1.1.{kind}", modality, **_XRAY)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "SINGLE PLANE"]
    ds.PositionerMotion, ds.PositionerPrimaryAngle, ds.PositionerSecondaryAngle = "STATIC", "10", "5"
    if fluoroscopy:
        del ds.PositionerMotion, ds.PositionerPrimaryAngle, ds.PositionerSecondaryAngle
    ds.FrameTime, ds.FrameIncrementPointer = "66", tag_for_keyword("FrameTime")
    pixels(ds, numbers(frames), many=True)
    ds.BitsStored, ds.HighBit = 12, 11
    return ds


_PROJECTION: dict[str, Any] = {
    "PresentationIntentType": "FOR PRESENTATION", "PixelIntensityRelationship": "LOG",
    "PixelIntensityRelationshipSign": 1, "RescaleIntercept": "0", "RescaleSlope": "1", "RescaleType": "US",
    "PresentationLUTShape": "IDENTITY", "LossyImageCompression": "00", "BurnedInAnnotation": "NO",
    "WindowCenter": "300", "WindowWidth": "600", "DetectorType": "DIRECT", "ImagerPixelSpacing": ["0.1", "0.1"],
    "AcquisitionContextSequence": [], "ImageLaterality": "L", "PatientOrientation": ["A", "R"],
}  # fmt: skip


def projection(kind: str) -> Dataset:
    """CR, DX or mammography."""
    if kind == "CR":
        ds = header("1.2.840.10008.5.1.4.1.1.1", "CR", BodyPartExamined="HAND", ViewPosition="AP", Laterality="L",
                    PatientOrientation="", ImagerPixelSpacing=["0.1", "0.1"])  # fmt: skip
        return pixels(ds, numbers(1))
    more: dict[str, Any] = {"PositionerType": "MAMMOGRAPHIC"} if kind == "MG" else {}
    number = {"DX": "1.1", "MG": "1.2"}[kind]
    ds = header(f"1.2.840.10008.5.1.4.1.1.{number}", kind, **{**_PROJECTION, **more})
    ds.ImageType = ["ORIGINAL", "PRIMARY", ""]
    breast = {"CodeValue": "76752008", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Breast"}
    ds.AnatomicRegionSequence = [item(breast)]
    ds.RequestAttributesSequence = [item({"RequestedProcedureID": "R1", "ScheduledProcedureStepID": "S1"})]
    if kind == "MG":
        view = {"CodeValue": "399162004", "CodingSchemeDesignator": "SCT", "CodeMeaning": "cranio-caudal"}
        ds.ViewCodeSequence = [item(view)]
        ds.ViewCodeSequence[0].ViewModifierCodeSequence = []
        ds.BreastImplantPresent, ds.PartialView, ds.OrganExposed = "NO", "NO", "BREAST"
    pixels(ds, numbers(1))
    ds.BitsStored, ds.HighBit = 12, 11
    return ds


def capture(frames: int, colour: bool = False, bits: int = 8) -> Dataset:
    """Secondary capture: one image, or the multi-frame class of its pixels."""
    kind = "7" if frames == 1 else "7.4" if colour else {1: "7.1", 8: "7.2", 16: "7.3"}[bits]
    ds = header(f"1.2.840.10008.5.1.4.1.1.{kind}", "OT", ConversionType="WSD", PatientOrientation="", Laterality="")
    if frames == 1:
        return pixels(ds, numbers(1, "u1" if bits == 8 else "u2", colour))
    ds.BurnedInAnnotation = "NO"
    ds.FrameTime, ds.FrameIncrementPointer = "40", tag_for_keyword("FrameTime")
    pixels(ds, numbers(frames, "u2" if bits == 16 else "u1", colour), many=True)
    if not colour:
        ds.PresentationLUTShape, ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "IDENTITY", "0", "1", "US"
    if bits == 1:
        del ds.PresentationLUTShape, ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 1, 1, 0
        ds.PixelData = np.packbits(numbers(frames).ravel() % 2 == 1, bitorder="little").tobytes()
    return ds


def photograph() -> Dataset:
    """A photograph in visible light, in colour."""
    ds = header("1.2.840.10008.5.1.4.1.1.77.1.4", "XC", PatientOrientation="", Laterality="",
                LossyImageCompression="00", AcquisitionContextSequence=[])  # fmt: skip
    return pixels(ds, numbers(1, "u1", colour=True))


def _segmentation(folder: Path) -> list[Path]:
    import segmented

    made_of = segmented.series()
    files = phantoms.make(folder / "ct", made_of)
    ds = segmented.segmentation(files, segmented.masks(made_of))
    return _only(folder, ds, files)


def _map(folder: Path) -> list[Path]:
    import parametric

    made_of, files = parametric.made(folder / "ct")
    values = parametric.places(made_of)[..., 0].astype(np.float32)
    return _only(folder, parametric.parametric_map(files, values, [parametric.mapping("ADC")]), files)


def _only(folder: Path, ds: Dataset, files: list[Path]) -> list[Path]:
    for file in files:
        file.unlink()
    files[0].parent.rmdir()
    return [save(ds, folder / "0.dcm")]


def _classic(series: phantoms.Series) -> Callable[[Path], list[Path]]:
    return lambda folder: phantoms.make(folder, series)


def _one(make: Callable[[], Dataset]) -> Callable[[Path], list[Path]]:
    return lambda folder: _saved(folder, make())


SOURCES: dict[str, Callable[[Path], list[Path]]] = {
    "MR": _classic(phantoms.mr(shape=(2, 3, 6, 8))),
    "CT": _classic(phantoms.ct()),
    "PET": _classic(phantoms.pet()),
    "Enhanced MR": _one(enhanced_mr),
    "Enhanced CT": _one(enhanced_ct),
    "Enhanced PET": _one(enhanced_pet),
    "Legacy Converted Enhanced MR": legacy("MR"),
    "Legacy Converted Enhanced CT": legacy("CT"),
    "Legacy Converted Enhanced PET": legacy("PET"),
    "Ultrasound, grey": _one(lambda: ultrasound(1, False)),
    "Ultrasound, colour": _one(lambda: ultrasound(1, True)),
    "Ultrasound Multi-frame, grey": _one(lambda: ultrasound(5, False)),
    "Ultrasound Multi-frame, colour": _one(lambda: ultrasound(5, True)),
    "Nuclear Medicine, slices": _one(lambda: nuclear(False)),
    "Nuclear Medicine, planar": _one(lambda: nuclear(True)),
    "RT Dose": _one(dose),
    "X-Ray Angiography": _one(angiography),
    "X-Ray Radiofluoroscopy": _one(lambda: angiography(fluoroscopy=True)),
    "Computed Radiography": _one(lambda: projection("CR")),
    "Digital X-Ray": _one(lambda: projection("DX")),
    "Digital Mammography": _one(lambda: projection("MG")),
    "Photograph": _one(photograph),
    "Secondary Capture, grey": _one(lambda: capture(1)),
    "Secondary Capture, 16 bits": _one(lambda: capture(1, bits=16)),
    "Secondary Capture, colour": _one(lambda: capture(1, True)),
    "Multi-frame Single Bit Secondary Capture": _one(lambda: capture(3, bits=1)),
    "Multi-frame Grayscale Byte Secondary Capture": _one(lambda: capture(3)),
    "Multi-frame Grayscale Word Secondary Capture": _one(lambda: capture(3, bits=16)),
    "Multi-frame True Color Secondary Capture": _one(lambda: capture(3, True)),
    "Segmentation": _segmentation,
    "Parametric Map": _map,
}
"""Kind of a source -> what writes its files into a folder."""


# --- images -----------------------------------------------------------------------------------------------------------


def part(image: xr.DataArray) -> xr.DataArray:
    """A part, with its values."""
    return image.isel(row=slice(1, None))


def other(image: xr.DataArray) -> xr.DataArray:
    """Values that are no whole numbers."""
    return image.astype("f4") / np.float32(7.1)


def array(dtype: str, place: bool = True) -> xr.DataArray:
    """Make an image of two slices from nothing but an array; ``rgb`` is a type too."""
    values: NDArray[Any] = np.random.default_rng(3).integers(0, 3, (2, 5, 6) + ((3,) if dtype == "rgb" else ()))
    known: Any = {"spacing": (3, 1.5, 1.25), "position": (-20, 10, 5)} if place else {}
    if dtype == "rgb":
        return imagedata_xr.from_array(values.astype("u1"), dims=("slice", "row", "col", "rgb"), **known)
    return imagedata_xr.from_array(values.astype(dtype), **known)
