"""Options that a format does not have are said: none is accepted and passed over."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import phantoms
import pytest
import xarray as xr
from nifti_phantoms import series
from phantoms import make, opened

from imagedata_xr.errors import FormatError, ImagedataWarning

NEEDS = {".zarr": "zarr", ".nc": "h5netcdf", ".tif": "tifffile"}


@pytest.fixture(params=[".nii", ".mha", ".nrrd", ".mat", ".tif"])
def image(request: pytest.FixtureRequest, tmp_path: Path, require_module: Callable[[str], Any]) -> Path:
    if request.param in NEEDS:
        require_module(NEEDS[request.param])
    path = tmp_path / f"a{request.param}"
    series(shape=(3, 4, 5)).imd.write(path)
    return path


@pytest.mark.parametrize(
    "asked", [{"stack": 0}, {"acquisition": 1}, {"echo": [1, 2]}, {"split": "EchoTime"}, {"mask_padding": True}]
)
@pytest.mark.parametrize("named", [True, False])
def test_options_of_reading_dicom_are_refused_by_other_formats(image: Path, asked: dict[str, Any], named: bool) -> None:
    more: dict[str, Any] = {
        "format": {".tif": "tiff", ".mha": "metaio", ".nii": "nifti"}.get(image.suffix, image.suffix[1:])
    }
    (name, value) = next(iter(asked.items()))
    with pytest.raises(FormatError, match=rf"^{name}=.*it is for DICOM, and these are images of the format \w+: leave"):
        xr.open_dataarray(image, engine="imagedata", **asked, **(more if named else {}))
    opened(image, **{name: False if value is True else None})


@pytest.mark.parametrize("extension", [".nii", ".mha", ".zarr", ".nc"])
def test_uids_are_not_promised_where_there_are_none(
    tmp_path: Path, extension: str, require_module: Callable[[str], Any]
) -> None:
    if extension in NEEDS:
        require_module(NEEDS[extension])
    make(tmp_path / "in", phantoms.mr(shape=(2, 3, 4, 5)))
    image = opened(tmp_path / "in", order="time")
    with pytest.raises(FormatError, match=r"keep_uid=True keeps the UIDs of DICOM instances, and \w+ has none"):
        image.imd.write(tmp_path / f"a{extension}", keep_uid=True)
    assert [p.name for p in tmp_path.iterdir()] == ["in"]
    with pytest.warns(ImagedataWarning, match=r"^series_number=, image_type= is not written: \w+ has no place for it"):
        image.imd.write(tmp_path / f"a{extension}", series_number=4, image_type=["DERIVED", "SECONDARY"])
    with warnings.catch_warnings():
        warnings.simplefilter("error", ImagedataWarning)
        image.imd.write(tmp_path / f"b{extension}", series_description="mean of two", units="ms")
    saved = opened(tmp_path / f"b{extension}")
    assert (saved.attrs["SeriesDescription"], saved.attrs["units"]) == ("mean of two", "ms")


def test_one_of_several_formats_is_enough(tmp_path: Path) -> None:
    make(tmp_path / "in", phantoms.mr(shape=(2, 3, 4, 5)))
    image = opened(tmp_path / "in", order="time")
    with warnings.catch_warnings():
        warnings.simplefilter("error", ImagedataWarning)
        image.imd.write(tmp_path / "%p", format=["dicom", "nifti"], keep_uid=True)
    assert opened(tmp_path / "dicom", order="time").attrs["SeriesInstanceUID"] == image.attrs["SeriesInstanceUID"]
