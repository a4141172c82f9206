"""MAT files: what scipy and Octave write is read, and what is written they read."""

from __future__ import annotations

import struct
import subprocess
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.sparse
import xarray as xr
from nifti_phantoms import OBLIQUE, coordinates, series

import imagedata_xr  # noqa: F401  # registers .imd
from imagedata_xr.errors import FormatError, ImagedataWarning, SourceError
from imagedata_xr.formats import mat, mat_scan
from imagedata_xr.stores.url import find

VALUES = np.arange(60, dtype="i2").reshape(4, 5, 3)  # row, column, slice
VERSIONS = ["5", "7", "7.3"]
FLAGS = {"4": "-v4", "5": "-v6", "7": "-v7"}  # what Octave calls them


def opened(path: Path, **options: Any) -> xr.DataArray:
    """Image of a file."""
    return xr.open_dataarray(str(path), engine="imagedata", **options)


def octave(program: Path, script: str) -> str:
    """Output of a script."""
    done = subprocess.run(
        [str(program), "--no-gui", "--norc", "--eval", script], check=True, capture_output=True, text=True, timeout=120
    )
    return done.stdout


@pytest.mark.parametrize("version", ["4", "5", "7"])
def test_octave_writes_what_we_read(version: str, tmp_path: Path, require_program: Any) -> None:
    path = tmp_path / "a.mat"
    shape = "3, 4" if version == "4" else "3, 4, 2, 5"
    names = {"double": "f8"}  # Octave writes nothing else in version 4
    if version != "4":
        names |= {
            n: np.dtype(n).str for n in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
        }
        names |= {"single": "f4", "logical": "u1"}
    count = np.prod([int(n) for n in shape.split(",")])
    lines = [f"x = reshape(0:{count - 1}, {shape});", "z = complex(x, 2 * x);", "t = 'text'; c = 5;"]
    lines += [f"v_{n} = {n}(x {'> 3' if n == 'logical' else ''});" for n in names]
    octave(require_program("octave-cli"), " ".join(lines) + f" save('{FLAGS[version]}', '{path}');")
    want = np.arange(count).reshape([int(n) for n in shape.split(",")], order="F")
    want = want.reshape((3, 4, -1, 1 if version == "4" else 5), order="F").transpose(3, 2, 0, 1)
    for name, dtype in names.items():
        image = opened(path, format_options={"variable": f"v_{name}"})
        assert image.encoding["stored_dtype"] == np.dtype(dtype)
        np.testing.assert_array_equal(image.values, want > 3 if name == "logical" else want)
    np.testing.assert_array_equal(opened(path, format_options={"variable": "z"}).values, want * (1 + 2j))
    with pytest.raises(FormatError, match=r"z: 3 x 4.*variable"):
        opened(path)
    with pytest.raises(FormatError, match="no array of numbers"):
        opened(path, format_options={"variable": "t"})
    with pytest.raises(FormatError, match="no variable 'q'"):
        opened(path, format_options={"variable": "q"})


