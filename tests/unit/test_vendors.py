"""What private elements of manufacturers mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import multiframe
import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from series import Elements, open_image, places, series, straight

from imagedata_xr.dicom.vendors import VENDORS, vendor_of, vendors
from imagedata_xr.errors import ImagedataWarning

OBLIQUE = [0.8, 0.6, 0.0, 0.0, 0.0, -1.0]  # rows, columns; normal = cross
B = [0, 1000, 1000, 1000]
DIRECTIONS = np.array([[0, 0, 0], [1, 0, 0], [0, 0.6, 0.8], [0.6, 0, -0.8]])


def vectors(a: xr.DataArray) -> NDArray[np.float64]:
    return np.stack([a[f"b_vector_{c}"].values for c in "xyz"], axis=1)


@pytest.mark.parametrize(
    ("manufacturer", "name"),
    [
        ("SIEMENS", "siemens"),
        ("Siemens Healthineers", "siemens"),
        ("GE MEDICAL SYSTEMS", "ge"),
        ("Philips Medical Systems", "philips"),
        ("Philips", "philips"),
        ("GENERIC", None),
        ("", None),
    ],
)
def test_manufacturers(manufacturer: str, name: str | None) -> None:
    vendor = vendor_of(manufacturer)
    assert vendor is (None if name is None else vendors()[VENDORS.index(name)])


def test_siemens(tmp_path: Path) -> None:
    head = "SIEMENS MR HEADER"

    def vary(v: int, k: int) -> Elements:
        out: Elements = {"Manufacturer": "SIEMENS", (head, 0x19, 0x0C): B[v]}
        return {**out, (head, 0x19, 0x0E): DIRECTIONS[v].tolist(), (head, 0x19, 0x0D): "DIRECTIONAL"} if v else out

    a = open_image(series(tmp_path, 4, 2, vary))
    assert a.tag.attrs["order"] == "dti"
    assert a.b_value.values.tolist() == B
    np.testing.assert_allclose(vectors(a), DIRECTIONS)
    assert a.diffusion_directionality.values.tolist() == [0, 1, 1, 1]


def test_a_manufacturer_that_was_taken_away_is_told_by_the_creators_of_private_elements(tmp_path: Path) -> None:
    head = "SIEMENS MR HEADER"

    def vary(v: int, k: int) -> Elements:
        out: Elements = {"Manufacturer": "", (head, 0x19, 0x0C): B[v]}
        return {**out, (head, 0x19, 0x0E): DIRECTIONS[v].tolist()} if v else out

    a = open_image(series(tmp_path / "in", 4, 2, vary))
    assert a.b_value.values.tolist() == B
    np.testing.assert_allclose(vectors(a), DIRECTIONS)
    a.imd.write(str(tmp_path / "out"), keep_uid=True)  # unchanged, as its own header says the same
    assert vendor_of("", ["GEMS_PARM_01", "SIEMENS MR HEADER"]) is None
    assert vendor_of("Another", ["GEMS_PARM_01"]) is None


def test_b_values_of_some_images_only_are_said(tmp_path: Path) -> None:
    def vary(v: int, k: int) -> Elements:
        return {"DiffusionBValue": 1000.0 * v} if v < 2 else {}

    with pytest.warns(ImagedataWarning, match="2 of 6 images of a series have no b-value"):
        a = open_image(series(tmp_path, 3, 2, vary), order="none")
    assert "b_value" not in a.coords


def test_siemens_traces_have_no_direction(tmp_path: Path) -> None:
    head = "SIEMENS MR HEADER"

    def vary(v: int, k: int) -> Elements:
        return {"Manufacturer": "SIEMENS", (head, 0x19, 0x0C): B[v], (head, 0x19, 0x0E): [1, 0, 0],
                "SequenceName": "*ep_b1000t" if v == 1 else "*ep_b0"}  # fmt: skip

    a = open_image(series(tmp_path, 2, 2, vary))
    assert (vectors(a) == 0).all()
    assert a.diffusion_directionality.values.tolist() == [0, 3]


@pytest.mark.parametrize("encoded", ["COL", "ROW"])
@pytest.mark.parametrize("extra", [0, 1_000_000_000])
def test_ge(tmp_path: Path, encoded: str, extra: int) -> None:
    def vary(v: int, k: int) -> Elements:
        n = np.cross(OBLIQUE[:3], OBLIQUE[3:])
        out: Elements = {
            "Manufacturer": "GE MEDICAL SYSTEMS",
            "ImageOrientationPatient": OBLIQUE,
            "ImagePositionPatient": (3 * k * n).tolist(),
            "InPlanePhaseEncodingDirection": encoded,
            ("GEMS_PARM_01", 0x43, 0x39): [B[v] + extra * (v > 0), 8, 0, 0],
        }
        return {**out, **{("GEMS_ACQU_01", 0x19, 0xBB + c): DIRECTIONS[v][c] for c in range(3)}}

    a = open_image(series(tmp_path, 4, 2, vary))
    assert a.b_value.values.tolist() == B
    r, c = np.array(OBLIQUE[:3]), np.array(OBLIQUE[3:])
    x, y, z = DIRECTIONS.T[..., None] * [[[1]], [[-1]], [[1]]]  # the plane is nearest to coronal
    flat = -x * r - y * c if encoded == "COL" else -y * r + x * c
    np.testing.assert_allclose(vectors(a), flat + z * np.cross(r, c), atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(vectors(a), axis=1), [0, 1, 1, 1])
    a.imd.write(tmp_path / "same", keep_uid=True)  # which it refuses unless labels and headers agree


def ge_weighted(encoded: Callable[[int], str | None]) -> Callable[[int, int], Elements]:
    """Images of GE, encoded along rows or columns as `encoded` says of each volume."""

    def vary(v: int, k: int) -> Elements:
        out: Elements = {
            "Manufacturer": "GE MEDICAL SYSTEMS",
            "InPlanePhaseEncodingDirection": encoded(v),
            ("GEMS_PARM_01", 0x43, 0x39): [B[v], 8, 0, 0],
        }
        return {**out, **{("GEMS_ACQU_01", 0x19, 0xBB + c): DIRECTIONS[v][c] for c in range(3)}}

    return vary


def test_ge_directions_are_unknown_where_the_encoding_is_lost(tmp_path: Path) -> None:
    with pytest.warns(ImagedataWarning, match="3 of 4 volumes are weighted by diffusion in a direction that"):
        a = open_image(series(tmp_path, 4, 2, ge_weighted(lambda v: None)))
    assert a.b_value.values.tolist() == B
    assert not vectors(a).any()
    assert a.diffusion_directionality.values.tolist() == [0, 1, 1, 1]


def test_ge_images_are_encoded_as_the_others_of_their_series(tmp_path: Path) -> None:
    whole = open_image(series(tmp_path / "whole", 4, 2, ge_weighted(lambda v: "ROW")))
    part = open_image(series(tmp_path / "part", 4, 2, ge_weighted(lambda v: "ROW" if v % 2 else None)))
    np.testing.assert_array_equal(vectors(part), vectors(whole))
    assert vectors(whole)[1:].any(axis=1).all()


def test_volumes_whose_sequence_nothing_tells_are_said(tmp_path: Path) -> None:
    def vary(v: int, k: int) -> Elements:
        out = ge_weighted(lambda v: "ROW")(v, k)
        return {**out, "InstanceNumber": None}

    with pytest.warns(ImagedataWarning, match="neither number nor time tells in which sequence"):
        a = open_image(series(tmp_path, 4, 2, vary))
    assert sorted(a.b_value.values.tolist()) == B
    marks = [place[0][0] for place in places(a)]  # each volume has its own direction still
    whole = vectors(open_image(series(tmp_path / "whole", 4, 2, ge_weighted(lambda v: "ROW"))))
    np.testing.assert_array_equal(vectors(a), whole[marks])


def test_ge_without_diffusion_says_nothing_of_it(tmp_path: Path) -> None:
    vary = lambda v, k: {"Manufacturer": "GE MEDICAL", ("GEMS_PARM_01", 0x43, 0x39): [0, 8, 0, 0]}  # noqa: E731
    assert "b_value" not in open_image(series(tmp_path, 2, 2, vary)).coords


def test_ge_kinds_of_image(tmp_path: Path) -> None:
    vary = lambda v, k: {"Manufacturer": "GE MEDICAL", ("GEMS_PARM_01", 0x43, 0x2F): v}  # noqa: E731
    folder = series(tmp_path, 4, 2, vary)
    for v in range(4):
        assert places(open_image(folder, stack=v)) == straight(4, 2)[v : v + 1]


def test_ge_field_map_is_told_from_its_magnitude(tmp_path: Path) -> None:
    def vary(v: int, k: int) -> Elements:
        return {"Manufacturer": "GE MEDICAL", ("GEMS_PARM_01", 0x43, 0x2F): 0, ("GEMS_PARM_01", 0x43, 0x30): 2 * v}

    folder = series(tmp_path, 2, 3, vary)
    for v in range(2):
        assert places(open_image(folder, stack=v)) == straight(2, 3)[v : v + 1]


def test_ge_flags_of_other_places_make_no_field_map(tmp_path: Path) -> None:
    vary = lambda v, k: {"Manufacturer": "GE MEDICAL", ("GEMS_PARM_01", 0x43, 0x30): k % 2}  # noqa: E731
    assert places(open_image(series(tmp_path, 2, 4, vary))) == straight(2, 4)


def test_ge_timer(tmp_path: Path) -> None:
    def vary(v: int, k: int) -> Elements:
        timer = {("GEMS_RELA_01", 0x21, 0x5E): 30000.0 * v}
        return {"Manufacturer": "GE MEDICAL", "AcquisitionTime": "101500", "RepetitionTime": 3000, **timer}

    a = open_image(series(tmp_path, 3, 2, vary), order="time")
    assert a.tag.values.tolist() == [0, 3, 6]
    assert a.tag.attrs["source"] == "vendor's timer"
    assert a.tag.attrs["epoch"] == "2024-01-02T10:15:00.000000"


def test_philips(tmp_path: Path) -> None:
    imaging, mr = "Philips Imaging DD 001", "Philips MR Imaging DD 001"

    def vary(v: int, k: int) -> Elements:  # the last volume is the trace, numbered slice by slice
        out: Elements = {
            "Manufacturer": "Philips",
            "InstanceNumber": 5 * k + v + 1,
            (imaging, 0x2001, 0x03): [*B, 1000][v],
        }
        direction = [*DIRECTIONS, [0, 0, 0]][v]
        vector = {(mr, 0x2005, 0xB0 + c): direction[c] for c in range(3)}
        return {**out, **vector, (imaging, 0x2001, 0x04): "I" if v in (0, 4) else "O"}

    a = open_image(series(tmp_path, 5, 3, vary))
    assert places(a) == straight(5, 3)
    assert a.b_value.values.tolist() == [*B, 1000]
    np.testing.assert_allclose(vectors(a), np.vstack([DIRECTIONS, np.zeros(3)]), atol=1e-6)
    assert a.diffusion_directionality.values.tolist() == [0, 1, 1, 1, 3]


def test_philips_components(tmp_path: Path) -> None:
    vary = lambda v, k: {"Manufacturer": "Philips", ("Philips MR Imaging DD 001", 0x2005, 0x11): "MPRI"[v]}  # noqa: E731
    folder = series(tmp_path, 4, 2, vary)
    for v in range(4):
        assert places(open_image(folder, stack=v)) == straight(4, 2)[v : v + 1]


@pytest.mark.parametrize("letter", ["M", ""])
def test_philips_dixon_frames_are_told_by_their_classic_image_type(tmp_path: Path, letter: str) -> None:
    """Water, fat, in and out of phase at the same places, whose Frame Types and components are equal."""
    kinds = ["W", "F", "IP", "OP"]
    frames = [multiframe.Frame(k, v) for k in range(3) for v in range(4)]
    ds = multiframe.instance(frames, Manufacturer="Philips", ComplexImageComponent="MAGNITUDE")
    for frame, group in zip(frames, ds.PerFrameFunctionalGroupsSequence, strict=True):
        copy = Dataset()
        copy.ImageType = ["DERIVED", "PRIMARY", kinds[frame.v], kinds[frame.v], "DERIVED"]
        if letter:
            copy.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x11, "CS", letter)
        block = group.private_block(0x2005, "Philips MR Imaging DD 005", create=True)
        block.add_new(0x0F, "SQ", Items([copy]))
    path = multiframe.save(ds, tmp_path / "a.dcm")
    for v in range(4):
        a = open_image(path, stack=v)
        wanted = np.stack([multiframe.values(multiframe.Frame(k, v)) for k in range(3)])
        np.testing.assert_array_equal(a.values[0], wanted)


def test_the_standard_elements_and_repeated_directions(tmp_path: Path) -> None:
    directions = [DIRECTIONS[1], DIRECTIONS[2], DIRECTIONS[1]]
    words = ["DIRECTIONAL", "BMATRIX", "DIRECTIONAL"]

    def vary(v: int, k: int) -> Elements:
        noise = 1e-6 * k  # slices differ in the last digits
        return {"DiffusionBValue": 700, "DiffusionGradientOrientation": (directions[v] + noise).tolist(),
                "DiffusionDirectionality": words[v]}  # fmt: skip

    a = open_image(series(tmp_path, 3, 2, vary))
    assert places(a) == straight(3, 2)
    assert a.tag.attrs["order"] == "dti"
    np.testing.assert_allclose(vectors(a), directions, atol=1e-5)
    assert a.diffusion_directionality.values.tolist() == [1, 2, 1]


def test_isotropic_images_and_b0_have_no_direction(tmp_path: Path) -> None:
    def vary(v: int, k: int) -> Elements:
        return {"DiffusionBValue": [0, 800, 800][v], "DiffusionGradientOrientation": [0, 0.6, 0.8],
                "DiffusionDirectionality": ["NONE", "ISOTROPIC", "DIRECTIONAL"][v]}  # fmt: skip

    a = open_image(series(tmp_path, 3, 2, vary))
    np.testing.assert_allclose(vectors(a), np.array([[0, 0, 0], [0, 0, 0], [0, 0.6, 0.8]]))


def scrambled(v: int, k: int) -> int:
    """Instance number that puts the volumes into another order at each position."""
    return 100 * k + (5 * v + 3 * k) % 7 + 1


def test_philips_volumes_that_repeat_a_b_value_are_told_by_their_numbers(tmp_path: Path) -> None:
    imaging, mr, mr5 = "Philips Imaging DD 001", "Philips MR Imaging DD 001", "Philips MR Imaging DD 005"
    # the order of the data set dcm_qa_philips_dwi: b-values of nearly 0 and one direction, between the others
    b = [0, 1000, 0.001, 1000, 0.002, 1000, 0.003]
    numbers = [(1, 1), (2, 2), (3, 1), (2, 3), (4, 1), (2, 4), (5, 1)]

    def vary(v: int, k: int) -> Elements:
        out: Elements = {"Manufacturer": "Philips", "InstanceNumber": scrambled(v, k), (imaging, 0x2001, 0x03): b[v]}
        direction = DIRECTIONS[1 + v // 2] if b[v] == 1000 else [0, 0, 1]
        vector = {(mr, 0x2005, 0xB0 + c): direction[c] for c in range(3)}
        more = {(mr5, 0x2005, 0x12): numbers[v][0], (mr5, 0x2005, 0x13): numbers[v][1]}
        return {**out, **vector, **more}

    a = open_image(series(tmp_path / "old", 7, 4, vary))
    order = [0, 1, 3, 5, 2, 4, 6]
    assert places(a) == [straight(7, 4)[v] for v in order]
    np.testing.assert_allclose(a.b_value, [b[v] for v in order], rtol=1e-6)

    def counted(v: int, k: int) -> Elements:
        return {**vary(v, k), ("Philips MR Imaging DD 006", 0x2005, 0x96): v + 1}

    assert places(open_image(series(tmp_path / "new", 7, 4, counted))) == straight(7, 4)
    newer = lambda v, k: {**counted(v, k), "SoftwareVersions": ["11.1", "1.2"]}  # noqa: E731
    assert places(open_image(series(tmp_path / "eleven", 7, 4, newer))) == places(a)


def test_philips_phases_of_spin_labelling(tmp_path: Path) -> None:
    mr5, imaging = "Philips MR Imaging DD 005", "Philips Imaging DD 001"

    def vary(v: int, k: int) -> Elements:  # two repetitions in two phases, control and label
        out: Elements = {"Manufacturer": "Philips", "InstanceNumber": scrambled(v, k), "AcquisitionTime": "101500"}
        label, phase, repetition = v // 4, v // 2 % 2, v % 2
        counters = {(imaging, 0x2001, 0x08): phase + 1, "TemporalPositionIdentifier": repetition + 1}
        return {**out, **counters, (mr5, 0x2005, 0x29): ("CONTROL", "LABEL")[label]}

    a = open_image(series(tmp_path, 7 + 1, 3, vary))
    assert places(a) == straight(8, 3)
    assert a.asl_context.values.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
