"""Headers as DICOM JSON without loss, and the table that stands in for a source that is gone."""

from __future__ import annotations

import json
import pickle
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import pydicom
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from phantoms import make, opened
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filewriter import correct_ambiguous_vr
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRBigEndian, ImplicitVRLittleEndian

from imagedata_xr.dicom.headers import table as table_module
from imagedata_xr.dicom.headers.json_header import HeaderEncoder, file_meta_from, header_from, json_text
from imagedata_xr.dicom.headers.table import TableHeaders, header_table, own_instances
from imagedata_xr.dicom.pixels.digests import has_digest, pixel_digest
from imagedata_xr.errors import SourceError
from imagedata_xr.model.identity import instance_digest

PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)


def readable() -> list[str]:
    """The files that pydicom brings along and reads."""
    found = []
    for name in map(str, (Path(pydicom.data.__file__).parent / "test_files").rglob("*")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                pydicom.dcmread(name, stop_before_pixels=True)
            except (OSError, InvalidDicomError):  # no DICOM
                continue
        found.append(name)
    return sorted(found)


def there_and_back(ds: Dataset) -> Dataset:
    return header_from(json.loads(json_text(HeaderEncoder().elements(ds))))


def differing(a: Dataset, b: Dataset, path: str = "") -> list[str]:
    """What differs between two headers: tags, VRs, values, and the text of numbers; group lengths and pixels aside."""
    tags = [{t for t in ds.keys() if t.element and t not in PIXELS} for ds in (a, b)]  # noqa: SIM118 - iterating decodes
    out = [f"{path}{t} is missing" for t in tags[0] ^ tags[1]]
    for t in tags[0] & tags[1]:
        first, second = value(a, t), value(b, t)
        if first != second:
            out.append(f"{path}{t}: {first!r} became {second!r}")
        elif first[0] == "SQ":
            for k, (x, y) in enumerate(zip(a[t].value, b[t].value, strict=True)):
                out += differing(x, y, f"{path}{t}[{k}]")
    return out


def value(ds: Dataset, tag: Any) -> tuple[str, Any, str]:
    """VR, value and text of an element, or the error that decoding it raises."""
    try:
        elem = ds[tag]
    except Exception as error:  # noqa: BLE001 - both must fail alike
        return "error", type(error), ""
    if elem.VR == "SQ":
        return "SQ", len(elem.value), ""
    return elem.VR, None if elem.value != elem.value else elem.value, str(elem.value)


# --- JSON -------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", readable(), ids=lambda n: Path(n).name)
def test_headers_of_all_kinds_come_back_element_by_element(name: str) -> None:
    source = pydicom.dcmread(name, stop_before_pixels=True)
    back = there_and_back(pydicom.dcmread(name, stop_before_pixels=True))
    correct_ambiguous_vr(source, source.original_encoding[1] or False)
    assert differing(source, back) == []
    encoder = HeaderEncoder()
    meta = file_meta_from(json.loads(json_text(encoder.elements(source.file_meta))))
    assert differing(source.file_meta, meta) == []


def test_decimal_strings_keep_their_text() -> None:
    ds = raw(0x00181314, "DS", b"1.500\\+2 \\3e0")
    assert json.loads(json_text(HeaderEncoder().elements(ds)))["00181314"]["Value"] == ["1.500", "+2 ", "3e0"]
    assert dict(there_and_back(ds).items())[Tag(0x00181314)].value == b"1.500\\+2 \\3e0 "


def raw(tag: int, vr: str, data: bytes, little: bool = True) -> Dataset:
    """A header of one element, as it lay in a file."""
    ds = Dataset({Tag(tag): RawDataElement(Tag(tag), vr, len(data), data, 0, False, little)})
    ds.set_original_encoding(False, little, ["iso8859"])
    return ds


@pytest.mark.parametrize(
    ("tag", "vr", "data"),
    [
        (0x00181314, "DS", b"12,5"),
        (0x00200013, "IS", b"1A"),
        (0x00189087, "FD", np.array([np.nan, np.inf]).tobytes()),
        (0x00280010, "US", b"\1\2\3"),
        (0x00104000, "LT", b"\xff\xfe\\ text"),
        (0x00100010, "PN", b"A=B=C=D "),
        (0x00091001, "UN", b"\0\1\2\3"),
        (0x00091001, "OB", b""),
        (0x00080005, "CS", b"ISO_IR 999"),
        (0x00081030, "LO", b"\\\\a "),
        (0x00091002, "AT", b"\x08\x00\x18\x00\x20\x00\x0e\x00"),
        (0x00091003, "SV", np.array([-(2**63), 2**63 - 1]).tobytes()),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_values_that_break_the_rules_keep_their_bytes(tag: int, vr: str, data: bytes) -> None:
    back = dict(there_and_back(raw(tag, vr, data)).items())[Tag(tag)]
    assert (back.VR, back.value) == (vr, data)


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Müller^Zoé"),
        ("ISO_IR 192", "山田^太郎=やまだ^たろう"),
        ("GB18030", "王^小东"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        ("ISO_IR 166", "นามสกุล"),
    ],
)
def test_text_is_decoded_and_its_character_set_kept(charset: Any, name: str, tmp_path: Path) -> None:
    ds = phantoms.instance(phantoms.mr(), 0, 0)
    ds.SpecificCharacterSet = charset
    ds.PatientName, ds.ProtocolName = name, "x"
    item = Dataset()
    item.PatientName = name
    ds.ReferencedImageSequence = [item]
    ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    text = json_text(HeaderEncoder().elements(pydicom.dcmread(tmp_path / "a.dcm")))
    assert name.split("=")[-1] in json.loads(text)["00100010"]["Value"][0].values()
    back = header_from(json.loads(text))
    assert back.SpecificCharacterSet == ds.SpecificCharacterSet
    assert back.PatientName == name
    assert back.ReferencedImageSequence[0].PatientName == name


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_encodings_give_the_same_header(syntax: str, tmp_path: Path) -> None:
    ds = phantoms.instance(phantoms.mr(), 0, 0)
    ds.SmallestImagePixelValue = 3
    ds.add_new(0x60003000, "OW", b"\1\2\3\4")
    ds.FrameIncrementPointer = [0x00181063]
    del ds.PixelData
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    back = there_and_back(pydicom.dcmread(tmp_path / "a.dcm"))
    known = [e for e in ds if not e.tag.is_private]
    assert [(e.tag, e.VR, e.value) for e in known if e.VR != "OW"] == [
        (e.tag, e.VR, e.value) for e in back if not e.tag.is_private and e.VR != "OW"
    ]
    # words of 16 bits; pydicom writes them as they are, also in a big endian file
    assert back[0x60003000].value == (b"\2\1\4\3" if syntax == ExplicitVRBigEndian else b"\1\2\3\4")


def test_a_standard_reader_reads_the_json(tmp_path: Path) -> None:
    (path,) = make(tmp_path, phantoms.mr(shape=(1, 1, 6, 8)))
    ds = pydicom.dcmread(path, stop_before_pixels=True)
    read = Dataset.from_json(json_text(HeaderEncoder().elements(pydicom.dcmread(path))))
    correct_ambiguous_vr(ds, True)
    assert read == ds


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\\\0\x1b"), max_size=20), max_size=4))
def test_any_text_comes_back(texts: list[str]) -> None:
    data = "\\".join(texts).encode()
    data += b" " * (len(data) % 2)
    ds = raw(0x00091001, "UC", data)
    ds.SpecificCharacterSet = "ISO_IR 192"
    assert dict(there_and_back(ds).items())[Tag(0x00091001)].value == data


# --- digests ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["i2", ">i2", "i8", "f4", "f8"])
def test_equal_pixels_have_one_digest_whichever_type_holds_them(dtype: str) -> None:
    stored = np.array([[-1, 2], [3, 400]], dtype="<i2")
    assert has_digest(stored.astype(dtype), pixel_digest(stored))


@pytest.mark.parametrize(
    "other",
    [np.array(values) for values in ([[1, 2], [3, 5]], [[1, 2, 3, 4]], [[1, 2], [3, 4.5]], [[1, 2], [3, np.nan]])],
)
def test_other_pixels_have_another_digest(other: NDArray[Any]) -> None:
    assert not has_digest(other, pixel_digest(np.array([[1, 2], [3, 4]], dtype=np.uint16)))


def test_float_pixels_compare_with_their_nan() -> None:
    stored = np.array([[1.5, np.nan]], dtype="f4")
    assert has_digest(stored.copy(), pixel_digest(stored))
    assert not has_digest(np.array([[1.5, 0.0]], dtype="f4"), pixel_digest(stored))


# --- the table --------------------------------------------------------------------------------------------------------


@pytest.fixture
def image(tmp_path: Path) -> xr.DataArray:
    make(tmp_path / "in", phantoms.mr(shape=(2, 3, 6, 8), slope=2.0))
    return opened(tmp_path / "in")


@pytest.mark.parametrize("shared", [False, True])
def test_the_table_gives_each_header_without_the_source(image: xr.DataArray, shared: bool, tmp_path: Path) -> None:
    headers = pickle.loads(pickle.dumps(TableHeaders(header_table(image, shared=shared))))
    files = {str(ds.SOPInstanceUID): ds for ds in map(pydicom.dcmread, (tmp_path / "in").iterdir())}
    for digest in image.instance.values.ravel().tolist():
        source = files.pop(str(headers.dataset(digest).SOPInstanceUID))
        correct_ambiguous_vr(source, True)
        assert differing(source, headers.dataset(digest)) == []
        assert differing(source.file_meta, headers.dataset(digest).file_meta) == []
        assert headers.same_pixels(digest, source.pixel_array)
        assert not headers.same_pixels(digest, source.pixel_array + 1)
        assert headers.original(digest) is None
    assert not files
    assert headers.instances() == image.instance.values.ravel().tolist()
    assert not headers.has(7)


def test_whole_headers_are_standard_json_by_instance(image: xr.DataArray) -> None:
    table = header_table(image)
    text = table["header"].sel(instance=int(image.instance[1, 2])).item()
    assert Dataset.from_json(str(text)).InstanceNumber == image.imd.header[1, 2].InstanceNumber
    assert set(table.data_vars) == {"header", "file_meta", "pixels"}


def test_shared_elements_are_kept_once(image: xr.DataArray) -> None:
    table = header_table(image, shared=True)
    shared = json.loads(str(table["header_shared"].item()))
    assert "00100010" in shared
    assert "00080018" not in shared
    assert all("00100010" not in json.loads(str(t)) for t in table["header"].values)


def test_a_header_given_out_is_the_callers_own(image: xr.DataArray) -> None:
    headers, digest = TableHeaders(header_table(image)), int(image.instance[0, 0])
    headers.dataset(digest).PatientID = "changed"
    assert headers.dataset(digest).PatientID == "P-1"


def test_a_part_of_an_image_has_a_table_of_its_part(image: xr.DataArray) -> None:
    table = header_table(image.isel(tag=[1], slice=slice(None, None, -2)))
    assert table.instance.values.tolist() == image.instance.values[1, ::-2].tolist()


class Frames:
    """Headers of one instance of three frames, which count how often it is read."""

    def __init__(self) -> None:
        self.header = phantoms.instance(phantoms.mr(), 0, 0)
        self.header.NumberOfFrames = 3
        self.digests = [instance_digest(self.header.SOPInstanceUID, n) for n in (1, 2, 3)]
        self.reads: list[int] = []

    def has(self, instance: int) -> bool:
        return instance in self.digests

    def dataset(self, instance: int) -> Dataset:
        self.reads.append(instance)
        return self.header

    def pixel_digest(self, instance: int) -> str:
        return pixel_digest(np.full((2, 2), self.digests.index(instance)))


def test_an_instance_of_many_frames_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    headers = Frames()
    monkeypatch.setattr(table_module, "headers_of", lambda image: headers)
    image = xr.DataArray([headers.digests], dims=("tag", "slice"))
    table = header_table(image.assign_coords(instance=image))
    assert headers.reads == headers.digests[:1]
    assert len(set(table["header"].values.tolist())) == 1
    assert len(set(table["pixels"].values.tolist())) == 3


def test_a_source_that_is_gone_is_said(image: xr.DataArray, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "in")
    with pytest.raises(SourceError, match=r"can't be read"):
        header_table(image)
    with pytest.raises(SourceError, match="source is unknown"):
        header_table(image.drop_vars("source"))


def test_a_computed_image_has_no_headers(image: xr.DataArray) -> None:
    with pytest.raises(SourceError, match="computed"):
        header_table(image.drop_vars("instance"))
    averaged = image.assign_coords(instance=image.instance + 0.5)
    assert own_instances(averaged) == []
    with pytest.raises(SourceError, match="computed"):
        header_table(averaged)
