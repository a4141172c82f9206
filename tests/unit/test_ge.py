"""GE: what private elements and the protocol say of diffusion, clocks and slice times; dcm2niix is the judge."""

from __future__ import annotations

import gzip
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from series import Elements, open_image, places, series

from imagedata_xr.dicom.vendors.ge_protocol import Order, excitations, parse
from imagedata_xr.errors import ImagedataWarning

ACQU, RELA, SERS, PARM = "GEMS_ACQU_01", "GEMS_RELA_01", "GEMS_SERS_01", "GEMS_PARM_01"
AXIAL, SAGITTAL, CORONAL = [1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1], [1, 0, 0, 0, 0, -1]
V28 = ["28", "LX", "MR Software release:DV28.0_R02_1947.a"]
V26 = ["27", "LX", "MR Software release:DV26.0_R01_1725.a"]
V24 = ["24", "LX", "MR Software release:DV24.0_R02_1607.b"]


def ge(**more: object) -> Elements:
    return {"Manufacturer": "GE MEDICAL SYSTEMS", "PatientPosition": "HFS", **more}


# --- diffusion ------------------------------------------------------------------------------------------------------


def weighted(b: float, xyz: tuple[float, float, float], more: Elements | None = None) -> Elements:
    out: Elements = {"InPlanePhaseEncodingDirection": "COL", "ScanningSequence": ["EP", "SE"]}
    direction = {(ACQU, 0x19, 0xBB + c): f"{xyz[c]:.6f}" for c in range(3)}
    return {**ge(), **out, (PARM, 0x43, 0x39): [int(b), 8, 0, 0], **direction, **(more or {})}


def test_directions_that_are_shortened_lessen_the_b_value(tmp_path: Path) -> None:
    lengths = [0.0, 1.0, np.sqrt(0.5), np.sqrt(1 / 3), 0.98]
    a = open_image(series(tmp_path, 5, 2, lambda v, k: weighted(3000 if v else 0, (0, lengths[v], 0))))
    assert a.b_value.values.tolist() == [0, 3000, 1500, 1000, 3000]
    np.testing.assert_allclose(np.abs(a.b_vector_y), [0, 1, 1, 1, 1])


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({(PARM, 0x43, 0x30): 16}, 0),  # a tensor: an unweighted image within the table
        ({(PARM, 0x43, 0x30): 14}, 0),
        ({(RELA, 0x21, 0x5A): 16}, 0),
        ({(ACQU, 0x19, 0xE0): 6}, 0),
        ({(ACQU, 0x19, 0xE0): 6, (RELA, 0x21, 0x5A): 64}, 1000),  # three directions in one: a trace
        ({(ACQU, 0x19, 0xE0): 0, (PARM, 0x43, 0x30): 15}, 1000),
        ({}, 1000),
    ],
)
def test_an_image_without_direction_is_a_trace_or_unweighted(tmp_path: Path, more: Elements, expected: int) -> None:
    direction = [(0, 0, 0), (1, 0, 0), (0, 0, 0)]
    a = open_image(series(tmp_path, 3, 2, lambda v, k: weighted(1000 if v else 0, direction[v], more)))
    assert a.b_value.values.tolist() == [0, 1000, expected]
    assert a.diffusion_directionality.values.tolist() == [0, 1, 3 if expected else 0]


def test_a_trace_without_elements_of_direction_keeps_its_b_value(tmp_path: Path) -> None:
    none = {(ACQU, 0x19, 0xBB + c): None for c in range(3)}
    vary = lambda v, k: {n: x for n, x in weighted(1000 * v, (0, 0, 0)).items() if n not in none}  # noqa: E731
    assert open_image(series(tmp_path, 2, 2, vary)).b_value.values.tolist() == [0, 1000]