@pytest.mark.parametrize("version", ["4", *VERSIONS])
def test_octave_reads_what_we_write(version: str, tmp_path: Path, require_program: Any, require_module: Any) -> None:
    if version == "7.3":
        require_module("h5py")
    n = 1 if version == "4" else 4
    image = series(values=np.arange(n) * 2.5, shape=(1, 4, 5) if version == "4" else (3, 4, 5), direction=OBLIQUE)
    image = image.assign_coords(b_value=("tag", np.arange(n) * 100.0))
    path = tmp_path / "a.mat"
    image.imd.write(str(path), format_options={"version": version})
    script = (
        f"s = load('{path}'); printf('%s %d\\n', class(s.A), ndims(s.A)); printf('%g ', size(s.A)); "
        "printf('\\n'); printf('%g ', double(s.A)); printf('\\n');"
    )
    if version != "4":
        script += (
            "printf('%.17g ', s.imagedata_xr.affine'); printf('\\n'); printf('%g ', s.imagedata_xr.labels.time); "
            "printf('\\n'); printf('%g ', s.imagedata_xr.labels.b_value); printf('\\n%s %s %s\\n', "
            "s.imagedata_xr.dims, s.imagedata_xr.order, s.imagedata_xr.frame); printf('%.17g ', "
            "s.imagedata_xr.spacing, s.imagedata_xr.orientation);"
        )
    lines = octave(require_program("octave-cli"), script).splitlines()
    assert lines[0].split()[0] == ("int16" if version != "4" else lines[0].split()[0])
    numbers = np.array(lines[2].split(), dtype=float)
    np.testing.assert_array_equal(numbers, image.values.transpose(2, 3, 1, 0).ravel(order="F"))
    if version != "4":
        affine = np.array(lines[3].split(), dtype=float).reshape(4, 4)
        np.testing.assert_allclose(affine[:, [2, 0, 1, 3]], image.imd.affine, atol=1e-12)
        assert lines[4].split() == ["0", "2.5", "5", "7.5"]
        assert lines[5].split() == ["0", "100", "200", "300"]
        assert lines[6] == "row,col,slice,volume time LPS"
        rest = np.array(lines[7].split(), dtype=float)
        np.testing.assert_allclose(rest[3:].reshape(3, 3, order="F") * rest[:3], affine[:3, :3], atol=1e-12)
    np.testing.assert_array_equal(opened(path).values, image.values)
    assert float(abs(opened(path) - image).max()) == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_logical_and_complex_stay_so(version: str, tmp_path: Path, require_program: Any, require_module: Any) -> None:
    require_module("h5py")
    image = series(stored=None)
    script = ""
    wide = image.values.astype("c16") * (1 + 2j)
    for name, data in {"b": image.values > 500, "z": wide, "c": wide.astype("c8")}.items():
        path = tmp_path / f"{name}.mat"
        image.copy(data=data).imd.write(str(path), format_options={"version": version})
        script += f"s = load('{path}'); printf('%s %d %g ', class(s.A), iscomplex(s.A), sum(s.A(:) != 0)); "
    words = octave(require_program("octave-cli"), script).split()
    # Octave does not look at the classes of version 7.3, which MATLAB does
    assert words[:2] == ["uint8" if version == "7.3" else "logical", "0"]
    assert words[3:5] == ["double", "1"]
    assert words[6:8] == ["double" if version == "7.3" else "single", "1"]
    assert float(words[2]) == (image.values > 500).sum()
    if version == "7.3":
        with require_module("h5py").File(tmp_path / "b.mat") as f:
            assert f["A"].attrs["MATLAB_class"] == b"logical"
            assert f["A"].attrs["MATLAB_int_decode"] == 1


def test_a_mat_file_of_the_predecessor(tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 999, (3, 2, 4, 5), dtype=np.int16)  # tag, slice, row, column
    scipy.io.savemat(tmp_path / "Image.mat", {"A": data.transpose(2, 3, 1, 0)})
    image = opened(tmp_path / "Image.mat")
    np.testing.assert_array_equal(image.values, data)
    assert "geometry" not in image.coords
    assert image.tag.attrs["order"] == "none"


def test_the_only_array_that_can_be_an_image_is_taken(tmp_path: Path) -> None:
    data = np.arange(24.0).reshape(2, 3, 4)
    content = {
        "im": data,
        "TR": 2.5,
        "spacing": [1.0, 1.0, 2.0],
        "who": "nobody",
        "s": {"x": data},
        "e": np.zeros((0, 3)),
    }
    scipy.io.savemat(tmp_path / "a.mat", content)
    np.testing.assert_array_equal(opened(tmp_path / "a.mat").values[0], data.transpose(2, 0, 1))
    scipy.io.savemat(tmp_path / "b.mat", {"im": data, "mask": data > 3})
    with pytest.raises(FormatError, match=r"2 arrays.*im: 2 x 3 x 4 float64.*mask: 2 x 3 x 4"):
        opened(tmp_path / "b.mat")
    scipy.io.savemat(tmp_path / "c.mat", {"who": "nobody"})
    with pytest.raises(FormatError, match="no array of numbers"):
        opened(tmp_path / "c.mat")


def test_five_axes_need_names(tmp_path: Path) -> None:
    data = np.arange(2 * 3 * 4 * 5 * 6.0).reshape(2, 3, 4, 5, 6)
    scipy.io.savemat(tmp_path / "a.mat", {"x": data})
    image = opened(tmp_path / "a.mat", order="none,none")
    np.testing.assert_array_equal(image.values, data.transpose(3, 4, 2, 0, 1))


def test_an_array_that_was_cropped_elsewhere_loses_its_place(tmp_path: Path) -> None:
    coordinates().imd.write(str(tmp_path / "a.mat"))
    content = scipy.io.loadmat(tmp_path / "a.mat", struct_as_record=True)
    cropped = {"A": content["A"][1:], "imagedata_xr": content["imagedata_xr"]}
    scipy.io.savemat(tmp_path / "b.mat", cropped)
    with pytest.warns(ImagedataWarning, match="not known any more"):
        image = opened(tmp_path / "b.mat")
    assert "geometry" not in image.coords
    np.testing.assert_array_equal(image.values, coordinates().values[:, :, 1:])


