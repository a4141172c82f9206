"""Phase encoding: its direction with polarity in the patient, and what BIDS says of it on the axes of a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import xarray as xr
from mosaics import SAGITTAL, Volume, csa2, mosaic
from numpy.typing import NDArray
from series import Elements, open_image, save, series

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
OBLIQUE = (0.8, 0.6, 0.0, -0.48, 0.64, 0.6)
HEADER, SDI, CSA, PARM = "SIEMENS MR HEADER", "SIEMENS MR SDI 02", "SIEMENS CSA HEADER", "GEMS_PARM_01"
PLANAR: Elements = {"Manufacturer": "SIEMENS", "ScanningSequence": "EP", "InPlanePhaseEncodingDirection": "COL"}


def epi(folder: Path, encoded: str, positive: str, orientation: tuple[float, ...] = AXIAL, **more: Any) -> xr.DataArray:
    """A mosaic of 4 rows of 2 mm and 6 columns of 3 mm, with 20 Hz per pixel along phase encoding."""
    ds = mosaic(Volume(orientation=orientation), {"PhaseEncodingDirectionPositive": [positive]})
    ds.ScanningSequence, ds.InPlanePhaseEncodingDirection, ds.RepetitionTime = "EP", encoded, "2000"
    ds.private_block(0x19, HEADER, create=True).add_new(0x28, "FD", 20.0)
    for keyword, value in more.items():
        setattr(ds, keyword, value)
    save(ds, folder / "a.dcm")
    return open_image(folder)


def affine(path: Path) -> NDArray[np.float64]:
    img: Any = nib.load(path)
    return np.asarray(img.affine)


def written(da: xr.DataArray, path: Path) -> tuple[dict[str, Any], Any]:
    """The sidecar of a NIfTI file, and its direction of phase encoding as a unit vector in LPS, by nibabel's affine."""
    da.imd.write(path, overwrite=True)
    side = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    word = side.get("PhaseEncodingDirection")
    if word is None:
        return side, None
    axis = affine(path)[:3, "ijk".index(word[0])] * (-1 if word.endswith("-") else 1)
    return side, np.array([-1, -1, 1]) * axis / np.linalg.norm(axis)


@pytest.mark.parametrize("orientation", [AXIAL, SAGITTAL, OBLIQUE])
@pytest.mark.parametrize("positive", ["1", "0"])
@pytest.mark.parametrize("encoded", ["COL", "ROW"])
def test_polarity_of_mosaics(tmp_path: Path, encoded: str, positive: str, orientation: tuple[float, ...]) -> None:
    da = epi(tmp_path / "in", encoded, positive, orientation)
    expected = np.array(orientation[3:] if encoded == "COL" else orientation[:3]) * (1 if positive == "1" else -1)
    np.testing.assert_allclose(da.attrs["phase_encoding_direction"], expected, atol=1e-6)
    side, vector = written(da, tmp_path / "a.nii")
    np.testing.assert_allclose(vector, expected, atol=1e-6)
    assert "PhaseEncodingAxis" not in side
    n = 4 if encoded == "COL" else 6
    assert side["EffectiveEchoSpacing"] == pytest.approx(1 / (20 * n), rel=1e-5)
    assert side["TotalReadoutTime"] == pytest.approx((n - 1) / (20 * n), rel=1e-5)
    back = open_image(tmp_path / "a.nii")
    for name in ("phase_encoding_direction", "phase_encoding_bandwidth"):
        assert back.attrs[name] == da.attrs[name]


def test_a_to_p_is_j_minus_in_the_file(tmp_path: Path) -> None:
    side, _ = written(epi(tmp_path / "in", "COL", "1"), tmp_path / "a.nii")
    assert side["PhaseEncodingDirection"] == "j-"  # rows are flipped in the file, and j runs to the front


def test_other_axes_leave_the_direction_where_it_was(tmp_path: Path) -> None:
    da = epi(tmp_path / "in", "COL", "1").compute()
    for name, other in {
        "rows": da.isel(row=slice(None, None, -1)),
        "columns": da.isel(col=slice(None, None, -1)),
        "sagittal": da.imd.to_orientation("ASL"),
        "coronal": da.imd.to_orientation("RSP"),
    }.items():
        side, vector = written(other, tmp_path / f"{name}.nii")
        np.testing.assert_allclose(vector, [0, 1, 0], atol=1e-6, err_msg=name)
        assert side["EffectiveEchoSpacing"] == pytest.approx(1 / 80, rel=1e-5), name


def test_a_crop_is_moved_as_far_as_the_whole(tmp_path: Path) -> None:
    da = epi(tmp_path / "in", "COL", "1")
    shift = []
    for name, part in {
        "whole": da,
        "crop": da.isel(row=slice(0, 3)),
        "stride": da.isel(row=slice(None, None, 2)),
    }.items():
        side, _ = written(part, tmp_path / f"{name}.nii")
        shape, width = part.sizes["row"], np.linalg.norm(affine(tmp_path / f"{name}.nii")[:3, 1])
        shift.append(side["EffectiveEchoSpacing"] * shape * width)  # mm per Hz, as FSL's fugue moves voxels
    np.testing.assert_allclose(shift, 2.0 / 20, rtol=1e-5)


