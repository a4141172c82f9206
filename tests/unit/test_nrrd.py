"""NRRD as other programs write it; SimpleITK says where the voxels are, pynrrd what the fields mean."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from format_conformance import by_sitk
from nifti_phantoms import OBLIQUE, positions, series
from numpy.typing import NDArray

import imagedata_xr  # noqa: F401  # registers .imd
from imagedata_xr.errors import FormatError, ImagedataWarning, SourceError

VALUES = np.arange(60, dtype="<i2").reshape(3, 4, 5)
PLACE = {
    "space": "left-posterior-superior",
    "space directions": "(0.45,0.6,0) (-1,0.75,0) (0,0,3)",
    "space origin": "(-10.5,20,33)",
}


def header(**changes: Any) -> bytes:
    """Header of the volume; None leaves a field out, a trailing underscore is for a key."""
    fields = {
        "type": "short", "dimension": 3, **PLACE, "sizes": "5 4 3", "kinds": "domain domain domain",
        "endian": "little", "encoding": "raw",
    } | {k.replace("_", " "): v for k, v in changes.items() if not k.startswith("key")}  # fmt: skip
    keys = changes.get("keys", {})
    lines = [f"{k}: {v}" for k, v in fields.items() if v is not None] + [f"{k}:={v}" for k, v in keys.items()]
    return ("NRRD0004\n" + "\n".join(lines) + "\n").encode()


def opened(path: Path, **options: Any) -> xr.DataArray:
    """Image of a file."""
    return xr.open_dataarray(str(path), engine="imagedata", **options)


def made(folder: Path, data: bytes, **changes: Any) -> Path:
    """A .nrrd with its voxels inside."""
    path = folder / "a.nrrd"
    path.write_bytes(header(**changes) + b"\n" + data)
    return path


def detached(folder: Path, files: dict[str, bytes], tail: str = "", **changes: Any) -> Path:
    """A .nhdr with its voxels in other files."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    path = folder / "a.nhdr"
    path.write_bytes(header(**changes) + tail.encode())
    return path


def altered(folder: Path, change: Any, magic: bytes = b"NRRD0004") -> Path:
    """A .nrrd whose fields are called otherwise, as Teem takes them too."""
    path = made(folder, b"")
    lines = [line.partition(b": ") for line in path.read_bytes().splitlines()[1:-1]]
    fields = [change(name.decode()).encode() + colon + value for name, colon, value in lines]
    path.write_bytes(b"\n".join([magic, *fields, b"", b""]) + VALUES.tobytes())
    return path


def world(image: xr.DataArray) -> dict[int, tuple[float, ...]]:
    """Place of each value."""
    direction = np.array(image["geometry"].attrs["direction"]).reshape(3, 3)
    places = positions(image, direction).reshape(-1, 3)
    return {int(v): tuple(p) for v, p in zip(image.values.ravel(), places, strict=True)}