@pytest.mark.parametrize("standard", [True, False])
def test_a_tensor_without_its_directions_is_said(tmp_path: Path, standard: bool) -> None:
    """Group 0019 taken away: which of the images are weighted only the standard's element still tells."""
    none = {(ACQU, 0x19, 0xBB + c): None for c in range(3)}

    def vary(v: int, k: int) -> Elements:
        flag: Elements = {(PARM, 0x43, 0x30): 16 if v else 14, "InstanceNumber": 2 * v + k + 1}
        out = {n: x for n, x in weighted(1000 if v else 0, (0, 0, 0), flag).items() if n not in none}
        return {**out, "DiffusionBValue": 1000.0} if standard and v else out

    said = "direction that their files do not give" if standard else "no b-value that can be told"
    with pytest.warns(ImagedataWarning, match=said):
        a = open_image(series(tmp_path, 3, 2, vary))
    assert a.sizes["tag"] == 3
    if standard:
        assert a.b_value.values.tolist() == [0, 1000, 1000]
        assert a.diffusion_directionality.values.tolist() == [0, 1, 1]
    else:
        assert "b_value" not in a.coords


@pytest.mark.parametrize(("iop", "sign"), [(AXIAL, 1), (SAGITTAL, 1), (CORONAL, -1)])
@pytest.mark.parametrize("encoded", ["COL", "ROW"])
def test_the_sign_of_the_phase_direction_is_another_in_coronal_planes(
    tmp_path: Path, iop: list[float], sign: int, encoded: str
) -> None:
    r, c = np.array(iop[:3], float), np.array(iop[3:], float)
    x, y, z = 0.48, 0.6, 0.64

    def vary(v: int, k: int) -> Elements:
        place: Elements = {"ImageOrientationPatient": iop, "ImagePositionPatient": (3 * k * np.cross(r, c)).tolist()}
        return {**weighted(1000 * v, (x * v, y * v, z * v)), **place, "InPlanePhaseEncodingDirection": encoded}

    a = open_image(series(tmp_path, 2, 2, vary))
    flat = -x * r - sign * y * c if encoded == "COL" else -sign * y * r + x * c
    found = [float(a[f"b_vector_{n}"][1]) for n in "xyz"]
    np.testing.assert_allclose(found, flat + z * np.cross(r, c), atol=1e-6)


# --- clocks and slice times -----------------------------------------------------------------------------------------


def protocol(**values: object) -> bytes:
    text = "".join(f'{name} "{value}"\n' for name, value in values.items()).encode()
    packed = b"\0\1\0\0" + gzip.compress(text, mtime=0)
    # the length of the text must stand in the last four bytes: a longer text instead of a padding byte
    while len(packed) % 2:
        text += b"\n"
        packed = b"\0\1\0\0" + gzip.compress(text, mtime=0)
    return packed


def course(name: str, versions: list[str], block: bytes | None, slices: int, down: bool = False) -> Elements:
    """Elements of an echo-planar time course of TR 2 s."""
    out = ge(ScanningSequence=["EP", "GR"], MRAcquisitionType="2D", RepetitionTime=2000, SoftwareVersions=versions)
    more: Elements = {"NumberOfTemporalPositions": 3, "AcquisitionTime": "101500", "ImagesInAcquisition": slices}
    names = {(ACQU, 0x19, 0x9C): name, (ACQU, 0x19, 0x9E): "EPI2" if name == "epi2" else "EPI"}
    return {**out, **more, **names, **({(SERS, 0x25, 0x1B): block} if block else {})}


def timed(folder: Path, slices: int, elements: Elements, vary: Callable[[int, int], Elements] | None = None) -> Path:
    return series(folder, 3, slices, lambda v, k: {**elements, **(vary(v, k) if vary else {})})


@pytest.mark.parametrize(("unit", "versions"), [(1.0, V24), (1e4, ["14", "LX", "MR Software release:14.0_M4_0629.a"])])
def test_the_unit_of_the_timer_is_told_by_the_repetition_time(tmp_path: Path, unit: float, versions: list[str]) -> None:
    def vary(v: int, k: int) -> Elements:
        return {(RELA, 0x21, 0x5E): f"{unit * (2 * v + 0.5 * k + 0.1):.6f}"}

    a = open_image(timed(tmp_path, 4, course("epiRT", versions, None, 4), vary))
    assert a.tag.values.tolist() == [0, 2, 4]
    assert a.tag.attrs["source"] == "vendor's timer"
    np.testing.assert_allclose(a.slice_time[0], [0, 0.5, 1, 1.5])