def test_oblique_to_the_grid_it_is_not_said(tmp_path: Path) -> None:
    da = epi(tmp_path / "in", "COL", "1", OBLIQUE).compute()
    plain = epi(tmp_path / "other", "COL", "1").compute()
    side, vector = written(da.imd.interp_like(plain, transform=np.eye(4)), tmp_path / "a.nii")
    assert vector is None
    assert "EffectiveEchoSpacing" not in side


def test_opposite_polarities_leave_none(tmp_path: Path) -> None:
    up, down = epi(tmp_path / "1", "COL", "1"), epi(tmp_path / "0", "COL", "0")
    assert "phase_encoding_direction" not in ((up + down) / 2).attrs


def test_frames_say_it_in_their_own_elements(tmp_path: Path) -> None:
    said = {**PLANAR, (SDI, 0x21, 0x1C): 0, (SDI, 0x21, 0x53): 12.5}
    da = open_image(series(tmp_path, 1, 3, lambda v, k: said))
    assert da.attrs["phase_encoding_direction"] == [0.0, -1.0, 0.0]
    assert da.attrs["phase_encoding_bandwidth"] == pytest.approx(12.5 / 2.0)


def test_the_csa_header_of_single_slices_is_read_for_it(tmp_path: Path) -> None:
    said = {**PLANAR, (CSA, 0x29, 0x10): csa2({"PhaseEncodingDirectionPositive": ["1"]})}
    da = open_image(series(tmp_path, 1, 3, lambda v, k: said))
    assert da.attrs["phase_encoding_direction"] == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("rows", [128, 256])
def test_echo_spacing_of_ge(tmp_path: Path, rows: int) -> None:
    # the example of dcm2niix' notes on GE: 128 lines, of which 1 in 1.5, 636 us, partial Fourier: 0.055332 s
    said = {
        "Manufacturer": "GE MEDICAL SYSTEMS", "ScanningSequence": ["EP", "GR"], "ScanOptions": ["EPI_GEMS", "PFF"],
        "InPlanePhaseEncodingDirection": "COL", "AcquisitionMatrix": [128, 0, 0, 128],
        "Rows": rows, "PixelData": bytes(2 * rows * 5), "Columns": 5,
        (PARM, 0x43, 0x2C): 636, (PARM, 0x43, 0x83): ["0.666667", "1"],
    }  # fmt: skip
    side, vector = written(open_image(series(tmp_path / "in", 1, 3, lambda v, k: said)), tmp_path / "a.nii")
    assert vector is None
    assert side["PhaseEncodingAxis"] == "j"
    assert side["EffectiveEchoSpacing"] == pytest.approx(0.055332 / 127, rel=1e-4)
    # interpolated to 256 rows, the image moves by twice as many of its smaller pixels
    assert side["TotalReadoutTime"] == pytest.approx(0.055332 / 127 * (rows - 1), rel=1e-4)


def test_sidecars_of_others_are_read(tmp_path: Path) -> None:
    img: Any = nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.diag([-2.0, 2.5, 3.0, 1.0]))  # type: ignore[no-untyped-call]
    nib.save(img, tmp_path / "a.nii")
    (tmp_path / "a.json").write_text(json.dumps({"PhaseEncodingDirection": "i-", "TotalReadoutTime": 0.03}))
    attrs = open_image(tmp_path / "a.nii").attrs
    assert attrs["phase_encoding_direction"] == [-1.0, 0.0, 0.0]
    assert attrs["phase_encoding_bandwidth"] == pytest.approx(1 / (0.01 * 4 * 2.0))
    (tmp_path / "a.json").write_text(json.dumps({"PhaseEncodingDirection": "AP", "TotalReadoutTime": "long"}))
    assert not {"phase_encoding_direction", "phase_encoding_bandwidth"} & open_image(tmp_path / "a.nii").attrs.keys()


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "a.mat", "a.tif", "a.zarr"])
def test_other_formats_carry_it(tmp_path: Path, name: str) -> None:
    da = epi(tmp_path / "in", "ROW", "0", OBLIQUE)
    da.imd.write(tmp_path / name)
    back = open_image(tmp_path / name)
    for key in ("phase_encoding_direction", "phase_encoding_bandwidth"):
        np.testing.assert_allclose(back.attrs[key], da.attrs[key])


def test_it_identifies_nobody(tmp_path: Path) -> None:
    da = epi(tmp_path / "in", "COL", "1", PatientName="A^B", PatientID="1", StudyInstanceUID="1.2.3")
    clean = da.imd.deidentify()
    for key in ("phase_encoding_direction", "phase_encoding_bandwidth"):
        assert clean.attrs[key] == da.attrs[key]


def test_repetition_time_of_echoes_is_not_what_lies_between_them(tmp_path: Path) -> None:
    def elements(v: int, k: int) -> Elements:
        return {"EchoTime": 5.0 + 3 * v, "RepetitionTime": 400, "AcquisitionTime": f"1015{10 + 90 * v / 60:09.6f}"}

    da = open_image(series(tmp_path / "in", 2, 3, elements))
    assert da.tag.attrs["order"] == "te"
    side, _ = written(da, tmp_path / "a.nii")
    assert side["RepetitionTime"] == 0.4
    assert side["EchoTime"] == [0.005, 0.008]
    np.testing.assert_allclose(open_image(tmp_path / "a.nii").time, da.time)
