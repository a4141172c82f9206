"""Series without pixels are nodes whose headers are reachable, also beside images of the same series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from pydicom.dataset import Dataset
from series import image, open_image, save

import imagedata_xr.dicom.headers.lookup as headers
from imagedata_xr.errors import LabelError, NotFoundError, SourceError

KINDS = {
    "SR": "1.2.840.10008.5.1.4.1.1.88.11",
    "DOC": "1.2.840.10008.5.1.4.1.1.104.1",
    "OT": "1.2.840.10008.5.1.4.1.1.66",
    "PR": "1.2.840.10008.5.1.4.1.1.11.1",
}
_IMAGE_ONLY = (
    "PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel",
    "PhotometricInterpretation", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
    "FrameOfReferenceUID",
)  # fmt: skip


def thing(kind: str, number: int, **elements: Any) -> Dataset:
    """An object without pixels."""
    of_kind = {"Modality": kind, "SOPClassUID": KINDS[kind], "SeriesInstanceUID": f"1.2.90.{list(KINDS).index(kind)}"}
    own = {"SOPInstanceUID": f"1.2.91.{number}", "SeriesNumber": 90 + list(KINDS).index(kind), "ImageType": None}
    ds = image(0, 0, of_kind | own | elements | dict.fromkeys(_IMAGE_ONLY))
    if kind == "DOC":
        ds.EncapsulatedDocument, ds.MIMETypeOfEncapsulatedDocument = b"%PDF-1.4", "application/pdf"
    if kind == "SR":
        item = Dataset()
        item.ValueType, item.TextValue = "TEXT", f"finding {number}"
        ds.ContentSequence = [item]
    return ds


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images, two reports, and one object of each other kind."""
    for k in range(3):
        save(image(0, k), tmp_path / f"image{k}.dcm")
    for n, kind in enumerate((*KINDS, "SR")):
        save(thing(kind, n), tmp_path / f"object{n}.dcm")
    return tmp_path


def nodes(source: Any, **options: Any) -> dict[str, xr.Dataset]:
    return {n.path: n.to_dataset() for n in xr.open_datatree(source, engine="imagedata", **options).leaves}


def test_each_kind_is_a_node_with_attrs_and_headers(folder: Path) -> None:
    found = nodes(folder)
    assert len(found) == 5
    for ds in (ds for ds in found.values() if "image" not in ds):
        wanted = 2 if ds.attrs["Modality"] == "SR" else 1
        assert ds.imd.header.shape == (wanted,)
        assert all(h.SOPClassUID == KINDS[ds.attrs["Modality"]] for h in ds.imd.header)
    (report,) = [ds for ds in found.values() if ds.attrs.get("Modality") == "SR"]
    assert [h.ContentSequence[0].TextValue for h in report.imd.header] == ["finding 0", "finding 4"]
    (document,) = [ds for ds in found.values() if ds.attrs.get("Modality") == "DOC"]
    assert document.imd.header[0].EncapsulatedDocument == b"%PDF-1.4"
    with pytest.raises(LabelError):
        _ = report.imd.affine


def test_headers_are_found_again_from_the_source(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (report,) = [ds for ds in nodes(folder).values() if ds.attrs.get("Modality") == "SR"]
    monkeypatch.setattr(headers, "_sources", type(headers._sources)())
    assert report.imd.header[1].ContentSequence[0].TextValue == "finding 4"
    assert open_image(folder).imd.header[0, 1].SOPInstanceUID == "1.2.3.4.1.2"
    monkeypatch.setattr(headers, "_sources", type(headers._sources)())
    for path in folder.glob("object*"):
        path.unlink()
    with pytest.raises(SourceError, match="the source is gone"):
        _ = report.imd.header[1]


def test_series_selects_them_too(folder: Path) -> None:
    (report,) = nodes(folder, series=90).values()
    assert report.attrs["Modality"] == "SR"
    assert len(nodes(folder, series=[90, 7])) == 2
    assert open_image(folder).shape[1] == 3
    with pytest.raises(NotFoundError, match=r"only objects without pixels:\n  90 SR, 2 objects"):
        open_image(folder, series=90)


def test_objects_in_a_series_of_images_are_not_lost(tmp_path: Path) -> None:
    for k in range(3):
        save(image(0, k), tmp_path / f"image{k}.dcm")
    save(thing("OT", 1, SeriesInstanceUID="1.2.3.2", SeriesNumber=7), tmp_path / "raw.dcm")
    save(thing("PR", 2, SeriesInstanceUID=None), tmp_path / "no_series.dcm")
    found = nodes(tmp_path)
    assert [("image" in ds, ds.attrs.get("Modality")) for ds in found.values()] == [
        (True, None), (False, "OT"), (False, "PR"),
    ]  # fmt: skip
    assert sum(path.endswith("7-made~2") for path in found) == 1
