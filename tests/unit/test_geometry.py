"""Geometry: labels, positions and affines of any orientation and tilt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from linear import assert_true, image, oblique
from numpy.typing import NDArray

from imagedata_xr.errors import GeometryError
from imagedata_xr.model import geometry as g

Matrix = NDArray[np.float64]
coordinate = st.floats(-500, 500, allow_nan=False)
step = st.floats(0.05, 20, allow_nan=False)
triple = st.tuples(coordinate, coordinate, coordinate)
steps = st.tuples(step, step, step)


@st.composite
def directions(draw: st.DrawFn) -> Matrix:
    """Any rotation, with the slices sheared by up to 40 degrees in any direction."""
    q = np.array(draw(st.tuples(*[st.floats(-1, 1)] * 4)))
    length = np.linalg.norm(q)
    w, x, y, z = q / length if length > 1e-3 else np.array([1.0, 0, 0, 0])
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    across, down = turn[:, 0], turn[:, 1]
    tilt, around = np.deg2rad(draw(st.floats(0, 40))), draw(st.floats(0, 6.3))
    shear = np.sin(tilt) * (np.cos(around) * across + np.sin(around) * down)
    return g.direction_of([*across, *down], np.cos(tilt) * np.cross(across, down) + shear)


@given(directions(), triple)
def test_labels_and_positions_are_inverse(direction: Matrix, position: tuple[float, ...]) -> None:
    labels = g.labels_of(direction, position)
    np.testing.assert_allclose(g.positions_of(direction, labels), position, atol=1e-9)
    np.testing.assert_allclose(labels[0] * direction[:, 0] + labels[1] * direction[:, 1] + labels[2] * direction[:, 2],
                               position, atol=1e-9)  # fmt: skip


@given(directions(), triple, steps, st.tuples(*[st.integers(0, 300)] * 3))
def test_the_affine_says_by_elements_where_a_voxel_is(
    direction: Matrix, first: tuple[float, ...], spacing: tuple[float, ...], index: tuple[int, ...]
) -> None:
    affine = g.affine_of(direction, first, spacing)
    expected = np.zeros(3)
    for axis in range(3):
        for component in range(3):
            expected[component] += direction[component, axis] * (first[axis] + spacing[axis] * index[axis])
    np.testing.assert_allclose((affine @ [*index, 1])[:3], expected, atol=1e-7)
    assert affine[3].tolist() == [0, 0, 0, 1]


@given(directions(), triple, steps)
def test_an_affine_is_split_into_what_it_was_made_of(
    direction: Matrix, first: tuple[float, ...], spacing: tuple[float, ...]
) -> None:
    d, f, s = g.split_affine(g.affine_of(direction, first, spacing))
    np.testing.assert_allclose(d, direction, atol=1e-9)
    np.testing.assert_allclose(f, first, atol=1e-6)
    np.testing.assert_allclose(s, spacing, rtol=1e-12)


@given(directions(), triple, steps)
def test_ras_and_lps_are_inverse_and_differ_in_two_signs(
    direction: Matrix, first: tuple[float, ...], spacing: tuple[float, ...]
) -> None:
    affine = g.affine_of(direction, first, spacing)
    ras = g.to_ras(affine)
    np.testing.assert_allclose(g.from_ras(ras), affine, atol=0)
    lps, r = affine @ [1, 2, 3, 1], ras @ [3, 2, 1, 1]
    np.testing.assert_allclose([-r[0], -r[1], r[2]], lps[:3], atol=1e-9)
    assert not g.is_left_handed(affine)
    assert g.is_left_handed(affine * [1, -1, 1, 1])


@given(directions(), triple, steps)
def test_the_affine_of_an_image_agrees_with_its_voxels(
    direction: Matrix, first: tuple[float, ...], spacing: tuple[float, ...]
) -> None:
    da = image((1, 2, 3, 2), direction=direction, first=first, spacing=spacing, order="none", tags=[0])
    assert_true(da, atol=1e-6)
    assert_true(da.isel(row=slice(None, None, -2), col=[1]), atol=1e-6)
    np.testing.assert_allclose(da.imd.spacing, spacing, rtol=1e-6)


def test_an_axial_image_has_patient_coordinates_as_labels() -> None:
    d = g.direction_of([1, 0, 0, 0, 1, 0])
    np.testing.assert_array_equal(g.labels_of(d, [1.5, 2.5, 3.5]), [3.5, 2.5, 1.5])


def test_a_slice_direction_near_the_normal_is_the_normal() -> None:
    n = g.direction_of([1, 0, 0, 0, 1, 0], [1e-5, 0, 100.0])[:, 0]
    np.testing.assert_array_equal(n, [0, 0, 1])
    tilted = g.direction_of([1, 0, 0, 0, 1, 0], [0, 30.0, 100.0])[:, 0]
    np.testing.assert_allclose(tilted, np.array([0, 30, 100]) / np.hypot(30, 100))


SINGULAR: list[tuple[Any, str]] = [
    ([[1, 0], [0, 1]], "9 numbers"),
    (np.eye(3), "left-handed"),
    (np.eye(3)[[2, 1, 0]] * 2, "unit vectors"),
    (np.full((3, 3), np.nan), "unit vectors"),
    ([[1, 1, 0], [0, 0, 1], [0, 0, 0]], "singular"),
]


@pytest.mark.parametrize(("direction", "said"), SINGULAR)
def test_what_is_no_direction_is_refused(direction: Any, said: str) -> None:
    with pytest.raises(GeometryError, match=said):
        g.check_direction(direction)


def test_singular_orientations_and_affines_are_refused() -> None:
    with pytest.raises(GeometryError, match="singular"):
        g.direction_of([1, 0, 0, 1, 0, 0])
    with pytest.raises(GeometryError, match="no length"):
        g.split_affine(np.diag([1.0, 0.0, 1.0, 1.0]))
    with pytest.raises(GeometryError, match="left-handed"):
        g.split_affine(np.eye(4))


@given(st.floats(-1000, 1000), st.floats(0.1, 10), st.integers(2, 600))
def test_even_values_have_a_step_in_spite_of_noise(first: float, by: float, n: int) -> None:
    values = first + by * np.arange(n) + 1e-4 * np.sin(np.arange(n))
    found = g.even_step(values, 1e-2)
    assert found is not None
    assert abs(found - by) * (n - 1) < 1e-3


@pytest.mark.parametrize("values", [[0, 1, 2.1, 3], [1, 1, 1], [0.0], [0, np.nan, 2]])
def test_uneven_values_have_no_step(values: list[float]) -> None:
    assert g.even_step(values, 1e-2) is None


@pytest.mark.parametrize(("step", "most"), [(0.005, 5e-4), (0.3, 0.01), (-2.0, 0.04), (7.0, 0.1)])
def test_what_rounding_explains_is_even(step: float, most: float) -> None:
    assert g.evenness(step) == pytest.approx(most)


def test_the_direction_of_the_phantom_is_tilted() -> None:
    d = oblique(tilt=10)
    assert abs(float(d[:, 0] @ d[:, 1])) == pytest.approx(np.sin(np.deg2rad(10)))
