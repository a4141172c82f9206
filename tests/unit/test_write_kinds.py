"""Which class each kind of source is written as: the table of the documentation, checked by writing each of them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kinds
import numpy as np
import pydicom
import pytest
import xarray as xr
from kinds import array, other, part
from phantoms import opened

import imagedata_xr
from imagedata_xr.errors import FormatError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "dicom.md"
ERROR = "an error"
KINDS = list(kinds.SOURCES)


def rows(head: str) -> dict[str, list[str]]:
    """Rows of the table of the page that begins with a head."""
    lines = PAGE.read_text().split(f"\n| {head}", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    cells = [[c.strip() for c in line.strip("| ").split(" | ")] for line in lines]
    return {first: rest for first, *rest in cells}


SAID = rows("source |")
MADE = rows("made from nothing")


@pytest.fixture(scope="session")
def errors(require_program: Callable[[str], Path]) -> Callable[[str | Path], set[str]]:
    """Errors that `dciodvfy` finds in a file."""
    program = require_program("dciodvfy")

    def judge(path: str | Path) -> set[str]:
        done = subprocess.run([program, "-new", str(path)], capture_output=True, text=True, check=False)
        return {line for line in done.stderr.splitlines() if line.startswith("Error")}

    return judge


@pytest.fixture(scope="session")
def together(require_program: Callable[[str], Path]) -> Callable[[Any], str]:
    """What `dcentvfy` says of the files of a series."""
    program = require_program("dcentvfy")

    def judge(paths: Any) -> str:
        done = subprocess.run([program, *paths], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    return judge


def class_of(paths: Any) -> str:
    """Name of the class of all files."""
    (uid,) = {pydicom.dcmread(p, stop_before_pixels=True).SOPClassUID for p in paths}
    return re.sub(r" (Image )?Storage", "", uid.name)


def source(kind: str, folder: Path) -> tuple[list[Path], xr.DataArray]:
    folder.mkdir()
    return kinds.SOURCES[kind](folder), opened(folder)


def half_a_step(paths: Any) -> float:
    """Half the largest step between values of files."""
    headers = [pydicom.dcmread(p, stop_before_pixels=True) for p in paths]
    steps = [float(h.get("RescaleSlope") or 1) / float(h.get("MaximumFractionalValue") or 1) for h in headers]
    return max(steps) / 2


@pytest.fixture(autouse=True)
def _highdicom(require_module: Callable[[str], Any]) -> None:
    """It makes the segmentations, maps and legacy converted images."""
    require_module("highdicom")


def test_the_page_has_a_row_for_each_kind() -> None:
    assert list(SAID) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_unchanged_images_are_written_whole(
    kind: str, tmp_path: Path, errors: Callable[[str | Path], set[str]], together: Callable[[Any], str]
) -> None:
    files, image = source(kind, tmp_path / "in")
    done = image.imd.write(tmp_path / "out", format="dicom")
    assert class_of(done.paths) == SAID[kind][0]
    assert errors(done.paths[0]) <= errors(files[0])
    assert together(done.paths) == ""
    assert len(done.paths) == len(files)
    for before, after in zip(files, done.paths, strict=True):
        old, new = pydicom.dcmread(before), pydicom.dcmread(after)
        tags = {e.tag for e in old} | {e.tag for e in new}
        differing = {pydicom.datadict.keyword_for_tag(t) for t in tags if old.get(t) != new.get(t)}
        assert differing == {"SOPInstanceUID", "SeriesInstanceUID"}
    back = opened(tmp_path / "out")
    np.testing.assert_array_equal(back.values, image.values)
    if "geometry" in image.coords:
        np.testing.assert_array_equal(back.imd.affine, image.imd.affine)
    kept = image.imd.write(tmp_path / "kept", format="dicom", keep_uid=True)
    assert [pydicom.dcmread(p) for p in kept.paths] == [pydicom.dcmread(p) for p in files]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("column", "change"), [(1, part), (2, other)], ids=["whole", "other"])
def test_derived_images_have_the_class_that_is_said(
    kind: str, column: int, change: Callable[[xr.DataArray], xr.DataArray], tmp_path: Path,
    errors: Callable[[str | Path], set[str]], together: Callable[[Any], str], require_module: Any,
) -> None:  # fmt: skip
    files, image = source(kind, tmp_path / "in")
    image = change(image)
    if SAID[kind][column] == ERROR:
        with pytest.raises(FormatError, match="uint8"):
            image.imd.write(tmp_path / "out", format="dicom")
        return
    done = image.imd.write(tmp_path / "out", format="dicom")
    assert class_of(done.paths) == SAID[kind][column]
    for path in (done.paths[0], done.paths[-1]):
        assert errors(path) <= (set() if class_of([path]) != class_of(files) else errors(files[0]))
    assert together(done.paths) == ""
    back = opened(tmp_path / "out")
    assert back.sizes == image.sizes
    exact = column == 1 and kind != "Parametric Map"
    assert np.abs(back.values.astype("f8") - image.values).max() <= (0 if exact else half_a_step(done.paths)) + 1e-5
    if "geometry" in image.coords:
        np.testing.assert_allclose(back.imd.affine, image.imd.affine, atol=1e-6)
    if SAID[kind][column] != "Segmentation":
        judged_by_others(done.paths, image, exact, require_module)


def judged_by_others(paths: Any, image: xr.DataArray, exact: bool, require_module: Any) -> None:
    """Values, and places of pixels, by SimpleITK and pydicom."""
    sitk = require_module("SimpleITK")
    planes = image.transpose("tag", "slice", ...).values.reshape(-1, *image.shape[2:])
    first = pydicom.dcmread(paths[0])
    for path, plane in zip(paths, planes, strict=True):
        ds = pydicom.dcmread(path)
        step = float(ds.get("RescaleSlope") or 1)
        theirs = ds.pixel_array * step + float(ds.get("RescaleIntercept") or 0)
        slack = (0 if exact else step / 2) + 1e-4
        np.testing.assert_allclose(theirs, plane, atol=slack)
        read = sitk.ReadImage(path)
        np.testing.assert_allclose(np.squeeze(sitk.GetArrayFromImage(read)), plane, atol=slack)
        assert ds.StudyInstanceUID == first.StudyInstanceUID
        if "ImagePositionPatient" in ds:
            np.testing.assert_allclose(read.GetOrigin(), ds.ImagePositionPatient, atol=1e-4)


# --- from nothing -----------------------------------------------------------------------------------------------------


def written_of_nothing(what: str, folder: Path) -> tuple[xr.DataArray, Any]:
    types = {"bool": "?", "uint8 colours": "rgb", "complex": "c8", "numbers of segments": "u1"}
    dtype = types.get(what.split(", `")[0], "f4")
    image = array(dtype)
    if found := re.search(r"assign_dicom\((\w+)=\"(\w+)\"\)", what):
        image = image.imd.assign_dicom(**{found[1]: found[2]})
    options: dict[str, Any] = {}
    if found := re.search(r"`(kind|sop_class)=\"(\w+)\"`", what):
        options = {"kind": found[2]} if found[1] == "kind" else {"format_options": {"sop_class": found[2]}}
    return image, lambda: image.imd.write(folder, format="dicom", **options)


@pytest.mark.parametrize("what", MADE)
@pytest.mark.filterwarnings("ignore::imagedata_xr.errors.ImagedataWarning")
def test_arrays_become_what_is_said(
    what: str, tmp_path: Path, errors: Callable[[str | Path], set[str]], together: Callable[[Any], str]
) -> None:
    image, write = written_of_nothing(what, tmp_path / "out")
    if MADE[what] == [ERROR]:
        with pytest.raises(FormatError, match="abs"):
            write()
        return
    done = write()
    assert [class_of(done.paths)] == MADE[what]
    assert set.union(*map(errors, done.paths)) == set()
    assert together(done.paths) == ""
    back = opened(tmp_path / "out")
    np.testing.assert_allclose(back.imd.affine, image.imd.affine, atol=1e-6)
    if "segmentation" not in what:
        np.testing.assert_array_equal(back.values, image.values)


# --- functional groups to classic elements ----------------------------------------------------------------------------


def said_by_groups(ds: pydicom.Dataset) -> dict[tuple[float, ...], pydicom.Dataset]:
    """Groups of each frame, shared ones among them, by position and volume."""
    out = {}
    for frame in ds.PerFrameFunctionalGroupsSequence:
        both = pydicom.Dataset()
        both.update(ds.SharedFunctionalGroupsSequence[0])
        both.update(frame)
        place = tuple(round(float(x), 4) for x in frame.PlanePositionSequence[0].ImagePositionPatient)
        out[*place, float(frame.FrameContentSequence[0].TemporalPositionIndex)] = both
    return out


MAPPED: dict[str, list[tuple[str, str, str]]] = {
    "Enhanced MR": [
        ("MREchoSequence", "EffectiveEchoTime", "EchoTime"),
        ("MRTimingAndRelatedParametersSequence", "RepetitionTime", "RepetitionTime"),
        ("MRTimingAndRelatedParametersSequence", "FlipAngle", "FlipAngle"),
        ("MRTimingAndRelatedParametersSequence", "EchoTrainLength", "EchoTrainLength"),
        ("MRDiffusionSequence", "DiffusionBValue", "DiffusionBValue"),
        ("MRDiffusionSequence", "DiffusionDirectionality", "DiffusionDirectionality"),
        ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime", "TriggerTime"),
        ("CardiacSynchronizationSequence", "RRIntervalTimeNominal", "NominalInterval"),
        ("MRModifierSequence", "InversionTimes", "InversionTime"),
        ("MRImagingModifierSequence", "TransmitterFrequency", "ImagingFrequency"),
        ("MRImagingModifierSequence", "PixelBandwidth", "PixelBandwidth"),
        ("MRAveragesSequence", "NumberOfAverages", "NumberOfAverages"),
        ("MRFOVGeometrySequence", "MRAcquisitionPhaseEncodingStepsInPlane", "NumberOfPhaseEncodingSteps"),
        ("MRReceiveCoilSequence", "ReceiveCoilName", "ReceiveCoilName"),
    ],
    "Enhanced CT": [
        ("CTExposureSequence", "XRayTubeCurrentInmA", "XRayTubeCurrent"),
        ("CTExposureSequence", "ExposureTimeInms", "ExposureTime"),
        ("CTExposureSequence", "ExposureInmAs", "Exposure"),
        ("CTXRayDetailsSequence", "KVP", "KVP"),
        ("CTReconstructionSequence", "ConvolutionKernel", "ConvolutionKernel"),
        ("CTReconstructionSequence", "ReconstructionDiameter", "ReconstructionDiameter"),
        ("CTTableDynamicsSequence", "SpiralPitchFactor", "SpiralPitchFactor"),
        ("CTAcquisitionDetailsSequence", "GantryDetectorTilt", "GantryDetectorTilt"),
        ("CTAcquisitionDetailsSequence", "RevolutionTime", "RevolutionTime"),
    ],
    "Enhanced PET": [("PETFrameCorrectionFactorsSequence", "DecayFactor", "DecayFactor")],
}
BOTH = [
    ("PixelMeasuresSequence", "PixelSpacing", "PixelSpacing"),
    ("PixelMeasuresSequence", "SliceThickness", "SliceThickness"),
    ("PlaneOrientationSequence", "ImageOrientationPatient", "ImageOrientationPatient"),
    ("FrameContentSequence", "FrameAcquisitionNumber", "AcquisitionNumber"),
]


@pytest.mark.parametrize("kind", MAPPED)
def test_groups_of_frames_become_elements_of_classic_images(kind: str, tmp_path: Path) -> None:
    files, image = source(kind, tmp_path / "in")
    done = (image * 2).imd.write(tmp_path / "out", format="dicom")
    groups = said_by_groups(pydicom.dcmread(files[0]))
    assert len(done.paths) == len(groups)
    for path in done.paths:
        ds = pydicom.dcmread(path)
        content = [g for key, g in groups.items() if np.allclose(key[:3], ds.ImagePositionPatient, atol=1e-3)]
        clock = f"{ds.AcquisitionDate}{float(ds.AcquisitionTime):08.1f}"
        (of,) = [g for g in content if g.FrameContentSequence[0].FrameAcquisitionDateTime == clock]
        for group, element, classic in [*MAPPED[kind], *BOTH]:
            before, after = getattr(of[group][0], element), ds[classic].value
            if isinstance(before, str):
                assert after == before, classic
            else:
                np.testing.assert_allclose(np.asarray(after, float), np.ravel(before)[: np.size(after)], rtol=1e-6)
        if gradient := of.get("MRDiffusionSequence", [{}])[0].get("DiffusionGradientDirectionSequence"):
            np.testing.assert_allclose(ds.DiffusionGradientOrientation, gradient[0].DiffusionGradientOrientation)
    if kind == "Enhanced MR":
        assert "CG" in ds.ScanOptions
        assert (ds.ScanningSequence, ds.InPlanePhaseEncodingDirection) == (["SE", "IR", "EP"], "ROW")
    if kind == "Enhanced PET":
        assert "PatientPosition" not in ds
        assert ds.PatientOrientationCodeSequence[0].PatientOrientationModifierCodeSequence[0].CodeMeaning == "supine"
        assert ds.PatientGantryRelationshipCodeSequence[0].CodeValue == "102540008"


def test_an_array_says_what_produced_it(tmp_path: Path) -> None:
    """Manufacturer is that of what produced the instance (PS3.3 C.7.5.1); MRtrix crashes where it is empty."""
    made = imagedata_xr.from_array(np.ones((2, 4, 4), np.int16), spacing=(3, 1, 1))
    for k, image in enumerate((made, made.imd.assign_dicom(Modality="MR"))):
        image.imd.write(tmp_path / str(k))
        for path in (tmp_path / str(k)).iterdir():
            assert pydicom.dcmread(path).Manufacturer == "imagedata_xr"