def test_a_place_that_was_changed_elsewhere_is_taken(tmp_path: Path) -> None:
    coordinates().imd.write(str(tmp_path / "a.mat"))
    content = scipy.io.loadmat(tmp_path / "a.mat", struct_as_record=True)
    content["imagedata_xr"]["affine"][0, 0][:3, 3] += 10
    scipy.io.savemat(tmp_path / "b.mat", {k: content[k] for k in ("A", "imagedata_xr")})
    np.testing.assert_allclose(opened(tmp_path / "b.mat").imd.affine[:3, 3], coordinates().imd.affine[:3, 3] + 10)


@pytest.mark.parametrize("version", ["5", "7"])
def test_two_gib_are_the_limit(version: str, tmp_path: Path) -> None:
    dask_array = pytest.importorskip("dask.array")
    image = series(stored=None)
    big = dask_array.zeros((4, 3, 14000, 14000), dtype="f4", chunks=(1, 1, 14000, 14000))
    grown = xr.DataArray(big, dims=image.dims, coords={n: image[n] for n in ("tag", "slice")})
    grown = grown.assign_coords(row=np.arange(14000.0), col=np.arange(14000.0), geometry=image["geometry"])
    with pytest.raises(FormatError, match=r"less than 2 GiB.*7\.3"):
        grown.imd.write(str(tmp_path / "a.mat"), format_options={"version": version})
    assert not list(tmp_path.iterdir())


def test_version_4_holds_one_slice(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="one slice"):
        series().imd.write(str(tmp_path / "a.mat"), format_options={"version": 4})
    with pytest.raises(FormatError, match="none of"):
        series().imd.write(str(tmp_path / "a.mat"), format_options={"version": 6})


def test_a_part_of_version_7_3_is_read_alone(
    tmp_path: Path, require_module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    h5py = require_module("h5py")
    series().imd.write(str(tmp_path / "a.mat"), format_options={"version": "7.3", "compress": True})
    image = opened(tmp_path / "a.mat")
    asked: list[Any] = []
    get = h5py.Dataset.__getitem__

    def spy(self: Any, key: Any, **more: Any) -> Any:
        asked.append(key)
        return get(self, key, **more)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", spy)
    part = image.isel(tag=2, slice=1, row=slice(1, 3)).values
    assert asked == [(2, slice(1, 2), slice(0, 5), slice(1, 3))]
    np.testing.assert_array_equal(part, series().values[2, 1, 1:3])


@pytest.mark.parametrize("rgb", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
def test_one_volume(version: str, rgb: bool, tmp_path: Path, require_module: Any) -> None:
    require_module("h5py")
    image = series(stored=None).isel(tag=[0])
    if rgb:
        data = np.random.default_rng(0).integers(0, 255, (*image.shape, 3), dtype=np.uint8)
        image = xr.DataArray(data, dims=(*image.dims, "rgb"), coords=image.coords)
    image.imd.write(str(tmp_path / "a.mat"), format_options={"version": version})
    back = opened(tmp_path / "a.mat")
    np.testing.assert_array_equal(back.values, image.values)


def test_what_lies_beside_an_image_of_spm_is_none(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"M": np.eye(4), "mat": np.eye(4)})
    assert mat.Mat().recognise(find(str(tmp_path))) == []


def test_variables_are_listed_without_being_read(tmp_path: Path) -> None:
    content = {
        "a": np.zeros((3, 4, 2), "i2"), "z": np.zeros((2, 2), "c16"), "s": {"x": 1.0}, "t": "abc",
        "l": np.ones((2, 3), bool), "a_name_of_some_length": np.zeros((1, 5), "f4"),
        "c": np.array([[1], ["x"]], dtype=object),
    }  # fmt: skip
    for packed in (False, True):
        scipy.io.savemat(tmp_path / "a.mat", content, do_compression=packed)
        (file,) = find(str(tmp_path / "a.mat"))
        assert {v.name: (v.shape, v.kind) for v in mat_scan.variables(file, "5")} == {
            "a": ((3, 4, 2), "int16"), "z": ((2, 2), "complex float64"), "s": ((1, 1), "struct"),
            "t": ((1, 3), "char"), "l": ((2, 3), "logical"), "a_name_of_some_length": ((1, 5), "float32"),
            "c": ((2, 1), "cell"),
        }  # fmt: skip


def element(kind: int, data: bytes) -> bytes:
    """An element of a file of version 5."""
    return struct.pack("<2I", kind, len(data)) + data + bytes(-len(data) % 8)


@pytest.mark.parametrize("name", ["s", "str", "table5", "a_longer_name"])
def test_texts_and_tables_of_matlab_beside_an_array(name: str, tmp_path: Path) -> None:
    # their first element is the name: the standard has no word for them, scipy leaves them out
    opaque = element(6, struct.pack("<2I", 17, 0)) + element(1, name.encode()) + element(1, b"MCOS")
    opaque += element(1, b"string")
    scipy.io.savemat(tmp_path / "a.mat", {"B": VALUES})
    content = (tmp_path / "a.mat").read_bytes()
    (tmp_path / "a.mat").write_bytes(content[:128] + element(14, opaque) + content[128:])
    np.testing.assert_array_equal(opened(tmp_path / "a.mat").values[0], VALUES.transpose(2, 0, 1))


@pytest.mark.parametrize("kind", [8, 14, 42, 65000])
@pytest.mark.parametrize("version", ["5", "7"])
def test_numbers_of_an_unknown_type_are_our_error(kind: int, version: str, tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"B": VALUES})
    content = (tmp_path / "a.mat").read_bytes()
    tag = struct.pack("<2I", 3, VALUES.nbytes)
    assert content.count(tag) == 1
    matrix = content[128:].replace(tag, struct.pack("<2I", kind, VALUES.nbytes))
    (tmp_path / "a.mat").write_bytes(content[:128] + (_packed(matrix) if version == "7" else matrix))
    with pytest.raises(SourceError, match="unknown type"):  # scipy ends the process
        opened(tmp_path / "a.mat", errors="raise").load()