WAYS = {
    "raw": lambda f: made(f, VALUES.tobytes()),
    "big endian": lambda f: made(f, VALUES.astype(">i2").tobytes(), endian="big"),
    "gzip": lambda f: made(f, gzip.compress(VALUES.tobytes()), encoding="gzip"),
    "gz": lambda f: made(f, gzip.compress(VALUES.tobytes()), encoding="gz"),
    "bzip2": lambda f: made(f, bz2.compress(VALUES.tobytes()), encoding="bzip2"),
    "text": lambda f: made(f, " ".join(map(str, VALUES.ravel())).encode(), encoding="text", endian=None),
    "hex": lambda f: made(f, VALUES.tobytes().hex().encode(), encoding="hex"),
    "beside": lambda f: detached(f, {"v.raw": VALUES.tobytes()}, data_file="v.raw"),
    "gzip beside": lambda f: detached(f, {"v.gz": gzip.compress(VALUES.tobytes())}, data_file="v.gz", encoding="gz"),
    "after bytes": lambda f: detached(f, {"v": b"x" * 7 + VALUES.tobytes()}, data_file="v", byte_skip=7),
    "at the end": lambda f: detached(f, {"v": b"x" * 7 + VALUES.tobytes()}, data_file="v", byte_skip=-1),
    "after lines": lambda f: detached(f, {"v": b"a\nbc\n" + VALUES.tobytes()}, data_file="v", line_skip=2),
    "pattern": lambda f: detached(f, {f"s{k}": VALUES[k].tobytes() for k in range(3)}, data_file="s%d 0 2 1"),
    "list": lambda f: detached(
        f, {f"p{k}": VALUES[k].tobytes() for k in range(3)}, "data file: LIST\np0\np1\np2\n"
    ),
    "text after bytes": lambda f: made(
        f, b"from here:" + " ".join(map(str, VALUES.ravel())).encode(), encoding="ascii", byte_skip=10
    ),
    "hex after bytes": lambda f: made(f, b"zz" + VALUES.tobytes().hex().encode(), encoding="hex", byte_skip=2),
    "gzip after bytes": lambda f: made(f, gzip.compress(b"x" * 7 + VALUES.tobytes()), encoding="gzip", byte_skip=7),
    "gzip at the end": lambda f: made(f, gzip.compress(b"x" * 7 + VALUES.tobytes()), encoding="gzip", byte_skip=-1),
    "each after a line": lambda f: detached(
        f, {f"s{k}": b"x" * k + b"\n" + VALUES[k].tobytes() for k in range(3)}, data_file="s%d 0 2 1", line_skip=1
    ),
    "names in large letters": lambda f: altered(f, str.upper),
    "names in one word": lambda f: altered(f, lambda name: name.replace(" ", "")),
    "words in large letters": lambda f: made(f, VALUES.tobytes(), type="SHORT", endian="Little", encoding="RAW"),
    "the first version": lambda f: altered(f, str, b"NRRD00.01"),
    "a content called LIST": lambda f: detached(f, {"v": VALUES.tobytes()}, "content: LIST of 3\n", data_file="v"),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_any_packing(way: str, tmp_path: Path) -> None:
    image = opened(WAYS[way](tmp_path))
    np.testing.assert_array_equal(image.values[0], VALUES)
    place = world(image)
    assert place[0] == pytest.approx((-10.5, 20, 33))
    assert place[1] == pytest.approx((-10.05, 20.6, 33))  # the next column
    assert place[5] == pytest.approx((-11.5, 20.75, 33))  # the next row


@pytest.mark.parametrize("way", ["gzip", "bzip2", "text", "hex", "raw", "beside"])
def test_truncated_voxels_are_our_error(way: str, tmp_path: Path) -> None:
    WAYS[way](tmp_path)
    file = next(
        p for p in tmp_path.iterdir() if p.name in ("v.raw", "a.nrrd") and (way != "beside" or p.name == "v.raw")
    )
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(SourceError):
        opened(tmp_path / ("a.nhdr" if way == "beside" else "a.nrrd")).load()


@pytest.mark.parametrize(
    "space", ["left-posterior-superior", "LPS", "right-anterior-superior", "RAS", "left-anterior-superior", "LAS"]
)
def test_spaces_as_simpleitk_has_them(space: str, tmp_path: Path, require_module: Any) -> None:
    path = made(tmp_path, VALUES.tobytes(), space=space)
    places, values = by_sitk(require_module("SimpleITK"), path)
    want = {int(v): p for v, p in zip(values.ravel(), places.reshape(-1, 3), strict=True)}
    got = world(opened(path))
    assert max(np.abs(np.subtract(got[v], want[v])).max() for v in want) < 1e-9


def test_pynrrd_writes_what_we_read(tmp_path: Path, require_module: Any) -> None:
    nrrd = require_module("nrrd")
    fields = {
        "space": "RAS", "space directions": np.array([[0.0, 2, 0], [3, 0, 0], [0, 0, -4]]), "space origin": [1.0, 2, 3],
        "kinds": ["domain"] * 3, "note": "of no interest",
    }  # fmt: skip
    data = np.arange(60, dtype=np.float32).reshape(5, 4, 3)  # column, row, slice
    for name, more in {
        "a.nrrd": {"encoding": "gzip"},
        "b.nhdr": {"encoding": "bzip2"},
        "c.nrrd": {"encoding": "ascii"},
    }.items():
        nrrd.write(str(tmp_path / name), data, fields | more)
        place = world(opened(tmp_path / name))
        for at in np.ndindex(data.shape):
            ras = np.array(fields["space origin"]) + np.array(at) @ fields["space directions"]
            assert place[int(data[at])] == pytest.approx(ras * [-1, -1, 1])


def test_units_of_the_space(tmp_path: Path) -> None:
    image = opened(made(tmp_path, VALUES.tobytes(), **{"space units": '"cm" "cm" "cm"'}))
    assert world(image)[0] == pytest.approx((-105, 200, 330))
    with pytest.raises(FormatError, match="space units"):
        opened(made(tmp_path, VALUES.tobytes(), **{"space units": '"mm" "mm" "inch"'}))


@pytest.mark.parametrize("changes", [{"space": None, "space_dimension": 3}, {"space": "scanner-xyz"}])
def test_a_space_that_is_none_of_a_patient(changes: dict[str, Any], tmp_path: Path) -> None:
    path = made(tmp_path, VALUES.tobytes(), **changes)
    with pytest.warns(ImagedataWarning, match="space"):
        image = opened(path)
    assert "geometry" not in image.coords
    said = opened(path, format_options={"space": "RAS"})
    assert world(said)[0] == pytest.approx((10.5, -20, 33))
    with pytest.raises(FormatError, match="none of"):
        opened(path, format_options={"space": "XYZ"})


# --- axes that are not spatial ---

FOUR = np.arange(120, dtype="<i2").reshape(2, 3, 4, 5)  # volume, slice, row, col


@pytest.mark.parametrize("at", range(4))
def test_a_list_of_volumes_at_any_axis(at: int, tmp_path: Path) -> None:
    directions, kinds, sizes = PLACE["space directions"].split(" "), ["domain"] * 3, [5, 4, 3]
    directions.insert(at, "none")
    kinds.insert(at, "list")
    sizes.insert(at, 2)
    data = np.moveaxis(FOUR.transpose(3, 2, 1, 0), 3, at).tobytes(order="F")
    path = made(
        tmp_path, data, dimension=4, sizes=" ".join(map(str, sizes)), kinds=" ".join(kinds),
        **{"space directions": " ".join(directions)},
    )  # fmt: skip
    image = opened(path)
    np.testing.assert_array_equal(image.values, FOUR)
    np.testing.assert_array_equal(image.isel(tag=1, slice=2, row=[3, 0]).values, FOUR[1, 2, [3, 0]])
    assert world(image.isel(tag=0))[0] == pytest.approx((-10.5, 20, 33))


def test_volumes_between_the_axes_of_a_single_slice(tmp_path: Path) -> None:
    data = np.arange(40, dtype="<i2").reshape(4, 2, 5)  # row, volume, col
    path = made(
        tmp_path, data.tobytes(), sizes="5 2 4", kinds="domain list domain",
        **{"space directions": "(0.45,0.6,0) none (-1,0.75,0)"},
    )  # fmt: skip
    np.testing.assert_array_equal(opened(path).values[:, 0], data.swapaxes(0, 1))


def test_volumes_by_time(tmp_path: Path) -> None:
    more = {
        "space directions": PLACE["space directions"] + " none", "units": '"" "" "" "ms"',
        "spacings": "nan nan nan 500", "axis mins": "nan nan nan 1000",
    }  # fmt: skip
    kinds = "domain domain domain time"
    image = opened(made(tmp_path, FOUR.tobytes(), dimension=4, sizes="5 4 3 2", kinds=kinds, **more))
    assert image.tag.attrs["order"] == "time"
    assert image.tag.values.tolist() == [1.0, 1.5]


def test_time_as_a_component_of_the_space(tmp_path: Path) -> None:
    more = {
        "space": "left-posterior-superior-time", "space origin": "(-10.5,20,33,4)",
        "space directions": "(0.45,0.6,0,0) (-1,0.75,0,0) (0,0,3,0) (0,0,0,2.5)", "space units": '"mm" "mm" "mm" "s"',
    }  # fmt: skip
    image = opened(made(tmp_path, FOUR.tobytes(), dimension=4, sizes="5 4 3 2", kinds=None, **more))
    assert image.tag.values.tolist() == [4.0, 6.5]
    assert world(image.isel(tag=0))[1] == pytest.approx((-10.05, 20.6, 33))


def test_colour_of_simpleitk(tmp_path: Path, require_module: Any) -> None:
    sitk = require_module("SimpleITK")
    data = np.random.default_rng(0).integers(0, 255, (3, 4, 5, 3), dtype=np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(data, isVector=True), str(tmp_path / "a.nrrd"))
    image = opened(tmp_path / "a.nrrd")
    assert image.dims[-1] == "rgb"
    np.testing.assert_array_equal(image.values[0], data)


def test_three_volumes_of_bytes_are_no_colour(tmp_path: Path) -> None:
    data = np.arange(180, dtype="u1").reshape(3, 4, 5, 3)
    directions = "none " + PLACE["space directions"]
    kinds = "list domain domain domain"
    path = made(
        tmp_path,
        data.tobytes(),
        type="uchar",
        dimension=4,
        sizes="3 5 4 3",
        kinds=kinds,
        **{"space directions": directions},
    )
    np.testing.assert_array_equal(opened(path).values, np.moveaxis(data, -1, 0))


def test_complex_numbers_of_pynrrd_order(tmp_path: Path) -> None:
    data = (VALUES + 1j * VALUES[::-1]).astype("<c8")
    directions, kinds = "none " + PLACE["space directions"], "complex domain domain domain"
    path = made(
        tmp_path,
        data.tobytes(),
        type="float",
        dimension=4,
        sizes="2 5 4 3",
        kinds=kinds,
        **{"space directions": directions},
    )
    np.testing.assert_array_equal(opened(path).values[0], data)


# --- diffusion ---


def dwi(folder: Path, keys: dict[str, str], count: int = 4, **more: Any) -> xr.DataArray:
    data = np.zeros((count, 3, 4, 5), "<i2").tobytes()
    directions, kinds = PLACE["space directions"] + " none", "domain domain domain list"
    keys = {"modality": "DWMRI", "DWMRI_b-value": "1000"} | keys
    fields = {"space directions": directions} | more
    return opened(made(folder, data, dimension=4, sizes=f"5 4 3 {count}", kinds=kinds, keys=keys, **fields))


def gradients(*vectors: str) -> dict[str, str]:
    return {f"DWMRI_gradient_{k:04d}": v for k, v in enumerate(vectors)}


def test_gradients_and_their_lengths(tmp_path: Path) -> None:
    half = 0.5**0.5
    image = dwi(tmp_path, gradients("0 0 0", "1 0 0", f"0 {half} 0", "0 0.6 0.8"))
    assert image.tag.attrs["order"] == "dti"
    np.testing.assert_allclose(image.b_value, [0, 1000, 500, 1000])
    np.testing.assert_allclose(image.b_vector_y, [0, 0, 1, 0.6])
    np.testing.assert_allclose(image.b_vector_z, [0, 0, 0, 0.8])


@pytest.mark.parametrize("space", ["RAS", "LPS", "LAS"])
def test_gradients_are_in_the_measurement_frame(space: str, tmp_path: Path) -> None:
    frame = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])  # its columns are the vectors of the field
    text = " ".join(f"({','.join(map(str, v))})" for v in frame.T)
    g = np.array([0.6, 0.0, 0.8])
    image = dwi(tmp_path, gradients("0 0 0", "0.6 0 0.8"), 2, space=space, **{"measurement frame": text})
    signs = {"RAS": [-1, -1, 1], "LPS": [1, 1, 1], "LAS": [1, -1, 1]}[space]
    want = (frame @ g) * signs
    got = [float(image[f"b_vector_{x}"][1]) for x in "xyz"]
    assert got == pytest.approx(want)