def test_a_timer_whose_first_volume_does_not_fit_is_no_clock(tmp_path: Path) -> None:
    def vary(v: int, k: int) -> Elements:
        return {(RELA, 0x21, 0x5E): f"{2 * v + 0.5 * k + 0.1 if v else 0.01 * (k + 1):.6f}"}

    a = open_image(timed(tmp_path, 4, course("epiRT", V24, None, 4), vary))
    assert a.tag.values.tolist() == [0, 2, 4]
    assert a.tag.attrs["source"] == "InstanceNumber x RepetitionTime"
    assert "slice_time" not in a.coords


@pytest.mark.parametrize(
    ("elements", "block", "step"),
    [
        ({(PARM, 0x43, 0x7C): 3.0}, {"IOPT": "EPI, FMRI"}, 5.0),
        ({}, {"IOPT": "MPh, EPI, Asset", "DELACQ": "0.35", "DELACQNOAV": "0.35"}, 2.35),
        ({}, {"IOPT": "MPh, EPI", "DELACQ": "Minimum", "DELACQNOAV": "2"}, 2.0),
    ],
)
def test_a_delay_follows_each_volume(tmp_path: Path, elements: Elements, block: dict[str, str], step: float) -> None:
    name = "epiRT" if elements else "epi"
    a = open_image(timed(tmp_path, 4, {**course(name, V28, protocol(NOSLC=4, **block), 4), **elements}))
    np.testing.assert_allclose(a.tag.values, [0, step, 2 * step])
    np.testing.assert_allclose(np.sort(a.slice_time[0]), [0, 0.5, 1, 1.5])


def test_delays_that_vary_leave_the_time_open(tmp_path: Path) -> None:
    block = protocol(NOSLC=4, IOPT="MPhVar, EPI", DELACQ="Minimum")
    a = open_image(timed(tmp_path, 4, course("epi", V28, block, 4)))
    assert a.tag.attrs["order"] == "none"
    assert "slice_time" not in a.coords


CASES = [
    ("epiRT", V26, {"IOPT": "EPI, FMRI", "SLICEORDER": 1}, 1, 7),
    ("epiRT", V26, {"IOPT": "EPI, FMRI", "SLICEORDER": 0}, 1, 7),
    ("epiRT", V26, {"IOPT": "EPI, FMRI", "SLICEORDER": 1}, 2, 8),  # an odd number of shots
    ("epiRT", V28, {"IOPT": "EPI, FMRI", "SLICEORDER": 1}, 2, 8),  # the last but two is exchanged with the last
    ("epiRT", V28, {"IOPT": "EPI, FMRI", "SLICEORDER": 1}, 2, 7),
    ("epiRT", V24, {"IOPT": "EPI, FMRI", "SLICEORDER": 1}, 2, 8),  # not known
    ("epi", V28, {"IOPT": "MPh, EPI", "DELACQ": "Minimum"}, 1, 6),
    ("epi2", ["28", "LX", "MR29.1_EA_2039.g"], {"IOPT": "EDR, EPI, DIFF"}, 2, 8),
]


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize(("name", "versions", "block", "bands", "slices"), CASES)
def test_slice_times_of_the_protocol_are_those_of_dcm2niix(
    tmp_path: Path, require_program: Callable[[str], Path],
    name: str, versions: list[str], block: dict[str, object], bands: int, slices: int, down: bool,
) -> None:  # fmt: skip
    elements = course(name, versions, protocol(PSEQ="x", NOSLC=slices, MBACCEL=bands, **block), slices)
    places = lambda v, k: {"ImagePositionPatient": [0, 0, -3 * k if down else 3 * k]}  # noqa: E731
    folder = timed(tmp_path / "in", slices, {**elements, (PARM, 0x43, 0xB6): [str(bands), "4", "19"]}, places)
    expected = judged(require_program("dcm2niix"), folder, tmp_path / "out").get("SliceTiming")
    found = open_image(folder).coords.get("slice_time", xr.DataArray([[]]))
    if expected is None:
        assert found.size == 0
    else:
        np.testing.assert_allclose(found[0], expected, atol=1e-4)