def test_sparse_arrays_are_none_that_could_be_an_image(tmp_path: Path) -> None:
    mask = scipy.sparse.csc_matrix(np.eye(3) > 0)
    scipy.io.savemat(tmp_path / "a.mat", {"B": VALUES, "mask": mask})
    np.testing.assert_array_equal(opened(tmp_path / "a.mat").values[0], VALUES.transpose(2, 0, 1))
    with pytest.raises(FormatError, match="mask: 3 x 3 sparse"):
        opened(tmp_path / "a.mat", format_options={"variable": "mask"})


def test_what_else_is_in_a_file_of_version_7_3(tmp_path: Path, require_module: Any) -> None:
    h5py = require_module("h5py")
    data = np.array([[complex(1, np.inf), complex(2, np.nan)], [complex(np.inf, 3), 4 + 5j]])
    parts = np.dtype([("real", "f8"), ("imag", "f8")])
    with h5py.File(tmp_path / "a.mat", "w") as f:
        f.create_dataset("B", data=np.ascontiguousarray(data.T).view(parts)).attrs["MATLAB_class"] = np.bytes_("double")
        text = f.create_dataset("text", data=np.ones((2, 6), "u4"))
        text.attrs["MATLAB_class"], text.attrs["MATLAB_object_decode"] = np.bytes_("string"), np.int32(3)
        f.create_group("mask").attrs["MATLAB_sparse"] = np.uint64(3)
    np.testing.assert_array_equal(opened(tmp_path / "a.mat").values[0, 0], data)
    with pytest.raises(FormatError, match=r"B: 2 x 2 complex double; mask: 1 x 1 sparse; text: 6 x 2 string"):
        opened(tmp_path / "a.mat", format_options={"variable": "text"})


@pytest.mark.parametrize("packed", [False, True])
def test_a_shape_that_no_file_could_hold(packed: bool, tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"B": VALUES})
    content = (tmp_path / "a.mat").read_bytes()
    said = struct.pack("<3i", *VALUES.shape)
    assert content.count(said) == 1
    matrix = content[128:].replace(said, struct.pack("<3i", 2**31 - 1, 2**31 - 1, 3))
    (tmp_path / "a.mat").write_bytes(content[:128] + (_packed(matrix) if packed else matrix))
    with pytest.raises(SourceError, match="does not fit"):
        opened(tmp_path / "a.mat", errors="raise")


def _packed(matrix: bytes) -> bytes:
    data = zlib.compress(matrix)
    return struct.pack("<2I", 15, len(data)) + data


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0 MAT-file".ljust(128), bytes(200), b"hello world, no file"])
def test_other_files_are_our_errors(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(SourceError):
        opened(tmp_path / "a.mat", errors="raise")
