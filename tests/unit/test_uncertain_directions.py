"""Directions of diffusion that are lost, or whose axes are not certain, are said."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from multiframe import Frame, diffusion, instance, save
from series import Elements, open_image, series

from imagedata_xr.errors import ImagedataWarning

IMAGING, MR5 = "Philips Imaging DD 001", "Philips MR Imaging DD 005"


def numbered(v: int, direction: int) -> Elements:
    """Elements of an image of Philips whose direction is numbered, and not given."""
    return {
        "Manufacturer": "Philips Medical Systems",
        (IMAGING, 0x2001, 0x03): 1000.0 * (v > 0),
        (MR5, 0x2005, 0x12): 1 + (v > 0),
        (MR5, 0x2005, 0x13): direction,
    }


def test_numbered_directions_of_philips_that_are_not_given_are_no_traces(tmp_path: Path) -> None:
    with pytest.warns(ImagedataWarning, match="3 of 4 volumes are weighted by diffusion in a direction that their"):
        a = open_image(series(tmp_path, 4, 2, lambda v, k: numbered(v, max(v, 1))))
    assert a.b_value.values.tolist() == [0, 1000, 1000, 1000]
    assert a.diffusion_directionality.values.tolist() == [0, 1, 1, 1]


def test_one_weighted_image_of_philips_without_direction_is_a_trace(tmp_path: Path) -> None:
    a = open_image(series(tmp_path, 2, 2, lambda v, k: numbered(v, 1)))
    assert a.diffusion_directionality.values.tolist() == [0, 3]


@pytest.mark.parametrize("maker", ["Bruker BioSpin MRI GmbH", "ACME"])
def test_axes_of_the_directions_of_bruker_are_not_certain(tmp_path: Path, maker: str) -> None:
    weights = [diffusion(0, None), diffusion(1000, [1, 0, 0]), diffusion(1000, [0, 1, 0])]
    frames = [Frame(k, v, groups=weights[v]) for v in range(3) for k in range(2)]
    path = save(instance(frames, Manufacturer=maker), tmp_path / "a.dcm")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        a = open_image(str(path))
    assert any("Bruker" in str(w.message) for w in said) == (maker != "ACME")
    np.testing.assert_array_equal(a.b_vector_x, [0, 1, 0])
