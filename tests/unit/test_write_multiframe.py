"""One Legacy Converted Enhanced instance in place of single images: judged by dciodvfy, SimpleITK and highdicom."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kinds
import numpy as np
import phantoms
import pydicom
import pytest
import xarray as xr
from phantoms import make, opened

import imagedata_xr
from imagedata_xr.errors import FormatError
from imagedata_xr.model.image import volume_dims

MULTIFRAME = {"multiframe": True}


@pytest.fixture(autouse=True)
def _highdicom(require_module: Callable[[str], Any]) -> None:
    require_module("highdicom")


@pytest.fixture(scope="module")
def errors(require_program: Callable[[str], Path]) -> Callable[[str], list[str]]:
    """Errors that `dciodvfy` finds in a file."""
    program = require_program("dciodvfy")

    def judge(path: str) -> list[str]:
        done = subprocess.run([program, "-new", path], capture_output=True, text=True, check=False)
        return [line for line in done.stderr.splitlines() if line.startswith("Error")]

    return judge


SERIES = {
    "mr": phantoms.mr(shape=(2, 3, 6, 8), orientation=phantoms.OBLIQUE),
    "diffusion": phantoms.mr(
        shape=(3, 2, 6, 8), volumes=phantoms.diffusion([0, 700, 700], [(0, 0, 0), (1, 0, 0), (0, 0.6, 0.8)])
    ),
    "echoes": phantoms.mr(shape=(2, 3, 6, 8), volumes=[{"EchoTime": "10"}, {"EchoTime": "20"}]),
    "ct tilted": phantoms.ct(travel=(0.0, 0.8, 3.0)),
    "pet": phantoms.pet(),
    "one image": phantoms.mr(shape=(1, 1, 6, 8)),
}
CHANGES: dict[str, Callable[[xr.DataArray], xr.DataArray]] = {
    "same": lambda a: a,
    "crop": lambda a: a.isel(row=slice(1, 4)),
    "float": lambda a: a * 0.37,
    "nan": lambda a: a.where(a > a.mean()) * 0.37,
    "signs": lambda a: a - a.mean().round(),
    "mask": lambda a: a > a.mean(),
}
EXACT = ("same", "crop", "mask")


def by_frame(path: str, image: xr.DataArray) -> Any:
    """Values of each frame by highdicom, and the image's at the frame's place and time."""
    import highdicom as hd

    read = hd.imread(path)
    first = np.linalg.inv(image.imd.affine)
    met: dict[int, int] = {}
    for n, groups in enumerate(read.PerFrameFunctionalGroupsSequence, 1):
        where = groups if "PlanePositionSequence" in groups else read.SharedFunctionalGroupsSequence[0]
        at = first @ [*where.PlanePositionSequence[0].ImagePositionPatient, 1]
        k = int(np.rint(at[0]))
        np.testing.assert_allclose(at, [k, 0, 0, 1], atol=1e-4)
        v = met[k] = met.get(k, -1) + 1
        yield read.get_frame(n, apply_real_world_transform=False), image.values[v, k], read


@pytest.mark.parametrize("kind", SERIES)
@pytest.mark.parametrize("change", CHANGES)
def test_values_places_and_labels_come_back(
    kind: str, change: str, tmp_path: Path, errors: Callable[[str], list[str]], require_module: Callable[[str], Any]
) -> None:
    sitk = require_module("SimpleITK")
    source = make(tmp_path / "in", SERIES[kind])
    image = CHANGES[change](opened(tmp_path / "in"))
    done = image.imd.write(tmp_path / "out", format="dicom", format_options=MULTIFRAME, series_description="one")
    (path,) = done.paths
    assert errors(path) == []
    ds = pydicom.dcmread(path)
    assert ds.SOPClassUID.name.startswith("Legacy Converted Enhanced")
    assert (ds.SeriesInstanceUID, ds.SeriesDescription, ds.PatientID) == (done.series, "one", "P-1")
    back = opened(tmp_path / "out")
    assert back.sizes == image.sizes
    steps = [float(g.RescaleSlope) for f in (*ds.SharedFunctionalGroupsSequence, *ds.PerFrameFunctionalGroupsSequence)
             for g in f.get("PixelValueTransformationSequence", ())]  # fmt: skip
    slack = 1e-4 if change in EXACT else max(steps) / 2 + 1e-4
    np.testing.assert_allclose(back.values, image.values, atol=slack)
    np.testing.assert_allclose(back.imd.affine, image.imd.affine, atol=1e-9)
    for name in (
        "acquisition_time",
        "b_value",
        "b_vector_x",
        "b_vector_y",
        "echo_time",
        "decay_factor",
        *volume_dims(image),
    ):
        if name in image.coords:
            np.testing.assert_array_equal(back[name], image[name])
    for theirs, ours, _ in by_frame(path, back):
        known = ~np.isnan(ours)
        np.testing.assert_allclose(theirs[known], ours[known], rtol=1e-6, atol=1e-6)
    read = sitk.ReadImage(path)
    assert read.GetSize() == (image.sizes["col"], image.sizes["row"], len(source))


@pytest.mark.parametrize("change", ["same", "crop"])
def test_frames_say_what_they_were(change: str, tmp_path: Path) -> None:
    """Unchanged ones which instance was converted, derived ones which image they were derived from."""
    source = [pydicom.dcmread(p) for p in make(tmp_path / "in", SERIES["mr"])]
    image = CHANGES[change](opened(tmp_path / "in"))
    ds = pydicom.dcmread(image.imd.write(tmp_path / "out", format="dicom", format_options=MULTIFRAME).paths[0])
    at = {str(s.SOPInstanceUID): [float(x) for x in s.ImagePositionPatient] for s in source}
    row = np.array(phantoms.OBLIQUE[3:]) * 1.5 * (change == "crop")
    named = []
    for frame in ds.PerFrameFunctionalGroupsSequence:
        if change == "same":
            assert "DerivationImageSequence" not in frame
            (one,) = frame.ConversionSourceAttributesSequence
        else:
            assert "ConversionSourceAttributesSequence" not in frame
            (one,) = frame.DerivationImageSequence[0].SourceImageSequence
        named.append(str(one.ReferencedSOPInstanceUID))
        place = frame.PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose(at[named[-1]] + row, place, atol=1e-3)
    assert sorted(named) == sorted(at)
    if change == "crop":
        assert ds.ImageType[0] == "DERIVED"
        (study,) = ds.SourceImageEvidenceSequence
        assert study.ReferencedSeriesSequence[0].SeriesInstanceUID == source[0].SeriesInstanceUID
    else:
        assert ds.SOPInstanceUID not in at


def test_several_ways_of_storing_become_one(tmp_path: Path) -> None:
    """Volumes of whole numbers with and without a sign, fractions, NaN and a constant."""
    make(tmp_path / "in", phantoms.mr(shape=(5, 2, 6, 8)))
    image = opened(tmp_path / "in").copy(deep=True)
    image[1] -= 900
    image[2] = (image[2] * 0.37).where(image[2] > image[2].mean())
    image[3] = -0.1
    image[3, 0, 0, 0] = np.nan
    image[4] = np.nan
    done = image.imd.write(tmp_path / "out", format="dicom", format_options=MULTIFRAME)
    back = opened(tmp_path / "out")
    np.testing.assert_array_equal(back[[0, 1, 4]], image[[0, 1, 4]])
    np.testing.assert_allclose(back[3], image[3], rtol=1e-6)
    np.testing.assert_allclose(back[2], image[2], atol=float(np.ptp(image[2].fillna(0).values)) / 65534 / 2 + 1e-4)
    ds = pydicom.dcmread(done.paths[0])
    assert (ds.PixelPaddingValue, ds.PixelRepresentation) == (0, 0)


def test_it_can_be_compressed(tmp_path: Path) -> None:
    make(tmp_path / "in", SERIES["mr"])
    image = opened(tmp_path / "in")
    done = image.imd.write(tmp_path / "out", format="dicom", format_options={**MULTIFRAME, "transfer_syntax": "rle"})
    assert pydicom.dcmread(done.paths[0]).file_meta.TransferSyntaxUID.name == "RLE Lossless"
    np.testing.assert_array_equal(opened(tmp_path / "out"), image)


def test_made_from_an_array(tmp_path: Path, errors: Callable[[str], list[str]]) -> None:
    image = imagedata_xr.from_array(np.arange(60, dtype="u2").reshape(3, 4, 5), spacing=(3, 1.5, 1.25))
    done = image.imd.write(tmp_path / "out", format="dicom", format_options={**MULTIFRAME, "sop_class": "CT"})
    assert errors(done.paths[0]) == []
    np.testing.assert_array_equal(opened(tmp_path / "out").values, image.values)


def test_multi_frame_sources_stay_what_they_are(tmp_path: Path) -> None:
    kinds.SOURCES["Enhanced MR"](tmp_path / "in")
    image = opened(tmp_path / "in")
    done = image.imd.write(tmp_path / "out", format="dicom", format_options=MULTIFRAME)
    assert pydicom.dcmread(done.paths[0]).SOPClassUID.name == "Enhanced MR Image Storage"
    part = image.isel(slice=slice(0, 2)).imd.write(tmp_path / "part", format="dicom", format_options=MULTIFRAME)
    assert pydicom.dcmread(part.paths[0]).SOPClassUID.name == "Legacy Converted Enhanced MR Image Storage"
    np.testing.assert_array_equal(opened(tmp_path / "part").values, image.isel(slice=slice(0, 2)).values)


def refused(folder: Path, **options: Any) -> tuple[xr.DataArray, dict[str, Any], str]:
    what = options["what"]
    if what == "colour":
        kinds.SOURCES["Ultrasound, colour"](folder)
        return opened(folder), {}, "Ultrasound Image Storage"
    if what == "no class":
        return imagedata_xr.from_array(np.ones((2, 3, 4), "u1"), spacing=(1, 1, 1)), {}, "sop_class"
    if what == "no place":
        image = imagedata_xr.from_array(np.ones((1, 3, 4), "u1"))
        return image, {"format_options": {**MULTIFRAME, "sop_class": "MR"}}, "no place"
    make(folder, SERIES["mr"])
    if what == "keep_uid":
        return opened(folder), {"keep_uid": True}, "keep_uid"
    if what == "a kind":
        return opened(folder), {"kind": "segmentation"}, "multiframe"
    files = sorted(folder.iterdir())
    ds = pydicom.dcmread(files[-1])
    ds.StationName = "ELSEWHERE"
    ds.save_as(files[-1])
    return opened(folder), {}, "StationName"


@pytest.mark.parametrize("what", ["colour", "no class", "no place", "keep_uid", "a kind", "stations"])
def test_what_can_not_be_one_instance_is_refused(what: str, tmp_path: Path) -> None:
    image, options, text = refused(tmp_path / "in", what=what)
    with pytest.raises(FormatError, match=text):
        image.imd.write(tmp_path / "out", format="dicom", **{"format_options": MULTIFRAME, **options})
    assert not (tmp_path / "out").exists()
