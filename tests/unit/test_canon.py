"""Canon and Toshiba: what their comments say of diffusion, and what the standard's elements leave out."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mosaics import Volume, picture, scanned
from pydicom.dataset import Dataset
from series import Elements, open_image, series

from imagedata_xr.dicom.vendors import canon
from imagedata_xr.errors import ImagedataWarning


def image(**elements: Any) -> Dataset:
    ds = picture(Volume(n=1), ["ORIGINAL", "PRIMARY", "M"], "CANON_MEC")
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


def test_a_comment_gives_the_b_value_and_no_direction(tmp_path: Path) -> None:
    scan = scanned(
        tmp_path, image(ImageComments="b=0(0.000,0.000,0.000)"), image(ImageComments="b=1500(0.445,0.000,0.895)")
    )
    found = canon.diffusion(scan).finish()
    assert found.b_value.tolist() == [0, 1500]
    assert (found.vector == 0).all()
    assert found.directionality.tolist() == [0, 1]  # a direction that is not known: no trace


def test_the_standard_s_elements_come_first(tmp_path: Path) -> None:
    scan = scanned(
        tmp_path,
        image(
            DiffusionBValue=1490.0, DiffusionGradientOrientation=[-0.0, 0.6, 0.8], ImageComments="b=1500(0.6,0.0,0.8)"
        ),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = canon.diffusion(scan)
    assert np.isnan(found.b_value).all()
    assert np.isnan(found.directionality).all()


def test_a_b_value_of_the_standard_with_a_direction_in_the_comment(tmp_path: Path) -> None:
    scan = scanned(tmp_path, image(DiffusionBValue=1500.0, ImageComments="b=1500(0.445,0.000,0.895)"))
    found = canon.diffusion(scan)
    assert found.directionality.tolist() == [1]


def test_a_comment_without_direction_is_a_trace(tmp_path: Path) -> None:
    found = canon.diffusion(scanned(tmp_path, image(ImageComments="b=1000(0.000,0.000,0.000)"))).finish()
    assert (found.b_value.tolist(), found.directionality.tolist()) == ([1000], [3])


def test_images_that_say_nothing_in_a_weighted_series_are_of_b_0(tmp_path: Path) -> None:
    scan = scanned(
        tmp_path,
        image(),
        image(DiffusionBValue=1000.0),
        image(SeriesInstanceUID="1.2.3"),
        image(ImageType=["DERIVED", "SECONDARY", "ADC"]),
    )
    np.testing.assert_array_equal(canon.diffusion(scan).b_value, [0, np.nan, np.nan, np.nan])


@pytest.mark.parametrize("comment", ["b=1000", "a b=1000(1,0,0)", "b=x(1,0,0)", "no comment"])
def test_other_comments_say_nothing(tmp_path: Path, comment: str) -> None:
    assert np.isnan(canon.diffusion(scanned(tmp_path, image(ImageComments=comment))).b_value).all()


@pytest.mark.parametrize(
    ("name", "claimed"), [("CANON_MEC", True), ("TOSHIBA_MEC", True), ("GE MEDICAL SYSTEMS", False)]
)
def test_claims(name: str, claimed: bool) -> None:
    assert canon.claims(name) is claimed


def test_a_direction_that_is_left_out_is_said_when_an_image_is_opened(tmp_path: Path) -> None:
    def vary(v: int, k: int) -> Elements:
        return {"Manufacturer": "CANON_MEC", "ImageComments": "b=1500(0.445,0.000,0.895)" if v else "b=0(0,0,0)"}

    with pytest.warns(ImagedataWarning, match="1 of 2 volumes are weighted by diffusion in a direction"):
        image = open_image(series(tmp_path, 2, 2, vary))
    assert image.b_value.values.tolist() == [0, 1500]
