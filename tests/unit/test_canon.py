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


AXIAL, SAGITTAL, CORONAL = (1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1)
COMMENTS = ["b=0(0.000,0.000,0.000)", "b=1500(0.600,0.000,0.800)", "b=1500(0.000,1.000,0.000)"]


def commented(folder: Path, orientation: tuple[int, ...] = AXIAL, **elements: Any) -> Path:
    n = np.cross(orientation[:3], orientation[3:])
    return series(
        folder,
        3,
        2,
        lambda v, k: {
            "Manufacturer": "CANON_MEC",
            "ImageComments": COMMENTS[v],
            "InPlanePhaseEncodingDirection": "COL",
            "ImageOrientationPatient": list(orientation),
            "ImagePositionPatient": (3.0 * k * n).tolist(),
            **elements,
        },
    )


# as dcm2niix and dicm2nii put them, up to their sign: (y, x, -z) along row, column and normal
@pytest.mark.parametrize(
    ("orientation", "want"),
    [(AXIAL, [[0, 0.6, -0.8], [1, 0, 0]]), (SAGITTAL, [[0.8, 0, -0.6], [0, 1, 0]])],
)
def test_the_direction_of_a_comment_is_put_into_patient_axes_and_said_to_be_doubtful(
    orientation: tuple[int, ...], want: list[list[float]], tmp_path: Path
) -> None:
    with pytest.warns(ImagedataWarning, match="directions of Canon's images stand in Image Comments"):
        da = open_image(commented(tmp_path, orientation))
    assert da.b_value.values.tolist() == [0, 1500, 1500]
    np.testing.assert_allclose(da.imd.bvecs[1:], want)


@pytest.mark.parametrize(
    "elements",
    [
        {"InPlanePhaseEncodingDirection": "ROW"},
        {"InPlanePhaseEncodingDirection": None},
        {"Manufacturer": "TOSHIBA_MEC"},
    ],
)
def test_a_direction_whose_axes_nobody_knows_is_lost_aloud(elements: dict[str, Any], tmp_path: Path) -> None:
    with pytest.warns(ImagedataWarning, match="2 of 3 volumes are weighted by diffusion in a direction"):
        da = open_image(commented(tmp_path, **elements))
    assert da.b_value.values.tolist() == [0, 1500, 1500]
    assert da.diffusion_directionality.values.tolist() == [0, 1, 1]


def test_a_coronal_comment_gives_the_b_value_and_no_direction(tmp_path: Path) -> None:
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