def test_repeated_gradients_and_b_matrices(tmp_path: Path) -> None:
    repeated = {"DWMRI_gradient_0000": "0 0 0", "DWMRI_gradient_0001": "0 1 0", "DWMRI_NEX_0001": "3",
                "DWMRI_gradient_0002": "n/a n/a n/a"}  # fmt: skip
    np.testing.assert_allclose(dwi(tmp_path, repeated).b_vector_y, [0, 1, 1, 1])
    matrices = {"DWMRI_B-matrix_0000": "0 0 0 0 0 0", "DWMRI_B-matrix_0001": "0.36 0 0.48 0 0 0.64"}
    image = dwi(tmp_path, matrices, 2)
    np.testing.assert_allclose(image.b_value, [0, 1000])
    assert np.abs(image.b_vector_z.values[1]) == pytest.approx(0.8)


def test_missing_gradients_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="volume 1 of 2"):
        dwi(tmp_path, gradients("0 0 0"), 2)


def test_what_we_write_of_diffusion_is_what_others_read(tmp_path: Path, require_module: Any) -> None:
    nrrd = require_module("nrrd")
    g: NDArray[np.float64] = np.array([[0, 0, 0], [0.6, 0, 0.8], [0, 1, 0]])
    coords = {"b_value": (["tag"], np.array([0.0, 500, 2000]))} | {
        f"b_vector_{x}": (["tag"], g[:, k]) for k, x in enumerate("xyz")
    }
    image = series(np.arange(3.0), order="dti", units="1", coords=coords, direction=OBLIQUE)
    image.imd.write(str(tmp_path / "a.nrrd"))
    fields = nrrd.read_header(str(tmp_path / "a.nrrd"))
    np.testing.assert_array_equal(fields["measurement frame"], np.eye(3))
    assert float(fields["DWMRI_b-value"]) == 2000
    for k in range(3):
        vector = np.array([float(x) for x in fields[f"DWMRI_gradient_{k:04d}"].split()])
        assert 2000 * (vector @ vector) == pytest.approx([0, 500, 2000][k])
        np.testing.assert_allclose(vector / max(np.linalg.norm(vector), 1e-9), g[k], atol=1e-12)
    back = opened(tmp_path / "a.nrrd")
    np.testing.assert_array_equal(back.b_value, [0, 500, 2000])