def judged(program: Path, folder: Path, out: Path) -> dict[str, list[float]]:
    """Sidecar that dcm2niix writes."""
    out.mkdir()
    subprocess.run([program, "-b", "y", "-f", "x", "-o", out, folder], check=True, capture_output=True)
    found: dict[str, list[float]] = json.loads((out / "x.json").read_text())
    return found


def test_slices_of_another_number_than_the_protocol_says_have_no_times(tmp_path: Path) -> None:
    block = protocol(NOSLC=8, IOPT="EPI, FMRI", SLICEORDER=1)
    assert "slice_time" not in open_image(timed(tmp_path, 4, course("epiRT", V26, block, 4))).coords


@pytest.mark.parametrize("factor", ["0", "0.72"])
def test_gradients_that_are_exchanged_leave_the_slice_times_open(tmp_path: Path, factor: str) -> None:
    elements = course("epi2", V28, protocol(NOSLC=4, IOPT="EPI, DIFF"), 4)
    more: Elements = {"ManufacturerModelName": "SIGNA Premier", (ACQU, 0x19, 0xB6): factor}
    a = open_image(timed(tmp_path, 4, {**elements, **more}))
    assert ("slice_time" in a.coords) == (factor == "0.72")


def test_a_damaged_protocol_says_nothing() -> None:
    whole = protocol(NOSLC=4)
    assert parse(whole) == {"NOSLC": "4"}
    assert parse(whole[:12] + b"\xff" * 20) == {}
    assert parse(b"") == parse(b"rubbish") == {}


def test_excitations() -> None:
    assert excitations(5, Order(True, 1, False)).tolist() == [0, 3, 1, 4, 2]
    assert excitations(4, Order(True, 1, False)).tolist() == [0, 2, 1, 3]
    assert excitations(6, Order(False, 2, True)).tolist() == [0, 1, 2, 0, 1, 2]


# --- echoes ---------------------------------------------------------------------------------------------------------


def test_echoes_with_one_echo_time_are_parted_by_their_raw_data(tmp_path: Path) -> None:
    """Research sequences: echo time, echo number and instance number of all echoes are equal."""

    def vary(v: int, k: int) -> Elements:
        volume, echo = divmod(v, 3)
        said: Elements = {"EchoTime": 12.5, "EchoNumbers": 1, "InstanceNumber": 2 * volume + k + 1}
        # the UID, which would break ties, tells another sequence
        return {**ge(**said), (ACQU, 0x19, 0xA2): 40 + echo, (ACQU, 0x19, 0xA9): "3", "SOPInstanceUID": f"1.2.{echo}.{9 - v}.{k}"}  # fmt: skip  # noqa: E501

    folder = series(tmp_path, 6, 2, vary)
    with pytest.warns(ImagedataWarning, match="GE wrote 3 echoes with one echo time"):
        tree = xr.open_datatree(folder, engine="imagedata")
    images = [node.dataset["image"] for node in tree.subtree if "image" in node.data_vars]
    assert [places(a) for a in images] == [[[(v, 0), (v, 1)] for v in (echo, echo + 3)] for echo in range(3)]


def test_runs_of_one_echo_each_stay_one_image(tmp_path: Path) -> None:
    vary = lambda v, k: {**ge(EchoTime=12.5), (ACQU, 0x19, 0xA2): 40 + v, (ACQU, 0x19, 0xA9): "1"}  # noqa: E731
    assert open_image(series(tmp_path, 3, 2, vary)).sizes["tag"] == 3
