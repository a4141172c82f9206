"""Series that are one image by time or echo are joined on request, and only where they lie at the same places."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import xarray as xr
from series import Elements, image, pixels, save

from imagedata_xr.errors import ImagedataWarning, SeriesError

JOIN: dict[str, Any] = {"format_options": {"join": True}}


def one_each(folder: Path, volumes: int = 3, elements: Elements | None = None, **by_series: Any) -> Path:
    """Each volume a series of its own, all with the same instance numbers."""
    for v in range(volumes):
        for k in range(2):
            own = {
                "SeriesInstanceUID": f"1.2.3.2.{v + 1}", "SeriesNumber": 5001 + v, "InstanceNumber": k + 1,
                "AcquisitionTime": f"10000{2 * v}.{k}", **(elements or {}),
            }  # fmt: skip
            own |= {name: values[v] for name, values in by_series.items()}
            save(image(v, k, own), folder / f"{v}{k}.dcm")
    return folder


def opened(folder: Path, **options: Any) -> xr.DataArray:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ImagedataWarning)
        return xr.open_dataarray(str(folder), engine="imagedata", **options)


def test_time_points_are_joined(tmp_path: Path) -> None:
    with pytest.raises(SeriesError, match="5002"):
        opened(one_each(tmp_path))
    a = opened(tmp_path, **JOIN)
    assert a.tag.values.tolist() == [0, 2, 4]
    assert np.array_equal(a.values, [[pixels(v, k) for k in range(2)] for v in range(3)])
    assert "SeriesInstanceUID" not in a.attrs


def test_without_a_clock_the_series_numbers_are_the_sequence(tmp_path: Path) -> None:
    a = opened(one_each(tmp_path, elements={"AcquisitionTime": None, "AcquisitionDate": None}), **JOIN)
    assert a.tag.attrs["order"] == "none"
    assert np.array_equal(a.values, [[pixels(v, k) for k in range(2)] for v in range(3)])


def test_echoes_are_joined_and_some_series_selected(tmp_path: Path) -> None:
    one_each(tmp_path, elements={"AcquisitionTime": "100000"}, EchoTime=[2.5, 5.0, 7.5])
    a = opened(tmp_path, order="te", series=[5001, 5003], **JOIN)
    assert a.tag.values.tolist() == [2.5, 7.5]
    assert np.array_equal(a.values[:, 0], [pixels(0, 0), pixels(2, 0)])


def test_a_tree_has_one_node_for_them(tmp_path: Path) -> None:
    tree = xr.open_datatree(str(one_each(tmp_path)), engine="imagedata", **JOIN)
    assert [tuple(node["image"].sizes.values()) for node in tree.leaves] == [(3, 2, 4, 5)]


@pytest.mark.parametrize(
    ("by_series", "why"),
    [
        ({"ImagePositionPatient": [[0, 0, 0], [0, 0, 0], [0, 0, 1.5]]}, "mm from the nearest"),
        ({"FrameOfReferenceUID": ["1.5", "1.6", "1.6"]}, "frames of reference"),
        ({"StudyInstanceUID": ["1.5", "1.6", "1.6"]}, "studies"),
        ({"PatientID": ["a secret", "another", "another"]}, "patients"),
    ],
)
def test_what_does_not_belong_together_is_refused(tmp_path: Path, by_series: Any, why: str) -> None:
    one_each(tmp_path, **by_series)
    with pytest.raises(SeriesError, match=why) as caught:
        opened(tmp_path, **JOIN)
    assert "secret" not in str(caught.value)


def test_one_series_alone_is_said(tmp_path: Path) -> None:
    one_each(tmp_path)
    with pytest.raises(SeriesError, match="one series alone"):
        opened(tmp_path, series=5001, **JOIN)


def test_a_joined_image_is_written_as_one_series_or_as_what_it_was(tmp_path: Path) -> None:
    a = opened(one_each(tmp_path / "in"), **JOIN)
    a.imd.write(str(tmp_path / "one"))
    headers = [pydicom.dcmread(p) for p in sorted((tmp_path / "one").iterdir())]
    assert len({h.SeriesInstanceUID for h in headers}) == 1
    assert len({h.SeriesNumber for h in headers}) == 1
    b = opened(tmp_path / "one")
    own = ["instance", "source"]
    assert a.series_number.values.tolist() == [5001, 5002, 5003]
    xr.testing.assert_equal(b.drop_vars(own), a.drop_vars([*own, "series_number"]))
    a.imd.write(str(tmp_path / "same"), keep_uid=True)
    same = {pydicom.dcmread(p).SeriesInstanceUID for p in (tmp_path / "same").iterdir()}
    assert same == {"1.2.3.2.1", "1.2.3.2.2", "1.2.3.2.3"}