# --- damage ---


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "quadruple"}, {"endian": None}, {"encoding": "zip"}, {"sizes": "5 4"}, {"sizes": "5 4 -3"},
        {"dimension": "three"}, {"space_directions": "(1,0,0) (0,1,0)"}, {"space_directions": "(1,0) (0,1) (1,1)"},
        {"space_directions": "(1,0,0) (2,0,0) (0,0,1)"}, {"space_origin": "(a,b,c)"},
    ],
    ids=str,
)  # fmt: skip
def test_damaged_fields_are_named(changes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"damaged|geometry"):
        opened(made(tmp_path, VALUES.tobytes(), **changes), errors="raise")


def test_a_detached_header_needs_its_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="missing"):
        opened(detached(tmp_path, {}, data_file="gone.raw"), errors="raise")


def test_detached_files_are_written_and_belong_together(tmp_path: Path) -> None:
    image = series()
    done = image.imd.write(str(tmp_path / "a.nhdr"), format_options={"compress": 9})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nhdr", "a.raw.gz"]
    assert done.count == 2
    assert float(abs(image - opened(tmp_path / "a.nhdr")).max()) == 0
    image.imd.write(str(tmp_path / "a.nhdr"), overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nhdr", "a.raw"]
    assert float(abs(image - xr.open_dataarray(str(tmp_path), engine="imagedata")).max()) == 0


def test_simpleitk_reads_a_time_course(tmp_path: Path, require_module: Any) -> None:
    image = series()
    image.imd.write(str(tmp_path / "a.nrrd"))
    _, values = by_sitk(require_module("SimpleITK"), tmp_path / "a.nrrd")
    np.testing.assert_array_equal(values, image.values)
    fields = require_module("nrrd").read_header(str(tmp_path / "a.nrrd"))
    assert fields["spacings"][-1] == 2.5
    assert fields["units"][-1] == "s"
    back = opened(tmp_path / "a.nrrd")
    assert back.tag.attrs["order"] == "time"
