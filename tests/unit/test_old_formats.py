"""MGH, Analyze and MINC against nibabel and formulas."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import scipy.io
import xarray as xr
from nifti_phantoms import OBLIQUE, coordinates, positions, series
from numpy.typing import NDArray

import imagedata_xr  # noqa: F401  # registers .imd
from imagedata_xr.errors import FormatError, ImagedataWarning, SourceError

TO_RAS = np.diag([-1.0, -1, 1])
AFFINE = np.array([[-1.5, 0.2, 0.4, 30], [0.1, 1.9, -0.3, -40], [0.3, 0.5, 2.8, 50], [0, 0, 0, 1]])  # sheared too
nib_any: Any = nib


def opened(path: Path, **options: Any) -> xr.DataArray:
    """Image of a file."""
    return xr.open_dataarray(str(path), engine="imagedata", **options)


def ras_of(image: xr.DataArray) -> dict[float, NDArray[np.float64]]:
    """Place in RAS of each value of one volume."""
    direction = np.array(image["geometry"].attrs["direction"]).reshape(3, 3)
    places = (positions(image, direction) @ TO_RAS).reshape(-1, 3)
    return {float(v): p for v, p in zip(image.values.ravel(), places, strict=True)}


def agree(image: xr.DataArray, data: NDArray[Any], affine: NDArray[np.float64], within: float = 1e-4) -> None:
    """Assert that each value, all different, lies where an affine from (col, row, slice) to RAS puts it."""
    place = ras_of(image)
    for at in np.ndindex(data.shape):
        assert np.abs(place[float(data[at])] - (affine @ [*at, 1])[:3]).max() < within


VALUES = np.arange(120, dtype=np.int16).reshape(5, 4, 6)  # col, row, slice


# --- MGH ---


@pytest.mark.parametrize("suffix", [".mgh", ".mgz"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4"])
def test_mgh_of_nibabel(dtype: str, suffix: str, tmp_path: Path) -> None:
    # nibabel writes unit directions and lengths, as FreeSurfer does
    image = nib_any.MGHImage(VALUES.astype(dtype), AFFINE)
    nib_any.save(image, tmp_path / f"a{suffix}")
    found = opened(tmp_path / f"a{suffix}")
    assert found.encoding["stored_dtype"] == np.dtype(dtype)
    agree(found.isel(tag=0), VALUES, AFFINE)


def test_mgh_footer(tmp_path: Path) -> None:
    image = series(np.arange(4.0) * 2.5).assign_coords(echo_time=4.25, flip_angle=30.0, inversion_time=900.0)
    image.imd.write(str(tmp_path / "a.mgz"))
    header = nib_any.load(tmp_path / "a.mgz").header
    assert [float(header[k]) for k in ("tr", "te", "ti")] == [2500.0, 4.25, 900.0]
    assert float(header["flip_angle"]) == pytest.approx(np.radians(30))
    back = opened(tmp_path / "a.mgz", order="time")
    assert back.tag.values.tolist() == [0, 2.5, 5, 7.5]
    assert (float(back.echo_time), float(back.inversion_time)) == (4.25, 900)
    assert float(back.flip_angle) == pytest.approx(30)
    assert opened(tmp_path / "a.mgz").tag.attrs["order"] == "none"


def test_mgh_says_what_it_loses(tmp_path: Path) -> None:
    image = series([0, 1.0, 5, 6]).assign_coords(b_value=("tag", np.arange(4.0)))
    with pytest.warns(ImagedataWarning, match="uneven"), pytest.warns(ImagedataWarning, match="b_value"):
        image.imd.write(str(tmp_path / "a.mgh"))
    with pytest.raises(FormatError, match="float32"):
        (coordinates(OBLIQUE) / 3).imd.write(str(tmp_path / "b.mgh"))


def test_mgh_names_an_order_that_it_loses(tmp_path: Path) -> None:
    with pytest.warns(ImagedataWarning, match=r"tag \(te\)"):
        series(values=[1.5, 2.5], order="te", units="ms").imd.write(str(tmp_path / "a.mgz"))


def test_mgh_without_orientation_or_footer(tmp_path: Path) -> None:
    nib_any.save(nib_any.MGHImage(VALUES, AFFINE), tmp_path / "a.mgh")
    data = bytearray((tmp_path / "a.mgh").read_bytes())
    data[28:30] = b"\0\0"
    (tmp_path / "a.mgh").write_bytes(data[: 284 + VALUES.nbytes])
    with pytest.warns(ImagedataWarning, match="goodRASFlag"):
        found = opened(tmp_path / "a.mgh")
    assert "geometry" not in found.coords
    np.testing.assert_array_equal(found.values[0], VALUES.T)


def test_mgh_of_unknown_types(tmp_path: Path) -> None:
    nib_any.save(nib_any.MGHImage(VALUES, AFFINE), tmp_path / "a.mgh")
    data = bytearray((tmp_path / "a.mgh").read_bytes())
    data[20:24] = (7).to_bytes(4, "big")
    (tmp_path / "a.mgh").write_bytes(data)
    with pytest.raises(FormatError, match="data type 7"):
        opened(tmp_path / "a.mgh")


# --- Analyze ---


def analyze(folder: Path, kind: str = "AnalyzeImage", dtype: str = "i2") -> Path:
    image = getattr(nib_any, kind)(VALUES.astype(dtype), np.diag([2.0, 3, 4, 1]))
    nib_any.save(image, folder / "a.img")
    return folder / "a.hdr"


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4", "f8", "c8"])
def test_analyze_says_no_orientation(dtype: str, tmp_path: Path) -> None:
    path = analyze(tmp_path, dtype=dtype)
    with pytest.warns(ImagedataWarning, match=r"no orientation.*2 x 3 x 4 mm"):
        image = opened(path)
    assert "geometry" not in image.coords
    np.testing.assert_array_equal(image.values[0], VALUES.T)
    with pytest.warns(ImagedataWarning, match="no orientation"):
        np.testing.assert_array_equal(opened(tmp_path).values, image.values)  # the folder holds one image


def test_big_endian_analyze(tmp_path: Path) -> None:
    header = nib_any.AnalyzeHeader(endianness=">")
    nib_any.save(nib_any.AnalyzeImage(VALUES, np.eye(4), header), tmp_path / "a.img")
    with pytest.warns(ImagedataWarning, match="no orientation"):
        np.testing.assert_array_equal(opened(tmp_path / "a.hdr").values[0], VALUES.T)


def test_nifti_pairs_are_told_from_analyze(tmp_path: Path) -> None:
    nib_any.save(nib_any.Nifti1Pair(VALUES, AFFINE), tmp_path / "a.img")
    agree(opened(tmp_path / "a.hdr").isel(tag=0), VALUES, AFFINE)
    agree(opened(tmp_path).isel(tag=0), VALUES, AFFINE)


def test_the_matrix_of_spm(tmp_path: Path) -> None:
    path = analyze(tmp_path, "Spm99AnalyzeImage")
    (tmp_path / "a.mat").unlink(missing_ok=True)
    one = np.eye(4)
    one[:3, 3] = -1  # SPM counts from 1
    scipy.io.savemat(tmp_path / "a.mat", {"mat": AFFINE @ one, "M": np.eye(4)})
    agree(opened(path).isel(tag=0), VALUES, AFFINE)
    np.testing.assert_allclose(nib_any.load(tmp_path / "a.img").affine, AFFINE)
    scipy.io.savemat(tmp_path / "a.mat", {"M": AFFINE @ one})
    with pytest.raises(FormatError, match="which side is left"):
        opened(path)
    agree(opened(path, format_options={"flip": "right"}).isel(tag=0), VALUES, AFFINE)
    flipped = opened(path, format_options={"flip": "left"}).isel(tag=0)
    agree(flipped, VALUES, np.asarray(nib_any.load(tmp_path / "a.img").affine))  # nibabel's default


def test_the_factor_of_spm(tmp_path: Path) -> None:
    data = VALUES * 0.37
    image = nib_any.Spm2AnalyzeImage(data, np.eye(4))
    image.set_data_dtype("i2")
    nib_any.save(image, tmp_path / "a.img")
    (tmp_path / "a.mat").unlink(missing_ok=True)
    with pytest.warns(ImagedataWarning, match="multiplied"):
        found = opened(tmp_path / "a.hdr")
    np.testing.assert_allclose(found.values[0], nib_any.load(tmp_path / "a.img").get_fdata().T, rtol=1e-6)


def test_analyze_needs_its_voxels(tmp_path: Path) -> None:
    path = analyze(tmp_path)
    (tmp_path / "a.img").unlink()
    with pytest.raises(SourceError, match="missing"):
        opened(path, errors="raise")
    with pytest.raises(FormatError, match="read, and not written"):
        series().imd.write(str(tmp_path / "b.hdr"), format="analyze")


# --- MINC ---

COSINES = {"zspace": (0.0, 0.6, 0.8), "yspace": (0.0, 0.8, -0.6), "xspace": (1.0, 0.0, 0.0)}
STEPS = {"zspace": 3.0, "yspace": -2.0, "xspace": 1.5}
STARTS = {"zspace": 5.0, "yspace": 7.0, "xspace": -11.0}


def minc_places(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """RAS of each voxel, by the formula of MINC: the sum over the axes of cosines times start + step * index."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    out = np.zeros((*shape, 3))
    for k, name in enumerate(COSINES):
        out += (STARTS[name] + STEPS[name] * index[..., k])[..., None] * np.array(COSINES[name])
    return out


