"""Functional groups as columns: pydicom's decoded reading is the judge, in real cases and in made and spoilt files."""

from __future__ import annotations

import contextlib
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from made_dicom import UNDEFINED, element, encoded, item, sequence_end, undefined_lengths, with_meta, write
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset

from imagedata_xr.dicom.framing import groups
from imagedata_xr.dicom.framing.group_table import COLUMNS, TEXT, Column, Name
from imagedata_xr.dicom.framing.group_walk import read_items, walk_items
from imagedata_xr.dicom.framing.groups import FrameColumns, group_columns, has_groups
from imagedata_xr.dicom.scanning.scan import Scan, scan
from imagedata_xr.dicom.scanning.trouble import DamagedError, OddError
from imagedata_xr.dicom.scanning.vr import Key
from imagedata_xr.errors import SourceError
from imagedata_xr.stores.url import find

# pydicom comments on each spoilt value that the tests make it read
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

ENHANCED = (
    "xa10_rest_4", "xa30_adc", "xa30_asl", "xa30_t1", "xa30_gre_mag", "xa30_gre_ph", "phi_enh_aslsrc", "phi_enh_b0",
    "can_enh_4000", "mix_xa30_gre",
)  # fmt: skip
MR1, MR5 = "Philips MR Imaging DD 001", "Philips MR Imaging DD 005"
SYNTAXES = (uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian)  # fmt: skip  # noqa: E501


# --- the judge ------------------------------------------------------------------------------------------------------


def lookup(ds: Dataset, path: tuple[Key, ...]) -> Any:
    """The decoded value at a path from an item of functional groups; None where absent or empty."""
    key = path[0]
    if isinstance(key, tuple):
        creator, group, byte = key
        if creator not in ds.private_creators(group):
            return None
        key = int(ds.private_block(group, creator).get_tag(byte))
    if key not in ds:
        return None
    value = ds[key].value
    if len(path) > 1:
        return lookup(value[0], path[1:]) if len(value) else None
    return None if value is None or value == "" or value == b"" else value


def listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple | pydicom.multival.MultiValue) else [value]


def as_numbers(value: Any) -> list[float]:
    return [float(v) for v in listed(value)] if value is not None else []


