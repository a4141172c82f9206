"""Frames of compressed files: each is found and read without the others, whatever tables the file has."""

from __future__ import annotations

import io
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from encoded import JPEG, Array, encapsulated, extended, fragments, noise, parts, rle, stored_as
from pydicom.uid import RLELossless
from series import Elements, open_image

from imagedata_xr.dicom.pixels import encapsulated as module
from imagedata_xr.errors import ImagedataWarning, SourceError
from imagedata_xr.stores import files

COUNT = 6


def frames_of(n: int = COUNT) -> Array:
    return np.stack([noise(0, 100 + 20 * k, "u1") for k in range(n)])


def jpeg2000(values: Array) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "JPEG2000", irreversible=False, no_jp2=True)
    return stream.getvalue()


def several(values: Array, **more: Any) -> Elements:
    return {**stored_as(values[0], 8), "NumberOfFrames": len(values), **more}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes that were asked for since the test began."""
    sizes: list[int] = []
    true_read = files.read_available

    def counted(files: Any, offsets: Any, lengths: Any) -> Any:
        sizes.extend(lengths)
        return true_read(files, offsets, lengths)

    monkeypatch.setattr(module, "read_available", counted)
    return sizes


@pytest.mark.parametrize("how", ["basic", "extended", "none"])
@pytest.mark.parametrize("pieces", [1, 3])
def test_a_frame_is_read_without_the_others(
    tmp_path: Path, require_module: Any, asked: list[int], how: str, pieces: int
) -> None:
    require_module("PIL")
    if (how, pieces) == ("extended", 3):
        pieces = 1  # such frames have one fragment each (PS3.3 C.7.6.3.1.8)
    values = frames_of()
    frames = [jpeg2000(v) for v in values]
    elements = several(values, **(extended(frames) if how == "extended" else {}))
    encapsulated(tmp_path / "0", elements, [parts(f, pieces) for f in frames], JPEG + "90", table=how == "basic")
    a = open_image(tmp_path)
    assert not asked  # opening reads no frame
    np.testing.assert_array_equal(a.values.reshape(values.shape), values)
    del asked[:]
    again = open_image(tmp_path).isel(tag=3).values[0]
    np.testing.assert_array_equal(again, values[3])
    # the headers of items and, where nothing else parts frames, the first and last bytes of fragments
    assert sum(asked) <= len(frames[3]) + 200 + (26 * COUNT * pieces if how == "none" else 0)


def test_the_places_of_frames_are_found_once(tmp_path: Path, asked: list[int]) -> None:
    values = frames_of()
    encapsulated(tmp_path / "0", several(values), [[rle(v)] for v in values], RLELossless)
    a = open_image(tmp_path)
    a.isel(tag=slice(0, 1)).values  # noqa: B018
    once = len(asked)
    a.isel(tag=slice(1, 2)).values  # noqa: B018
    assert len(asked) == once + 1


def test_a_pickled_image_has_its_frames(tmp_path: Path) -> None:
    values = frames_of()
    encapsulated(tmp_path / "0", several(values), [[rle(v)] for v in values], RLELossless, table=True)
    a = open_image(tmp_path, chunks={})
    a.isel(tag=0).values  # noqa: B018 - what is kept of a file must not travel along
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(a)).values.reshape(values.shape), values)


def test_frames_of_a_remote_file(tmp_path: Path) -> None:
    import fsspec

    values = frames_of()
    path = encapsulated(tmp_path / "0", several(values), [[rle(v)] for v in values], RLELossless)
    fsspec.filesystem("memory").pipe_file("/frames/0", path.read_bytes())
    np.testing.assert_array_equal(open_image("memory://frames/0").values.reshape(values.shape), values)


def test_one_frame_of_many_fragments(tmp_path: Path, require_module: Any) -> None:
    require_module("PIL")
    value = noise(0, 255, "u1")
    encapsulated(tmp_path / "0", stored_as(value, 8), [parts(jpeg2000(value), 12)], JPEG + "90")
    np.testing.assert_array_equal(open_image(tmp_path).values[0, 0], value)


@pytest.mark.parametrize("table", [b"\0" * 4 * COUNT, b"\7\0\0\0" * COUNT, b"\0\0\0\0"])
def test_an_offset_table_that_is_wrong_is_not_believed(tmp_path: Path, table: bytes) -> None:
    values = frames_of()
    path = encapsulated(tmp_path / "0", several(values), [[rle(v)] for v in values], RLELossless)
    data = path.read_bytes()
    empty = b"\xfe\xff\x00\xe0\0\0\0\0"
    at = data.index(empty)
    path.write_bytes(data[: at + 4] + len(table).to_bytes(4, "little") + table + data[at + 8 :])
    np.testing.assert_array_equal(open_image(tmp_path).values.reshape(values.shape), values)


@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize("count", [1, COUNT])
def test_fragments_whose_length_is_said(tmp_path: Path, count: int, table: bool) -> None:
    """Some write the length of all fragments, where it should be undefined, and no delimiter."""
    values = frames_of(count)
    path = encapsulated(tmp_path / "0", several(values), [[rle(v)] for v in values], RLELossless, table=table)
    data = path.read_bytes()
    at = data.index(b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff") + 8
    body = data[at + 4 : -8]
    path.write_bytes(data[:at] + len(body).to_bytes(4, "little") + body)
    np.testing.assert_array_equal(open_image(tmp_path).values.reshape(values.shape), values)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(SourceError, match="bytes of pixel data are there"):
        open_image(tmp_path, errors="raise")


@pytest.mark.parametrize("table", [False, True])
def test_frames_that_are_not_announced_are_named(tmp_path: Path, table: bool) -> None:
    values = frames_of()
    elements = {**several(values), "NumberOfFrames": 1}
    encapsulated(tmp_path / "0", elements, [[rle(v)] for v in values], RLELossless, table=table)
    a = open_image(tmp_path)
    with pytest.warns(ImagedataWarning, match=rf"{tmp_path}.0 announces 1 frames, but its pixel data hold {COUNT}"):
        got = a.values
    np.testing.assert_array_equal(got[0, 0], values[0])


def test_frames_that_are_announced_and_missing(tmp_path: Path) -> None:
    values = frames_of()
    elements = {**several(values), "NumberOfFrames": COUNT + 2}
    encapsulated(tmp_path / "0", elements, [[rle(v)] for v in values], RLELossless)
    with pytest.raises(SourceError, match=rf"{tmp_path}.0 .*hold {COUNT} fragments.* the {COUNT + 2} frames"):
        open_image(tmp_path).load()


def test_native_frames_that_are_not_announced_are_named(tmp_path: Path) -> None:
    from series import image, save

    ds = image(0, 0)
    ds.PixelData = ds.PixelData * 3
    save(ds, tmp_path / "0")
    with pytest.warns(ImagedataWarning, match="1 images announce fewer frames than they hold, .* has 120 bytes"):
        a = open_image(tmp_path)
    assert a.sizes["slice"] == 1
    with pytest.raises(SourceError, match="has 120 bytes of pixel data, but its 1 frames of 4 x 5 need 40"):
        open_image(tmp_path, errors="raise")


def test_fragments_are_made_as_pydicom_reads_them() -> None:
    frames = [b"abcd", b"efghij"]
    for table in (False, True):
        data = fragments([[f] for f in frames], table=table)
        assert list(pydicom.encaps.generate_frames(data, number_of_frames=2)) == frames
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(parts(b"x" * 100, 3)) == 3