def minc1(path: Path, data: NDArray[Any], times: tuple[float, float] | None = None) -> None:
    """A MINC 1 file, with values of each slice in a range of its own."""
    dims = (("time",) if times else ()) + tuple(COSINES)
    with scipy.io.netcdf_file(str(path), "w") as f:
        for name, count in zip(dims, data.shape, strict=True):
            f.createDimension(name, count)
            v: Any = f.createVariable(name, "i", ())
            v.spacing = b"regular__"
            if name == "time" and times:
                v.start, v.step = times
            else:
                v.start, v.step, v.direction_cosines = STARTS[name], STEPS[name], np.array(COSINES[name])
        lead = dims[:-2]
        low: Any = f.createVariable("image-min", "d", lead)
        high: Any = f.createVariable("image-max", "d", lead)
        image: Any = f.createVariable("image", "h", dims)
        image.signtype, image.valid_range = b"signed__", np.array([0.0, 950.0])
        low[:] = data.min(axis=(-1, -2))
        high[:] = data.max(axis=(-1, -2))
        scale = (high[:] - low[:])[..., None, None]
        image[:] = np.rint((data - low[:][..., None, None]) / scale * 950).astype("i2")


def minc2(path: Path, data: NDArray[Any], h5py: Any) -> None:
    """A MINC 2 file of floats."""
    with h5py.File(path, "w") as f:
        root = f.create_group("minc-2.0")
        for name, count in zip(COSINES, data.shape, strict=True):
            v = root.create_dataset(f"dimensions/{name}", data=np.int32(0))
            v.attrs["spacing"], v.attrs["length"] = np.bytes_("regular__"), count
            v.attrs["start"], v.attrs["step"], v.attrs["direction_cosines"] = STARTS[name], STEPS[name], COSINES[name]
        image = root.create_dataset("image/0/image", data=data.astype("f4"))
        image.attrs["dimorder"] = np.bytes_("zspace,yspace,xspace")
        for name in ("image-min", "image-max"):
            root.create_dataset(f"image/0/{name}", data=0.0)


