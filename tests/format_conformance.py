"""What every format must hold to, as tests that a class per format inherits (see `tests/unit/test_formats.py`).

A subclass names the format and gives `places`, a reader that is not ours. The phantom has x, y and z of each
voxel as its values, so that a moved voxel shows.
"""

from __future__ import annotations

import pickle
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import fsspec
import numpy as np
import pytest
import xarray as xr
from nifti_phantoms import DIRECTIONS, OBLIQUE, coordinates, series
from numpy.typing import NDArray

import imagedata_xr  # noqa: F401  # registers .imd
from imagedata_xr.errors import FormatError, ImagedataError, ImagedataWarning

PARTS: dict[str, dict[str, Any]] = {
    "crop": {"slice": slice(1, 3), "row": slice(2, 5), "col": slice(1, 4)},
    "stride": {"row": slice(None, None, 2), "col": slice(1, None, 2)},
    "flips": {"slice": slice(None, None, -1), "row": slice(None, None, -1), "col": slice(None, None, -1)},
    "one slice": {"slice": 2},
    "one volume": {"tag": 1},
    "one row": {"row": [3]},
}
DTYPES = [
    *("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
]
SECRETS = ("Zoé", "Meyer", "P-4711", "19700102", "2024", "1.2.826.0.1", "ACC-9", "1.2.3.4")


def patient_attrs() -> dict[str, Any]:
    """Attrs that tell who the patient is."""
    return {
        "PatientName": "Meyer^Zoé", "PatientID": "P-4711", "PatientBirthDate": "19700102", "StudyDate": "20240305",
        "StudyInstanceUID": "1.2.826.0.1.1", "AccessionNumber": "ACC-9", "Modality": "MR",
        "SeriesDescription": "for Meyer", "ProtocolName": "ep2d",
    }  # fmt: skip


class Conformance:
    """Tests of a format."""

    format: str
    extension: str
    directions: tuple[str, ...] = tuple(DIRECTIONS)
    dtypes: tuple[str, ...]  # kept exactly
    refused: tuple[str, ...] = ()  # refused with a reason
    labels: tuple[str, ...] = ("time", "b_value", "b_vector_x", "echo_time", "slice_time", "my_number")
    exact = 1e-4  # mm
    lazy = True
    rgb = True
    single = False  # float32 at most
    how: Mapping[str, Any] = MappingProxyType({})  # format_options for writing
    timed: Mapping[str, Any] = MappingProxyType({})  # options for reading times as the order

    def places(self, path: Path) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """LPS (..., 3) of every voxel and its values (volumes, slice, row, col), in any order, by another program."""
        raise NotImplementedError

    def save(self, image: xr.DataArray, path: Path | str, **options: Any) -> Any:
        """Write."""
        options["format_options"] = {**self.how, **options.get("format_options", {})}
        return image.imd.write(str(path), format=self.format, **options)

    def load(self, path: Path | str, **options: Any) -> xr.DataArray:
        """Read."""
        return xr.open_dataarray(str(path), engine="imagedata", **options)

    def file(self, folder: Path) -> Path:
        """Path of a file."""
        return folder / f"a{self.extension}"

    def phantom(self, *direction: Any, **how: Any) -> xr.DataArray:
        """Image whose values are the places of its voxels."""
        image = coordinates(*direction, **how)
        return image.astype("float32") if self.single else image

    # --- where the voxels are ---

    @pytest.mark.parametrize("direction", DIRECTIONS)
    def test_voxels_lie_where_another_program_puts_them(self, direction: str, tmp_path: Path) -> None:
        if direction not in self.directions:
            with pytest.raises((FormatError, ImagedataError), match=r"sheared|perpendicular|tilted"):
                self.save(self.phantom(DIRECTIONS[direction]), self.file(tmp_path))
            return
        shape = (7, 12, 15)
        image = self.phantom(DIRECTIONS[direction], shape=shape)
        with pytest.warns(ImagedataWarning) if self.warns(direction) else _quiet():
            self.save(image, self.file(tmp_path))
        places, values = self.places(self.file(tmp_path))
        flat_places, flat = places.reshape(-1, 3), values.reshape(3, -1).T
        rng = np.random.default_rng(0)
        some = rng.integers(0, len(flat), 4000)
        assert np.abs(flat_places[some] - flat[some]).max() < self.exact
        assert len(flat) == np.prod(shape)

    def warns(self, direction: str) -> bool:
        """Whether writing in this direction must warn."""
        return False

    @pytest.mark.parametrize("part", PARTS)
    def test_parts_come_back_where_they_were(self, part: str, tmp_path: Path) -> None:
        image = self.phantom(OBLIQUE)
        piece = image.isel(PARTS[part])
        self.save(piece, self.file(tmp_path))
        back = self.load(self.file(tmp_path))
        off = piece - back.squeeze([d for d in back.dims if d not in piece.dims])
        assert off.shape == piece.shape
        assert float(abs(off).max()) == 0
        # the same parts of the original, found by their labels alone
        same = image.sel({n: back[n].values for n in ("slice", "row", "col")}, method="nearest")
        np.testing.assert_array_equal(same.isel(tag=[1] if part == "one volume" else slice(None)).values, back.values)

    # --- values ---

    @pytest.mark.parametrize(
        "dtype",
        DTYPES,
    )
    def test_values_are_kept_or_refused(self, dtype: str, tmp_path: Path) -> None:
        image = series(stored=None, values=[0.0], order="none", units="1").isel(tag=[0])
        kind = np.dtype(dtype).kind
        top = {"b": 1, "f": 1000, "c": 1000}.get(kind) or int(np.iinfo(dtype).max)
        data = (np.random.default_rng(1).random(image.shape) * 0.9 * top).astype(dtype)
        if kind == "c":
            data = (data + 1j * data[..., ::-1]).astype(dtype)
        if kind in "iu":
            data.flat[0], data.flat[1] = np.iinfo(dtype).max, np.iinfo(dtype).min
        if kind == "f":
            data.flat[0] = np.nan
        image = image.copy(data=data)
        if dtype in self.refused:
            with pytest.raises(FormatError):
                self.save(image, self.file(tmp_path))
            assert not list(tmp_path.iterdir())
            return
        self.save(image, self.file(tmp_path))
        exact = kind in "iu" and np.dtype(dtype).itemsize == 8
        back = self.load(self.file(tmp_path), mask_and_scale=not exact)
        assert dtype in self.dtypes
        np.testing.assert_array_equal(back.values, data)
        if exact:
            with pytest.raises(FormatError, match="mask_and_scale"):
                self.load(self.file(tmp_path)).load()

    def test_colour_is_kept_or_refused(self, tmp_path: Path) -> None:
        image = series(stored=None, values=[0.0], order="none", units="1")
        data = np.random.default_rng(1).integers(0, 256, (*image.shape, 3)).astype("u1")
        coloured = xr.DataArray(data, dims=(*image.dims, "rgb"), coords=image.coords)
        if not self.rgb:
            with pytest.raises(FormatError, match="colour"):
                self.save(coloured, self.file(tmp_path))
            return
        self.save(coloured, self.file(tmp_path))
        back = self.load(self.file(tmp_path))
        assert back.dims[-1] == "rgb"
        np.testing.assert_array_equal(back.values, data)

    def test_dtype_asked_for_must_fit(self, tmp_path: Path) -> None:
        image = series(stored=None).astype("float32") + 0.5
        self.save(image, self.file(tmp_path))
        assert self.load(self.file(tmp_path), dtype="float64").dtype == np.float64
        with pytest.raises(FormatError):
            self.load(self.file(tmp_path), dtype="int16").load()

    # --- labels ---

    def labelled(self) -> xr.DataArray:
        """An image with labels of every kind."""
        n = 4
        coords = {
            "b_value": (["tag"], np.array([0.0, 500, 500, 1000])),
            "b_vector_x": (["tag"], np.array([0, 1, 0, 0.6])),
            "b_vector_y": (["tag"], np.array([0, 0, 1, 0.8])),
            "b_vector_z": (["tag"], np.zeros(n)),
            "echo_time": ([], 4.25),
            "my_number": (["tag"], np.array([0.1, 0.2, 0.3, 1 / 3])),
            "slice_time": (["tag", "slice"], np.tile([0.0, 0.5, 1.0], (n, 1))),
        }
        return series(coords=coords, attrs=patient_attrs() | {"units": "HU"}, direction=OBLIQUE)

    def test_labels_come_back(self, tmp_path: Path) -> None:
        image = self.labelled()
        self.save(image, self.file(tmp_path))
        back = self.load(self.file(tmp_path), order="time")
        for name in self.labels:
            if name == "time":
                np.testing.assert_allclose(back.tag.values, image.tag.values, atol=1e-9)
                assert back.tag.attrs["order"] == "time"
            else:
                want, got = xr.broadcast(image[name], back[name])
                np.testing.assert_allclose(got.values, want.values, atol=1e-7)
        assert float(abs(image - back).max()) == 0
        if "units" in self.keeps:
            assert back.attrs["units"] == "HU"

    keeps: tuple[str, ...] = ("units",)

    def test_nobody_is_named(self, tmp_path: Path) -> None:
        image = self.labelled()
        when = np.array(["2024-03-05T10:00"] * 4, dtype="M8[us]")
        image = image.assign_coords(acquisition_time=("tag", when), patient=7, study=8)
        image["tag"].attrs["epoch"] = "2024-03-05T10:00:00"
        self.save(image, self.file(tmp_path))
        for path in tmp_path.iterdir():
            content = path.read_bytes()
            found = [s for s in SECRETS if s.encode() in content or s.encode("utf-16-le") in content]
            assert not found, (path.name, found)

    # --- files ---

    def test_reading_is_lazy(self, tmp_path: Path) -> None:
        self.save(series(), self.file(tmp_path))
        if self.lazy:
            opened = self.load(self.file(tmp_path), chunks={})
            assert opened.chunks is not None
            again = pickle.loads(pickle.dumps(opened))
            np.testing.assert_array_equal(again.values, series().values)
        part = self.load(self.file(tmp_path)).isel(tag=[2, 0], slice=1, row=slice(None, None, 2), col=[3, 1])
        want = series().isel(tag=[2, 0], slice=1, row=slice(None, None, 2), col=[3, 1])
        np.testing.assert_array_equal(part.values, want.values)

    def test_files_of_fsspec(self) -> None:
        url = f"memory://conformance/{self.format}/a{self.extension}"
        self.save(series(), url, overwrite=True)
        try:
            np.testing.assert_array_equal(self.load(url).values, series().values)
            assert float(abs(self.load(url, **self.timed) - series()).max()) == 0
        finally:
            fsspec.filesystem("memory").rm("/conformance", recursive=True)

    def test_nothing_is_written_over_unless_asked(self, tmp_path: Path) -> None:
        self.save(series(), self.file(tmp_path))
        before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
        with pytest.raises(FileExistsError, match="overwrite"):
            self.save(series() + 1, self.file(tmp_path))
        assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
        self.save(series() + 1, self.file(tmp_path), overwrite=True)
        np.testing.assert_array_equal(self.load(self.file(tmp_path)).values, series().values + 1)
        assert {p.name for p in tmp_path.iterdir()} == set(before)

    def test_a_failed_write_leaves_nothing(self, tmp_path: Path) -> None:
        dask_array = pytest.importorskip("dask.array")

        def fail(block: NDArray[Any]) -> NDArray[Any]:
            raise RuntimeError("no such luck")

        image = series()
        lazy = image.copy(data=dask_array.from_array(image.values).map_blocks(fail, dtype="f4", meta=np.empty(0, "f4")))
        with pytest.raises(RuntimeError, match="luck"):
            self.save(lazy, self.file(tmp_path))
        assert not list(tmp_path.iterdir())

    def test_writing_later(self, tmp_path: Path) -> None:
        later = self.save(series(), self.file(tmp_path), compute=False)
        assert not list(tmp_path.iterdir())
        later.compute()
        np.testing.assert_array_equal(self.load(self.file(tmp_path)).values, series().values)

    @pytest.mark.parametrize("keep", [0, 10, 0.3, 0.9])
    def test_a_truncated_file_is_our_error(self, keep: float, tmp_path: Path) -> None:
        image = self.phantom(OBLIQUE, shape=(20, 20, 20))
        self.save(image, self.file(tmp_path))
        data = self.file(tmp_path).read_bytes()
        self.file(tmp_path).write_bytes(data[: int(keep if keep >= 1 else keep * len(data))])
        with pytest.raises(ImagedataError):
            self.load(self.file(tmp_path), errors="raise").load()

    def test_damaged_headers_are_our_errors(self, tmp_path: Path) -> None:
        self.save(self.phantom(OBLIQUE), self.file(tmp_path))
        data = self.file(tmp_path).read_bytes()
        rng = np.random.default_rng(5)
        for _ in range(60):
            bad = bytearray(data)
            for at in rng.integers(0, min(len(data), 1500), 4):
                bad[at] = rng.integers(0, 256)
            self.file(tmp_path).write_bytes(bad)
            with np.errstate(all="ignore"):
                try:
                    self.load(self.file(tmp_path), errors="raise").load()
                except ImagedataError:
                    continue

    def test_images_without_a_place_stay_so(self, tmp_path: Path) -> None:
        image = series(direction=None).drop_vars("geometry", errors="ignore")
        with pytest.warns(ImagedataWarning, match="no place"):
            self.save(image, self.file(tmp_path))
        back = self.load(self.file(tmp_path))
        assert "geometry" not in back.coords
        np.testing.assert_array_equal(back.values, image.values)

    def test_what_no_file_can_hold_is_refused(self, tmp_path: Path) -> None:
        image = series()
        with pytest.raises(ImagedataError, match="evenly"):
            self.save(image.isel(row=[0, 1, 3]), self.file(tmp_path))
        with pytest.raises(ImagedataError, match="lost"):
            self.save(image.mean("slice"), self.file(tmp_path))
        with pytest.raises(FormatError, match="unknown format_options"):
            self.save(image, self.file(tmp_path), format_options={"no_such": 1})
        assert not list(tmp_path.iterdir())


def _quiet() -> Any:
    import contextlib

    return contextlib.nullcontext()


def places_of(affine: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """World position of every index of an array with this affine, shape (*shape, 3)."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    return np.asarray(index @ affine[:3, :3].T + affine[:3, 3])


def by_sitk(sitk: Any, path: Path) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Places and values by SimpleITK, whose arrays are (slice, row, col) with components or volumes."""
    image = sitk.ReadImage(str(path))
    values = sitk.GetArrayFromImage(image)
    n = image.GetDimension()
    turn = np.array(image.GetDirection()).reshape(n, n)[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = turn * np.array(image.GetSpacing())[:3]
    affine[:3, 3] = image.GetOrigin()[:3]
    if image.GetNumberOfComponentsPerPixel() > 1:
        values = np.moveaxis(values, -1, 0)
    size = image.GetSize()[:3]
    return np.moveaxis(places_of(affine, size), (0, 1, 2), (2, 1, 0)), values


_OCTAVE = """
s = load('{path}'); A = double(s.A); g = s.imagedata_xr.affine;
[r, c, k] = ndgrid(1:size(A, 1), 1:size(A, 2), 1:size(A, 3));
p = g * [r(:)' - 1; c(:)' - 1; k(:)' - 1; ones(1, numel(r))];
f = fopen('{out}', 'w'); fwrite(f, p(1:3, :), 'double'); fwrite(f, A, 'double'); fclose(f);
"""


def by_octave(octave: Path, path: Path) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Places and values by Octave, with the affine that stands in the struct; volume by volume as Octave has them."""
    out = path.with_suffix(".bin")
    script = _OCTAVE.format(path=path, out=out)
    subprocess.run([str(octave), "--no-gui", "--norc", "--eval", script], check=True, capture_output=True, timeout=120)
    numbers = np.fromfile(out)
    out.unlink()
    count = numbers.size // 6  # x, y, z of each voxel, and three volumes
    return numbers[: 3 * count].reshape(count, 3), numbers[3 * count :].reshape(3, count)
