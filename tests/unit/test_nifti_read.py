"""NIfTI reading: values, laziness, damaged files, and which files are ours."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import threading
from pathlib import Path
from typing import Any

import fsspec
import nibabel as nib
import numpy as np
import pytest
from nifti_phantoms import Counting, read, series, write

from imagedata_xr.errors import FormatError, ImagedataWarning, SeriesError, SortError, SourceError
from imagedata_xr.formats.nifti import Nifti, from_nibabel
from imagedata_xr.formats.raw_array import RawArray, exact_cast
from imagedata_xr.formats.seam import ReadOptions
from imagedata_xr.stores.ranges import Gzip, Plain
from imagedata_xr.stores.url import File, find, local


def save(path: Path, data: Any, slope: float = 1, inter: float = 0, kind: Any = nib.Nifti1Image, **header: Any) -> None:
    """Write with nibabel; the axes are those of RAS, which are read without flipping."""
    img = kind(data, np.diag([2.0, 2.0, 3.0, 1.0]))
    img.header.set_slope_inter(slope, inter)
    img.header.set_xyzt_units("mm", "sec")
    for key, value in header.items():
        img.header[key] = value
    nib.save(img, path)


def lazy(path: Path, **options: Any) -> RawArray:
    """The array behind an image that was opened."""
    (node,) = Nifti().read(find(str(path)), ReadOptions(**options))
    array: Any = node.open().image.variable._data
    return array.array.array  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("stored", "values"),
    [
        ("u1", "f4"), ("i1", "f4"), ("i2", "f4"), ("u2", "f4"), ("i4", "f8"), ("u4", "f8"), ("i8", "f8"),
        ("f4", "f4"), ("f8", "f8"), ("c8", "c8"), ("c16", "c16"), (">i2", "f4"), (">f4", "f4"),
    ],
)  # fmt: skip
def test_types(tmp_path: Path, stored: str, values: str) -> None:
    data = np.arange(120).reshape(4, 5, 6).astype(stored)
    img = nib.Nifti1Image(data, np.eye(4), nib.Nifti1Header(endianness=">" if ">" in stored else "<"), dtype=data.dtype)  # type: ignore[no-untyped-call]
    nib.save(img, tmp_path / "a.nii")
    back = read(tmp_path / "a.nii")
    assert back.dtype == np.dtype(values)
    assert back.dims == ("tag", "slice", "row", "col")
    np.testing.assert_array_equal(back.values[0], data.transpose(2, 1, 0))


def test_scaling(tmp_path: Path) -> None:
    data = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    save(tmp_path / "a.nii", data, 0.25, -3)
    raw = nib.load(tmp_path / "a.nii")
    raw.header.set_slope_inter(0.25, -3)  # type: ignore[attr-defined]
    back = read(tmp_path / "a.nii")
    assert back.dtype == np.float32
    np.testing.assert_allclose(back.values[0], np.asarray(raw.dataobj).transpose(2, 1, 0))  # type: ignore[attr-defined]
    stored = read(tmp_path / "a.nii", mask_and_scale=False)
    assert stored.dtype == np.int16
    assert back.encoding["stored_dtype"] == "int16"


@pytest.mark.parametrize("slope", [0.0, np.nan])
def test_no_scaling(tmp_path: Path, slope: float) -> None:
    data = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    save(tmp_path / "a.nii", data)
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[112:120] = np.array([slope, 5], dtype="<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(bytes(content))
    np.testing.assert_array_equal(read(tmp_path / "a.nii").values[0], data.transpose(2, 1, 0))


def test_another_type_must_hold_the_values_exactly(tmp_path: Path) -> None:
    save(tmp_path / "a.nii", np.full((2, 2, 2), 300, dtype=np.int16))
    assert read(tmp_path / "a.nii", dtype="uint16").dtype == np.uint16
    with pytest.raises(FormatError, match="do not fit uint8"):
        _ = read(tmp_path / "a.nii", dtype="uint8").values


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1.5], "i4"),
        ([np.nan], "i4"),
        ([2.0**53], "i4"),
        ([0.1], "f4"),
        ([1 + 1j], "f8"),
        ([1e300], "f4"),
        ([-1.0], "u2"),
    ],
)
def test_exact_cast_refuses(values: list[Any], dtype: str) -> None:
    with pytest.raises(FormatError, match="do not fit"):
        exact_cast(np.array(values), np.dtype(dtype))


def test_exact_cast_refuses_long_integers_as_floats() -> None:
    with pytest.raises(FormatError, match="do not fit"):
        exact_cast(np.array([2**53 + 1]), np.dtype("f8"))


def test_exact_cast_keeps_what_fits() -> None:
    assert np.isnan(exact_cast(np.array([np.nan, 1.0]), np.dtype("f4"))[0])
    assert exact_cast(np.array([3 + 0j]), np.dtype("i2")).tolist() == [3]


def test_colour(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (4, 5, 6, 3), dtype=np.uint8)
    save(tmp_path / "a.nii", np.ascontiguousarray(rgb).view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0])
    back = read(tmp_path / "a.nii")
    assert back.dims == ("tag", "slice", "row", "col", "rgb")
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back.values[0], rgb.transpose(2, 1, 0, 3))
    np.testing.assert_array_equal(back.isel(rgb=1, row=slice(1, 3)).values[0], rgb.transpose(2, 1, 0, 3)[:, 1:3, :, 1])


def test_nifti2_and_pairs(tmp_path: Path) -> None:
    data = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    save(tmp_path / "two.nii", data, kind=nib.Nifti2Image)
    save(tmp_path / "pair.hdr", data, kind=nib.Nifti1Pair)
    for name in ("two.nii", "pair.hdr"):
        np.testing.assert_array_equal(read(tmp_path / name).values[0], data.transpose(2, 1, 0))
    (tmp_path / "pair.img").unlink()
    with pytest.raises(SourceError, match="missing"):
        read(tmp_path / "pair.hdr")


def test_two_dimensional_file(tmp_path: Path) -> None:
    save(tmp_path / "a.nii", np.arange(6, dtype=np.int16).reshape(2, 3))
    assert read(tmp_path / "a.nii").shape == (1, 1, 3, 2)


# --- laziness -----------------------------------------------------------------------------------------------------

KEYS: list[tuple[Any, ...]] = [
    (slice(None), slice(None), slice(None), slice(None)),
    (1, slice(None), slice(None), slice(None)),
    (slice(0, 4, 2), 2, slice(1, 4), slice(None, None, 2)),
    (slice(None), 0, 3, 4),
    (np.array([3, 0, 0]), np.array([2, 1]), slice(None), np.array([4, 0])),
    (slice(2, 2), slice(None), slice(None), slice(None)),
    (slice(None), slice(None), np.array([3, 1]), 0),
    (np.array([], dtype=int), 1, slice(None), slice(None)),
]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("key", KEYS, ids=str)
def test_any_part_equals_that_part_of_the_whole(tmp_path: Path, suffix: str, flip: bool, key: tuple[Any, ...]) -> None:
    if flip:
        write(series(), tmp_path / f"a{suffix}")
    else:
        save(tmp_path / f"a{suffix}", np.random.default_rng(1).normal(size=(5, 4, 3, 4)).astype("f4"))
    array = lazy(tmp_path / f"a{suffix}", order="none")
    assert array.flip_rows == flip
    whole = array.read(KEYS[0])
    expected = whole
    for axis, k in reversed(list(enumerate(key))):
        expected = expected[(slice(None),) * axis + (k,)]
    np.testing.assert_array_equal(array.read(key), expected)


def counted(path: Path) -> tuple[Any, Counting]:
    fs = Counting()
    return read(File(fs, str(path)), order="none"), fs


def test_one_slice_reads_that_slice_only(tmp_path: Path) -> None:
    write(series(shape=(8, 32, 64)), tmp_path / "a.nii")
    image, fs = counted(tmp_path / "a.nii")
    assert 0 < fs.bytes < 3000  # header and sidecar
    fs.bytes = 0
    image.isel(tag=1, slice=3).load()
    assert fs.bytes == 32 * 64 * 2
    fs.bytes = 0
    image.isel(slice=3, row=slice(4, 8)).load()
    assert fs.bytes == 4 * 4 * 64 * 2
    fs.bytes = 0
    assert image.isel(tag=2).shape == (8, 32, 64)
    assert fs.bytes == 0


def test_an_opened_array_is_pickled_without_data(tmp_path: Path) -> None:
    for suffix in (".nii", ".nii.gz"):
        write(series(shape=(8, 32, 64)), tmp_path / f"b{suffix}", format_options={"sidecars": False})
        array = lazy(tmp_path / f"b{suffix}")
        whole = array.read(KEYS[0])
        text = pickle.dumps(array)
        assert len(text) < 5000
        np.testing.assert_array_equal(pickle.loads(text).read(KEYS[0]), whole)


def test_chunks_and_threads(tmp_path: Path) -> None:
    image = series(values=np.arange(12.0), shape=(8, 32, 64))
    write(image, tmp_path / "a.nii.gz")
    back = read(tmp_path / "a.nii.gz")
    assert back.encoding["preferred_chunks"] == {"tag": 1, "slice": 8, "row": 32, "col": 64}
    chunked = back.chunk(tag=1)
    np.testing.assert_array_equal(chunked.data.compute(scheduler="threads", num_workers=4), image.values)


def test_gzip_resumes_where_it_was(tmp_path: Path) -> None:
    content = np.random.default_rng(0).integers(0, 50, 40 << 20, dtype=np.uint8).tobytes()
    half = len(content) // 2
    # two members, as bgzip and concatenation make them
    (tmp_path / "a.gz").write_bytes(
        gzip.compress(content[:half], 1) + bytes(512) + gzip.compress(content[half:], 1) + bytes(512)
    )
    opened: list[int] = []

    class Watched(Counting):
        def open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
            class Seen(io.FileIO):
                def seek(self, at: int, whence: int = 0) -> int:
                    opened.append(at)
                    return super().seek(at, whence)

            return Seen(path)

    reader = Gzip(File(Watched(), str(tmp_path / "a.gz")), len(content))
    offsets, lengths = [30 << 20, 5, 39 << 20], [1000, 10, 1 << 20]
    expected = [content[o : o + n] for o, n in zip(offsets, lengths, strict=True)]
    assert [bytes(x) for x in reader.read(offsets, lengths)] == expected
    assert opened[-1] == 0
    assert bytes(reader.read([35 << 20], [7])[0]) == content[35 << 20 : (35 << 20) + 7]
    assert opened[-1] > (half // 2)
    results: list[bytes] = []
    threads = [
        threading.Thread(target=lambda k=k: results.append(bytes(reader.read([k << 20], [3])[0]) + bytes([k])))
        for k in range(0, 40, 5)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(results) == sorted(content[k << 20 : (k << 20) + 3] + bytes([k]) for k in range(0, 40, 5))


def test_checksum_is_tested_although_all_bytes_are_there(tmp_path: Path) -> None:
    # the checksum begins where a block of input ends, so that all content is there before it is seen
    content = next(c for n in range(260_000, 262_144) if len(gzip.compress(c := bytes(n), 0)) == (1 << 18) + 8)
    packed = bytearray(gzip.compress(content, 0))
    packed[-8] ^= 1
    (tmp_path / "a.gz").write_bytes(bytes(packed))
    file = File(local(), str(tmp_path / "a.gz"))
    assert bytes(Gzip(file, len(content)).read([0], [100])[0]) == content[:100]
    with pytest.raises(SourceError, match="damaged"):
        Gzip(file, len(content)).read([len(content) - 1], [1])


def test_other_filesystems(tmp_path: Path) -> None:
    image = series()
    write(image, tmp_path / "a.nii.gz")
    write(image, tmp_path / "b.nii")
    fs = fsspec.filesystem("memory")
    try:
        for name in ("a.nii.gz", "b.nii", "a.json"):
            fs.pipe_file(f"/nifti/{name}", (tmp_path / name).read_bytes())
        for name in ("a.nii.gz", "b.nii"):
            np.testing.assert_array_equal(read(f"memory://nifti/{name}").values, image.values)
        assert read("memory://nifti/a.nii.gz").tag.attrs["order"] == "time"
    finally:
        fs.rm("/nifti", recursive=True)


# --- damaged files, several files ---------------------------------------------------------------------------------


def test_truncated_file_is_refused_when_opened(tmp_path: Path) -> None:
    write(series(), tmp_path / "a.nii")
    content = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "a.nii").write_bytes(content[:-1])
    with pytest.raises(SourceError, match="truncated"):
        read(tmp_path / "a.nii")
    (tmp_path / "a.nii").write_bytes(content[:100])
    with pytest.raises(SourceError, match="no NIfTI header"):
        read(tmp_path / "a.nii")


@pytest.mark.parametrize("damage", ["cut", "bits", "checksum"])
def test_damaged_gzip_is_refused_when_read(tmp_path: Path, damage: str) -> None:
    write(series(shape=(8, 32, 64)), tmp_path / "a.nii.gz")
    content = bytearray((tmp_path / "a.nii.gz").read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "bits":
        middle = len(content) // 2
        content[middle : middle + 64] = bytes(64)
    else:
        content[-8:-4] = bytes(4)
    (tmp_path / "a.nii.gz").write_bytes(bytes(content))
    with pytest.raises(SourceError, match=r"damaged|truncated"):
        _ = read(tmp_path / "a.nii.gz").values


@pytest.mark.parametrize(
    ("at", "content"),
    [(40, b"\x09\0"), (42, b"\xff\xff"), (70, b"\x39\x30"), (116, b"\0\0\x80\x7f"), (108, b"\0\0\xc0\x7f")],
)
def test_damaged_header(tmp_path: Path, at: int, content: bytes) -> None:
    write(series(), tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[at : at + len(content)] = content
    (tmp_path / "a.nii").write_bytes(bytes(raw))
    with pytest.raises(SourceError, match=r"damaged|unknown data type"):
        read(tmp_path / "a.nii")


LENGTHS = {
    "a.nii": struct.pack("<8h", 5, 32767, 32767, 32767, 32767, 2, 1, 1),
    "a.nii.gz": struct.pack("<8h", 4, 5, 4, 3, 32767, 1, 1, 1),
}


@pytest.mark.parametrize("name", LENGTHS)
def test_lengths_that_no_file_could_hold(name: str, tmp_path: Path) -> None:
    write(series(), tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[40:56] = LENGTHS[name]
    (tmp_path / name).write_bytes(gzip.compress(bytes(raw)) if name.endswith("gz") else bytes(raw))
    with pytest.raises(SourceError, match="truncated"):
        read(tmp_path / name, order="time,te")


def test_axes_that_no_memory_could_hold(tmp_path: Path) -> None:
    save(tmp_path / "a.nii", np.zeros((5, 4, 3), "i2"), kind=nib.Nifti2Image)
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[16:48] = struct.pack("<4q", 3, 2**40, 2**40, 2**40)
    (tmp_path / "a.nii").write_bytes(bytes(raw))
    with pytest.raises(SourceError, match="truncated"):
        read(tmp_path / "a.nii")


def test_damaged_ones_among_good_ones(tmp_path: Path) -> None:
    write(series(), tmp_path / "a.nii")
    (tmp_path / "b.nii").write_bytes(b"nothing of ours" * 40)
    files = find(str(tmp_path))
    with pytest.warns(ImagedataWarning, match=r"b\.nii"):
        assert len(Nifti().read(files, ReadOptions())) == 1
    with pytest.raises(SourceError, match=r"b\.nii"):
        Nifti().read(files, ReadOptions(errors="raise"))


def test_which_files_are_ours(tmp_path: Path) -> None:
    write(series((1, 2), order="te", units="ms"), tmp_path / "a.nii.gz")
    write(series(), tmp_path / "b.nii", format_options={"sidecars": False})
    save(tmp_path / "c.hdr", np.zeros((2, 2, 2), dtype=np.int16), kind=nib.Nifti1Pair)
    (tmp_path / "d.hdr").write_bytes(bytes(348))  # Analyze has no magic
    (tmp_path / "e.json").write_text("{}")
    (tmp_path / "f.nii").write_bytes(bytes(128) + b"DICM" + bytes(400))
    names = [Path(f.path).name for f in Nifti().recognise(find(str(tmp_path)))]
    assert names == ["a.json", "a.nii.gz", "b.nii", "c.hdr", "c.img"]


def test_series_selects(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    for name in ("a.nii", "b.nii", "x/b.nii"):
        write(series(), tmp_path / name, format_options={"sidecars": False})
    files = find(str(tmp_path))
    nodes = Nifti().read(files, ReadOptions())
    assert [n.select for n in nodes] == ["series='a'", "series=1", "series=2"]
    assert len(Nifti().read(files, ReadOptions(series="a"))) == 1
    assert len(Nifti().read(files, ReadOptions(series=2))) == 1
    with pytest.raises(SeriesError, match="'a'"):
        Nifti().read(files, ReadOptions(series="z"))


# --- further axes -------------------------------------------------------------------------------------------------


def test_fifth_axis_needs_names(tmp_path: Path) -> None:
    data = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 6)).astype("f4")
    save(tmp_path / "a.nii", data)
    with pytest.raises(FormatError, match="none,none"):
        read(tmp_path / "a.nii")
    back = read(tmp_path / "a.nii", order="none,none")
    assert back.dims[:2] == ("volume", "volume2")
    np.testing.assert_array_equal(back.values, data.transpose(3, 4, 2, 1, 0))
    np.testing.assert_array_equal(back.isel(volume=2, volume2=[5, 1]).values, data.transpose(3, 4, 2, 1, 0)[2, [5, 1]])
    with pytest.raises(SortError, match="axes of volumes"):
        read(tmp_path / "a.nii", order="none,none,none")


def test_vector_without_time_is_one_dim(tmp_path: Path) -> None:
    data = np.random.default_rng(0).normal(size=(2, 3, 4, 1, 3)).astype("f4")
    save(tmp_path / "a.nii", data, intent_code=1007)
    np.testing.assert_array_equal(read(tmp_path / "a.nii", order="none").values, data[:, :, :, 0].transpose(3, 2, 1, 0))


def test_from_nibabel(tmp_path: Path) -> None:
    image = series()
    write(image, tmp_path / "a.nii.gz")
    img: Any = nib.load(tmp_path / "a.nii.gz")
    back = from_nibabel(img).image
    assert not img.in_memory
    np.testing.assert_array_equal(back.values, image.values)
    np.testing.assert_array_equal(
        back.isel(tag=[2, 0], row=1, col=slice(1, 4)), image.isel(tag=[2, 0], row=1, col=slice(1, 4))
    )
    np.testing.assert_allclose(back["tag"], image["tag"])
    assert float(abs(back - image).max()) == 0
    with pytest.raises(FormatError, match="from_image"):
        from_nibabel(nib.MGHImage(np.zeros((2, 2, 2), dtype=np.float32), np.eye(4)))  # type: ignore[no-untyped-call]


def test_ranges_of_a_plain_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    reader = Plain(File(local(), str(tmp_path / "a")))
    assert [bytes(x) for x in reader.read([2, 0], [3, 1])] == [b"234", b"0"]
    with pytest.raises(SourceError, match="from byte 8"):
        reader.read([8], [3])