def check_minc(path: Path, data: NDArray[Any]) -> None:
    image = opened(path)
    for v, volume in enumerate(data.reshape(-1, *data.shape[-3:])):
        one = image.isel(tag=v)
        direction = np.array(image["geometry"].attrs["direction"]).reshape(3, 3)
        got = (positions(one, direction) @ TO_RAS).reshape(-1, 3)
        want = minc_places(volume.shape).reshape(-1, 3)
        order_got, order_want = np.argsort(one.values.ravel()), np.argsort(volume.ravel())
        np.testing.assert_allclose(one.values.ravel()[order_got], volume.ravel()[order_want], rtol=1e-5)
        np.testing.assert_allclose(got[order_got], want[order_want], atol=1e-6)


@pytest.mark.parametrize("packed", [False, True])
def test_minc1(packed: bool, tmp_path: Path) -> None:
    # whole steps of each slice's range, so that the stored integers give the values back
    data = np.arange(60.0).reshape(3, 4, 5) % 20 * 50 + np.arange(3)[:, None, None] * 5000
    minc1(tmp_path / "a.mnc", data)
    if packed:
        (tmp_path / "a.mnc").write_bytes(gzip.compress((tmp_path / "a.mnc").read_bytes()))
    check_minc(tmp_path / "a.mnc", data)
    stored = opened(tmp_path / "a.mnc", mask_and_scale=False)
    assert stored.dtype == np.int16
    assert float(stored.max()) == 950


def test_minc1_in_time(tmp_path: Path) -> None:
    data = np.arange(120.0).reshape(2, 3, 4, 5) % 20 * 50 + np.arange(6).reshape(2, 3, 1, 1) * 5000
    minc1(tmp_path / "a.mnc", data, (1.5, 2.0))
    image = opened(tmp_path / "a.mnc")
    assert image.tag.attrs["order"] == "time"
    assert image.tag.values.tolist() == [1.5, 3.5]
    check_minc(tmp_path / "a.mnc", data)
    np.testing.assert_array_equal(image.isel(tag=1, slice=[2, 0], row=1).values, image.values[1, [2, 0], 1])


def test_minc2(tmp_path: Path, require_module: Any) -> None:
    data = np.arange(60.0).reshape(3, 4, 5)
    minc2(tmp_path / "a.mnc", data, require_module("h5py"))
    check_minc(tmp_path / "a.mnc", data)


def test_minc_with_uneven_slices(tmp_path: Path) -> None:
    minc1(tmp_path / "a.mnc", np.zeros((3, 4, 5)))
    content = (tmp_path / "a.mnc").read_bytes()
    (tmp_path / "a.mnc").write_bytes(content.replace(b"regular__", b"irregular", 1))
    with pytest.raises(FormatError, match="uneven steps"):
        opened(tmp_path / "a.mnc", errors="raise")


@pytest.mark.parametrize("content", [b"", b"CDF\x01junk", b"\x89HDF\r\n\x1a\njunk", b"hello world"])
def test_damaged_minc(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.mnc").write_bytes(content)
    with pytest.raises(SourceError):
        opened(tmp_path / "a.mnc", errors="raise")