def assert_as_pydicom(got: FrameColumns, ds: Dataset) -> None:
    """Every column equals what pydicom decodes, and no column is missing."""
    frames: list[Dataset] = list(ds.get("PerFrameFunctionalGroupsSequence") or [Dataset()] * got.count)
    shared: Dataset = (ds.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    assert len(got) == len(frames) == int(ds.get("NumberOfFrames") or 1)
    seen: set[Name] = set()
    for column in COLUMNS:
        values = [lookup(frame, column.path) for frame in frames]
        common = lookup(shared, column.path)
        values = [common if value is None else value for value in values]
        if column.name in seen or all(value is None for value in values):
            continue
        seen.add(column.name)
        if column.width == TEXT:
            assert got.texts[column.name] == ["\\".join(map(str, listed(v))) if v is not None else "" for v in values]
        else:
            assert_numbers(got.numbers[column.name], [as_numbers(v) for v in values], column)
    assert (set(got.numbers) | set(got.texts)) - {"InversionTime"} == seen - {"InversionTime"}


def assert_numbers(got: NDArray[np.float64], wanted: list[list[float]], column: Column) -> None:
    width = 1 if got.ndim == 1 else got.shape[1]
    table = np.full((len(wanted), width), np.nan)
    for row, numbers in zip(table, wanted, strict=True):
        row[: len(numbers)] = numbers[:width]
    if column.width > 0:
        assert width == column.width
    np.testing.assert_array_equal(got.reshape(len(wanted), -1), table, err_msg=str(column.name))


def read(path: Path) -> Dataset:
    return pydicom.dcmread(path, stop_before_pixels=True, force=True)


def scanned(path: Path) -> Scan:
    return scan(find(path), errors="raise")


# --- real cases -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENHANCED)
def test_real_case_equals_pydicom(name: str, case: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "read_items", None)  # the walk needs no help with what scanners write
    got = scanned(case(name))
    enhanced = [k for k in range(len(got)) if has_groups(got, k)]
    assert enhanced
    for k in enhanced:
        assert_as_pydicom(group_columns(got, k), read(Path(got.files[k].path)))


def test_slice_times_of_siemens_come_from_its_private_group(case: Callable[[str], Path]) -> None:
    """Seconds since the series began, which run with the frames' clock."""
    for k in range(len(got := scanned(case("xa30_asl")))):
        columns = group_columns(got, k)
        times = columns.numbers["SIEMENS MR SDI 02", 0x21, 0x04]
        clock = np.array([float(text[10:12]) * 60 + float(text[12:]) for text in columns.texts["AcquisitionDateTime"]])
        np.testing.assert_allclose(times - times[0], clock - clock[0], atol=1e-6)
        assert times[0] == pytest.approx(4.8 * (columns.numbers["TemporalPositionIdentifier"][0] - 1))


def test_dimensions_of_philips_point_at_private_columns(case: Callable[[str], Path]) -> None:
    got = scanned(case("phi_enh_aslsrc"))
    columns = group_columns(got, 0)
    last = columns.dimensions[-1]
    assert last.column == (MR5, 0x2005, 0x29)
    assert last.group == (MR5, 0x2005, 0x0F)
    assert last.label == "Private Label Type"
    index, words = columns.numbers["DimensionIndexValues"][:, -1], columns.texts[last.column]
    assert len({(i, word) for i, word in zip(index.tolist(), words, strict=True)}) == len(set(words)) == 2


def test_dimension_of_the_effective_echo_time_is_the_echo_time(case: Callable[[str], Path]) -> None:
    columns = group_columns(scanned(case("can_enh_4000")), 0)
    assert [d.column for d in columns.dimensions] == [
        "TemporalPositionIdentifier", "EchoTime", "StackID", "InStackPositionNumber",
    ]  # fmt: skip


# --- made files -------------------------------------------------------------------------------------------------------


def group(**elements: Any) -> list[Dataset]:
    out = Dataset()
    for keyword, value in elements.items():
        setattr(out, keyword, value)
    return [out]


def frame(k: int) -> Dataset:
    """The groups of a frame, with a private one that holds copies that are not the frame's own."""
    ds = Dataset()
    ds.PlanePositionSequence = group(ImagePositionPatient=[1.5, -2.25, 3.0 * k])
    ds.FrameContentSequence = group(
        FrameAcquisitionDateTime=f"2024010112{k:02}00.5", StackID="Å1", InStackPositionNumber=k + 1,
        DimensionIndexValues=[1, k + 1, 2],
    )  # fmt: skip
    ds.MREchoSequence = group(EffectiveEchoTime=4.5 + k)
    ds.MRDiffusionSequence = group(DiffusionBValue=1000.0, DiffusionDirectionality="DIRECTIONAL")
    ds.MRDiffusionSequence[0].DiffusionGradientDirectionSequence = group(DiffusionGradientOrientation=[0.0, 0.6, 0.8])
    ds.MRImageFrameTypeSequence = group(FrameType=["ORIGINAL", "PRIMARY", "M", "NONE"], ComplexImageComponent="PHASE")
    copies = Dataset()
    copies.EchoTime = "99"
    copies.ImagePositionPatient = [9, 9, 9]
    copies.PlanePositionSequence = group(ImagePositionPatient=[8, 8, 8])
    copies.private_block(0x2005, MR1, create=True).add_new(0x0E, "FL", 0.5 + k)
    copies.private_block(0x2005, MR5, create=True).add_new(0x29, "CS", "LABEL" if k % 2 else "CONTROL")
    ds.private_block(0x2005, MR5, create=True).add_new(0x0F, "SQ", [copies])
    return ds


def enhanced(frames: int = 4) -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = uid.EnhancedMRImageStorage
    ds.SOPInstanceUID = "1.2.3.4"
    ds.Modality = "MR"
    ds.NumberOfFrames = frames
    ds.Rows = ds.Columns = 2
    ds.SamplesPerPixel, ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 1, 16, 16, 15, 0
    ds.PhotometricInterpretation = "MONOCHROME2"
    shared = Dataset()
    shared.PixelMeasuresSequence = group(PixelSpacing=[2, 3], SliceThickness=4)
    shared.PlaneOrientationSequence = group(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    shared.MRTimingAndRelatedParametersSequence = group(RepetitionTime=500, FlipAngle=30)
    shared.MRModifierSequence = group(InversionTimes=[900.0])
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = [frame(k) for k in range(frames)]
    ds.PixelData = bytes(frames * 8)
    ds["PixelData"].VR = "OW"
    return ds


def columns_of(ds: Dataset, folder: Path, syntax: str = uid.ExplicitVRLittleEndian) -> FrameColumns:
    path = write(folder, encoded(ds, syntax))[0]
    return group_columns(scanned(path), 0)


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda s: s.name)
def test_made_file_equals_pydicom(syntax: uid.UID, undefined: bool, tmp_path: Path) -> None:
    ds = enhanced()
    if undefined:
        undefined_lengths(ds)
    path = write(tmp_path, encoded(ds, syntax))[0]
    got = group_columns(scanned(path), 0)
    assert got.numbers["EchoTime"].tolist() == [4.5, 5.5, 6.5, 7.5]
    assert got.numbers["PixelSpacing"].tolist() == [[2, 3]] * 4
    assert got.numbers["ImagePositionPatient"][2].tolist() == [1.5, -2.25, 6]
    assert got.numbers["DiffusionGradientOrientation"][0].tolist() == [0, 0.6, 0.8]
    assert got.numbers["InversionTime"].tolist() == [900] * 4
    assert got.numbers["RepetitionTime"].tolist() == [500] * 4
    assert got.numbers["DimensionIndexValues"][1].tolist() == [1, 2, 2]
    assert got.texts["StackID"] == ["Å1"] * 4
    assert got.texts["ImageType"][0] == "ORIGINAL\\PRIMARY\\M\\NONE"
    assert got.numbers[MR1, 0x2005, 0x0E].tolist() == [0.5, 1.5, 2.5, 3.5]
    assert got.texts[MR5, 0x2005, 0x29] == ["CONTROL", "LABEL"] * 2
    if not syntax.is_implicit_VR:  # pydicom does not know the VR of all private elements
        assert_as_pydicom(got, read(path))


def test_copies_in_private_groups_stand_for_nothing(tmp_path: Path) -> None:
    ds = enhanced()
    for one in ds.PerFrameFunctionalGroupsSequence:
        del one.MREchoSequence, one.PlanePositionSequence
    got = columns_of(ds, tmp_path)
    assert "EchoTime" not in got.numbers
    assert "ImagePositionPatient" not in got.numbers


def test_frame_comes_before_shared(tmp_path: Path) -> None:
    ds = enhanced()
    ds.SharedFunctionalGroupsSequence[0].MREchoSequence = group(EffectiveEchoTime=77.0)
    del ds.PerFrameFunctionalGroupsSequence[1].MREchoSequence
    assert columns_of(ds, tmp_path).numbers["EchoTime"].tolist() == [4.5, 77, 6.5, 7.5]


def test_empty_value_of_a_frame_leaves_the_shared_one(tmp_path: Path) -> None:
    ds = enhanced()
    ds.SharedFunctionalGroupsSequence[0].MREchoSequence = group(EffectiveEchoTime=77.0)
    ds.PerFrameFunctionalGroupsSequence[1].MREchoSequence = group(EffectiveEchoTime=None)
    assert columns_of(ds, tmp_path).numbers["EchoTime"].tolist() == [4.5, 77, 6.5, 7.5]


def test_several_inversion_times_are_no_inversion_time(tmp_path: Path) -> None:
    ds = enhanced(2)
    del ds.SharedFunctionalGroupsSequence[0].MRModifierSequence
    ds.PerFrameFunctionalGroupsSequence[0].MRModifierSequence = group(InversionTimes=[100.0, 200.0])
    ds.PerFrameFunctionalGroupsSequence[1].MRModifierSequence = group(InversionTimes=[300.0])
    got = columns_of(ds, tmp_path)
    np.testing.assert_array_equal(got.numbers["InversionTimes"], [[100, 200], [300, np.nan]])
    np.testing.assert_array_equal(got.numbers["InversionTime"], [np.nan, 300])


def test_converted_attributes_fill_what_the_groups_do_not_say(tmp_path: Path) -> None:
    ds = enhanced(2)
    del ds.SharedFunctionalGroupsSequence[0].MRTimingAndRelatedParametersSequence
    for k, one in enumerate(ds.PerFrameFunctionalGroupsSequence):
        one.UnassignedPerFrameConvertedAttributesSequence = group(EchoTime="55", RepetitionTime=10 + k)
    got = columns_of(ds, tmp_path)
    assert got.numbers["RepetitionTime"].tolist() == [10, 11]
    assert got.numbers["EchoTime"].tolist() == [4.5, 5.5]


def test_dimension_outside_of_the_table_gets_a_column(tmp_path: Path) -> None:
    ds = enhanced(2)
    private = Dataset()
    private.DimensionIndexPointer, private.FunctionalGroupPointer = 0x00111010, 0x00111001
    private.DimensionIndexPrivateCreator = private.FunctionalGroupPrivateCreator = "MAKER"
    public = Dataset()
    public.DimensionIndexPointer, public.FunctionalGroupPointer = 0x00189073, 0x00189412
    ds.DimensionIndexSequence = [private, public]
    for k, one in enumerate(ds.PerFrameFunctionalGroupsSequence):
        inner = Dataset()
        inner.private_block(0x0011, "MAKER", create=True).add_new(0x10, "CS", f"WORD{k}")
        one.private_block(0x0011, "MAKER", create=True).add_new(0x01, "SQ", [inner])
        one.XAXRFFrameCharacteristicsSequence = group(AcquisitionDuration=2.0 + k)
    got = columns_of(ds, tmp_path)
    assert [d.column for d in got.dimensions] == [("MAKER", 0x11, 0x10), "AcquisitionDuration"]
    assert got.texts["MAKER", 0x11, 0x10] == ["WORD0", "WORD1"]
    np.testing.assert_array_equal(np.ravel(got.numbers["AcquisitionDuration"]), [2, 3])


def test_private_pointer_without_creator_has_no_column(tmp_path: Path) -> None:
    ds = enhanced(2)
    pointer = Dataset()
    pointer.DimensionIndexPointer, pointer.FunctionalGroupPointer = 0x20051429, 0x2005140F
    ds.DimensionIndexSequence = [pointer]
    assert [d.column for d in columns_of(ds, tmp_path).dimensions] == [None]


def test_shared_groups_alone_hold_for_all_frames(tmp_path: Path) -> None:
    ds = enhanced(1)
    del ds.PerFrameFunctionalGroupsSequence
    assert columns_of(ds, tmp_path).numbers["FlipAngle"].tolist() == [30]


@pytest.mark.parametrize("stated", [3, 5, -1])
def test_other_number_of_frames_is_refused(stated: int, tmp_path: Path) -> None:
    ds = enhanced(4)
    ds.NumberOfFrames = stated
    with pytest.raises(SourceError, match=rf"{stated} frames.*describe 4"):
        columns_of(ds, tmp_path)


def test_several_shared_items_are_refused(tmp_path: Path) -> None:
    ds = enhanced()
    ds.SharedFunctionalGroupsSequence.append(Dataset())
    with pytest.raises(SourceError, match="2 items of shared"):
        columns_of(ds, tmp_path)


def test_long_groups_that_differ_are_read_again(tmp_path: Path) -> None:
    """The scan only marks long values that differ from file to file."""
    many = [enhanced(30), enhanced(30)]
    many[1].PerFrameFunctionalGroupsSequence[7].MREchoSequence[0].EffectiveEchoTime = 70.0
    paths = write(tmp_path, *(encoded(ds) for ds in many))
    got = scan(find(list(paths)), errors="raise")
    for k, path in enumerate(paths):
        assert_as_pydicom(group_columns(got, k), read(path))


def test_elements_out_of_order_are_left_to_pydicom(tmp_path: Path) -> None:
    """A private creator behind its elements: the walk does not guess, pydicom knows."""
    creator = element(0x20050014, b"LO", MR5.encode() + b" " * (len(MR5) % 2))
    inner = creator + element(0x20051429, b"CS", b"LABEL ")
    ordered = item(creator + element(0x2005140F, b"SQ", item(inner)))
    turned = item(element(0x2005140F, b"SQ", item(inner)) + creator)
    for content in (ordered, turned):
        body = element(0x00280008, b"IS", b"1 ") + element(0x52009230, b"SQ", content)
        path = write(tmp_path, with_meta(body))[0]
        assert group_columns(scanned(path), 0).texts[MR5, 0x2005, 0x29] == ["LABEL"]


def test_private_group_of_unknown_vr_is_implicit_inside(tmp_path: Path) -> None:
    """An archive that did not know the sequence wrote UN of undefined length (PS3.5 section 6.2.2)."""
    creator = MR5.encode() + b" " * (len(MR5) % 2)
    inner = element(0x20050014, b"", creator) + element(0x20051429, b"", b"LABEL ")
    group_ = element(0x2005140F, b"UN", item(inner, undefined=True) + sequence_end(), UNDEFINED)
    content = item(element(0x20050014, b"LO", creator) + group_)
    path = write(tmp_path, with_meta(element(0x52009230, b"SQ", content)))[0]
    assert group_columns(scanned(path), 0).texts[MR5, 0x2005, 0x29] == ["LABEL"]


def test_cut_group_is_refused(tmp_path: Path) -> None:
    position = element(0x00209113, b"SQ", item(element(0x00200032, b"DS", b"1\\2\\3 ", length=60)))
    path = write(tmp_path, with_meta(element(0x52009230, b"SQ", item(position))))[0]
    with pytest.raises(SourceError, match="can't be read"):
        group_columns(scanned(path), 0)


# --- the walk and pydicom -------------------------------------------------------------------------------------------


def sequences(implicit: bool, undefined: bool) -> Iterator[tuple[int, bytes]]:
    """The bytes of both sequences of groups of a made file."""
    ds = undefined_lengths(enhanced(3)) if undefined else enhanced(3)
    syntax = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
    folder_free = encoded(ds, syntax)
    at_shared = folder_free.index(struct.pack("<HH", 0x5200, 0x9229))
    at_frames = folder_free.index(struct.pack("<HH", 0x5200, 0x9230))
    at_pixels = folder_free.rindex(struct.pack("<HH", 0x7FE0, 0x0010))
    head, tail = (8 if implicit else 12), (8 if undefined else 0)
    yield groups.SHARED, folder_free[at_shared + head : at_frames - tail]
    yield groups.PER_FRAME, folder_free[at_frames + head : at_pixels - tail]


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("implicit", [False, True])
def test_walk_finds_what_pydicom_finds(implicit: bool, undefined: bool) -> None:
    syntax = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
    layout = groups._layout(COLUMNS)
    for tag, buf in sequences(implicit, undefined):
        walked = walk_items(buf, implicit, layout)
        assert walked
        assert walked == read_items(tag, ("SQ", buf), implicit, syntax, layout)


def test_values_of_one_length_in_many_frames_are_each_frame_s_own() -> None:
    """Sequences of one form are not walked again: their values still differ."""
    ds = enhanced(40)
    good = encoded(ds)
    start = good.index(struct.pack("<HH", 0x5200, 0x9230)) + 12
    walked = walk_items(good[start : good.rindex(struct.pack("<HH", 0x7FE0, 0x0010))], False, groups._layout(COLUMNS))
    slope = next(k for k, c in enumerate(COLUMNS) if c.path == ((MR5, 0x2005, 0x0F), (MR1, 0x2005, 0x0E)))
    assert [struct.unpack("<f", found[slope][1])[0] for found in walked] == [0.5 + k for k in range(40)]


def spoilt(good: bytes, rng: random.Random, first: int = 0) -> bytes:
    bad = bytearray(good)
    for _ in range(rng.choice((1, 1, 2, 4))):
        bad[rng.randrange(first, len(bad))] = rng.choice((0, 1, 0x41, 0x7F, 0xFF, rng.randrange(256)))
    return bytes(bad)


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("implicit", [False, True])
def test_walk_of_spoilt_groups_agrees_with_pydicom_or_is_in_doubt(implicit: bool, undefined: bool) -> None:
    rng = random.Random(f"walk {implicit} {undefined}")
    syntax = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
    layout = groups._layout(COLUMNS)
    agreed = odd = 0
    for _ in range(200):
        for tag, good in sequences(implicit, undefined):
            bad = spoilt(good, rng)
            try:
                walked = walk_items(bad, implicit, layout)
            except OddError:
                odd += 1
                continue
            with contextlib.suppress(DamagedError):  # what pydicom can't read has no judge
                assert walked == read_items(tag, ("SQ", bad), implicit, syntax, layout)
                agreed += 1
    assert agreed > 100
    assert odd > 20


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", SYNTAXES[:2], ids=lambda s: s.name)
def test_spoilt_files_are_read_or_refused_by_our_error(syntax: uid.UID, undefined: bool, tmp_path: Path) -> None:
    rng = random.Random(f"{syntax} {undefined}")
    good = encoded(undefined_lengths(enhanced(2)) if undefined else enhanced(2), syntax)
    first = good.index(struct.pack("<HH", 0x5200, 0x9229))
    was_read = refused = 0
    for _ in range(150):
        path = write(tmp_path, spoilt(good, rng, first))[0]
        try:
            got = scan(find(path), errors="raise")
            if len(got) and has_groups(got, 0):
                assert len(group_columns(got, 0)) == 2
                was_read += 1
        except SourceError:
            refused += 1
    assert was_read > 20
    assert refused > 5
