"""MetaIO as other programs write it; SimpleITK says where the voxels are."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from format_conformance import by_sitk
from nifti_phantoms import OBLIQUE, SHEARED, axes, coordinates, positions, series

import imagedata_xr  # noqa: F401  # registers .imd
from imagedata_xr.errors import FormatError, ImagedataWarning, SortError, SourceError
from imagedata_xr.model.image import Volumes, build
from imagedata_xr.model.indexes import Space

VALUES = np.arange(60, dtype="<i2").reshape(3, 4, 5)
PLACE = {"TransformMatrix": "0.6 0.8 0 -0.8 0.6 0 0 0 1", "Offset": "-10.5 20 33", "ElementSpacing": "0.75 1.25 3"}


def text(**changes: Any) -> bytes:
    """Header of the volume; None leaves a field out."""
    fields = {
        "ObjectType": "Image", "NDims": 3, "BinaryData": True, "BinaryDataByteOrderMSB": False, **PLACE,
        "DimSize": "5 4 3", "ElementType": "MET_SHORT", "ElementDataFile": "LOCAL",
    }  # fmt: skip
    last = changes.pop("ElementDataFile", "LOCAL")
    fields = {**fields, **changes}
    del fields["ElementDataFile"]
    lines = [f"{k} = {v}" for k, v in fields.items() if v is not None]
    return ("\n".join([*lines, f"ElementDataFile = {last}"]) + "\n").encode()


def opened(path: Path, **options: Any) -> xr.DataArray:
    """Image of a file."""
    return xr.open_dataarray(str(path), engine="imagedata", **options)


def plain(folder: Path) -> Path:
    (folder / "a.mha").write_bytes(text() + VALUES.tobytes())
    return folder / "a.mha"


def big_endian(folder: Path) -> Path:
    (folder / "a.mha").write_bytes(text(BinaryDataByteOrderMSB=True) + VALUES.astype(">i2").tobytes())
    return folder / "a.mha"


def element_msb(folder: Path) -> Path:
    fields = text(BinaryDataByteOrderMSB=None, ElementByteOrderMSB=True)
    (folder / "a.mha").write_bytes(fields + VALUES.astype(">i2").tobytes())
    return folder / "a.mha"


def packed(folder: Path) -> Path:
    data = zlib.compress(VALUES.tobytes())
    (folder / "a.mha").write_bytes(text(CompressedData=True, CompressedDataSize=len(data)) + data)
    return folder / "a.mha"


def packed_without_size(folder: Path) -> Path:
    (folder / "v.zraw").write_bytes(zlib.compress(VALUES.tobytes()))
    (folder / "a.mhd").write_bytes(text(CompressedData=True, ElementDataFile="v.zraw"))
    return folder / "a.mhd"


def packed_inside_without_size(folder: Path) -> Path:
    (folder / "a.mha").write_bytes(text(CompressedData=True) + zlib.compress(VALUES.tobytes()))
    return folder / "a.mha"


def beside(folder: Path) -> Path:
    (folder / "v.raw").write_bytes(VALUES.tobytes())
    (folder / "a.mhd").write_bytes(text(ElementDataFile="v.raw"))
    return folder / "a.mhd"


def packed_beside(folder: Path) -> Path:
    data = zlib.compress(VALUES.tobytes())
    (folder / "v.zraw").write_bytes(data)
    (folder / "a.mhd").write_bytes(text(CompressedData=True, CompressedDataSize=len(data), ElementDataFile="v.zraw"))
    return folder / "a.mhd"


def after_a_header(folder: Path) -> Path:
    (folder / "v.raw").write_bytes(b"x" * 17 + VALUES.tobytes())
    (folder / "a.mhd").write_bytes(text(HeaderSize=17, ElementDataFile="v.raw"))
    return folder / "a.mhd"


def at_the_end(folder: Path) -> Path:
    (folder / "v.raw").write_bytes(b"x" * 23 + VALUES.tobytes())
    (folder / "a.mhd").write_bytes(text(HeaderSize=-1, ElementDataFile="v.raw"))
    return folder / "a.mhd"


def listed(folder: Path) -> Path:
    names = [f"part {k}.raw" for k in range(3)]
    for name, plane in zip(names, VALUES, strict=True):
        (folder / name).write_bytes(plane.tobytes())
    (folder / "a.mhd").write_bytes(text(ElementDataFile="LIST") + "\n".join(names).encode() + b"\n")
    return folder / "a.mhd"


def by_pattern(folder: Path) -> Path:
    for k, plane in enumerate(VALUES):
        (folder / f"s{k:02d}.raw").write_bytes(plane.tobytes())
    (folder / "a.mhd").write_bytes(text(ElementDataFile="s%02d.raw 0 2 1"))
    return folder / "a.mhd"


def synonyms(folder: Path) -> Path:
    fields = text(TransformMatrix=None, Offset=None, Orientation=PLACE["TransformMatrix"], Position=PLACE["Offset"])
    (folder / "a.mha").write_bytes(fields + VALUES.tobytes())
    return folder / "a.mha"


def element_size(folder: Path) -> Path:
    fields = text(ElementSpacing=None, ElementSize=PLACE["ElementSpacing"])
    (folder / "a.mha").write_bytes(fields + VALUES.tobytes())
    return folder / "a.mha"


def as_text(folder: Path) -> Path:
    words = " ".join(map(str, VALUES.ravel())).encode()
    (folder / "a.mha").write_bytes(text(BinaryData=False) + words)
    return folder / "a.mha"


def followed_by_more(folder: Path) -> Path:
    data = zlib.compress(VALUES.tobytes())
    (folder / "a.mha").write_bytes(text(CompressedData=True, CompressedDataSize=len(data)) + data + b"more of it")
    return folder / "a.mha"


def two_byte_orders(folder: Path) -> Path:
    fields = text(BinaryDataByteOrderMSB=True, ElementByteOrderMSB=False)
    (folder / "a.mha").write_bytes(fields + VALUES.astype(">i2").tobytes())
    return folder / "a.mha"


def long_type(folder: Path) -> Path:
    (folder / "a.mha").write_bytes(text(ElementType="MET_LONG_LONG") + VALUES.astype("<i8").tobytes())
    return folder / "a.mha"


VARIANTS = [
    plain, big_endian, element_msb, packed, packed_without_size, beside, packed_beside, after_a_header, at_the_end,
    listed, by_pattern, synonyms, element_size, long_type,
    followed_by_more, two_byte_orders,
]  # fmt: skip


@pytest.mark.parametrize("make", VARIANTS, ids=lambda f: f.__name__)
def test_variants_are_read_as_simpleitk_reads_them(
    make: Callable[[Path], Path], tmp_path: Path, require_module: Any
) -> None:
    path = make(tmp_path)
    places, values = by_sitk(require_module("SimpleITK"), path)
    image = opened(path)
    np.testing.assert_array_equal(values, VALUES)
    np.testing.assert_array_equal(image.values[0], VALUES)
    direction = np.reshape(image.geometry.attrs["direction"], (3, 3))
    assert np.abs(positions(image, direction) - places).max() < 1e-9
    part = image.isel(slice=[2, 0], row=slice(1, None), col=3)
    np.testing.assert_array_equal(part.values[0], VALUES[[2, 0], 1:, 3])


@pytest.mark.parametrize("make", [as_text, packed_inside_without_size], ids=lambda f: f.__name__)
def test_variants_that_simpleitk_fails_on_are_read(make: Callable[[Path], Path], tmp_path: Path) -> None:
    image = opened(make(tmp_path))
    np.testing.assert_array_equal(image.values[0], VALUES)
    np.testing.assert_array_equal(image.isel(slice=1, row=[2, 0]).values[0], VALUES[1, [2, 0]])


def test_the_folder_of_a_header_holds_one_image(tmp_path: Path) -> None:
    listed(tmp_path)
    np.testing.assert_array_equal(opened(tmp_path).values[0], VALUES)


def test_left_handed_axes_lie_where_they_did(tmp_path: Path, require_module: Any) -> None:
    matrix = {"TransformMatrix": "1 0 0 0 -1 0 0 0 1"}
    (tmp_path / "a.mha").write_bytes(text(**matrix) + VALUES.tobytes())
    places, values = by_sitk(require_module("SimpleITK"), tmp_path / "a.mha")
    image = opened(tmp_path / "a.mha")
    mine = positions(image, np.reshape(image.geometry.attrs["direction"], (3, 3)))
    np.testing.assert_array_equal(image.values[0], values[:, ::-1])
    assert np.abs(mine - places[:, ::-1]).max() < 1e-9


@pytest.mark.parametrize("extension", [".mha", ".mhd"])
@pytest.mark.parametrize("compress", [False, True, 9])
def test_packed_or_not_others_read_it(extension: str, compress: Any, tmp_path: Path, require_module: Any) -> None:
    image = coordinates(SHEARED)
    image.imd.write(str(tmp_path / f"a{extension}"), format_options={"compress": compress})
    assert len(list(tmp_path.iterdir())) == (1 if extension == ".mha" else 2)
    places, values = by_sitk(require_module("SimpleITK"), tmp_path / f"a{extension}")
    assert np.abs(np.moveaxis(values, 0, -1) - places).max() < 1e-9
    np.testing.assert_array_equal(opened(tmp_path / f"a{extension}").values, image.values)


def test_time_is_the_fourth_axis(tmp_path: Path, require_module: Any) -> None:
    series([1.0, 3.5, 6.0]).imd.write(str(tmp_path / "a.mha"))
    image = require_module("SimpleITK").ReadImage(str(tmp_path / "a.mha"))
    assert image.GetSpacing()[3] == 2.5
    assert image.GetOrigin()[3] == 1.0
    assert opened(tmp_path / "a.mha").tag.values.tolist() == [1.0, 3.5, 6.0]


def test_long_labels_leave_the_file_readable(tmp_path: Path, require_module: Any) -> None:
    n = 3000
    coords = {"my_number": (["tag"], np.random.default_rng(2).random(n))}
    image = series(np.arange(float(n)), coords=coords, shape=(1, 2, 2), attrs={"ProtocolName": "a b  c" * 3000})
    image.imd.write(str(tmp_path / "a.mha"))
    _, values = by_sitk(require_module("SimpleITK"), tmp_path / "a.mha")
    np.testing.assert_array_equal(values, image.values)
    back = opened(tmp_path / "a.mha")
    np.testing.assert_array_equal(back.my_number.values, image.my_number.values)
    assert back.attrs["ProtocolName"] == image.attrs["ProtocolName"]


def test_two_orders_are_one_grid_again(tmp_path: Path) -> None:
    data = np.random.default_rng(0).random((2, 3, 3, 4, 5)).astype("f4")
    volumes = [
        Volumes([0.0, 2.0], {"order": "time", "units": "s"}, "time"),
        Volumes([5.0, 9.0, 12.0], {"order": "te", "units": "ms"}, "echo_time"),
    ]
    image = build(data, volumes=volumes, axes=axes((3, 4, 5)), space=Space(OBLIQUE)).image
    image.imd.write(str(tmp_path / "a.mha"))
    for order in ("auto", "time,te", "te,time"):
        back = opened(tmp_path / "a.mha", order=order)
        assert set(back.dims) == set(image.dims)
        np.testing.assert_array_equal(back.transpose(*image.dims).values, data)
        assert float(abs(image - back).max()) == 0


def test_volumes_of_other_programs_are_numbered_or_timed_on_request(tmp_path: Path) -> None:
    fields = text(
        NDims=4, DimSize="5 4 1 3", ElementSpacing="1 1 1 2.5", Offset="0 0 0 10",
        TransformMatrix="1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1",
    )  # fmt: skip
    (tmp_path / "a.mha").write_bytes(fields + VALUES.tobytes())
    image = opened(tmp_path / "a.mha")
    assert image.tag.attrs["order"] == "none"
    np.testing.assert_array_equal(image.values[:, 0], VALUES)
    assert opened(tmp_path / "a.mha", order="time").tag.values.tolist() == [10.0, 12.5, 15.0]
    with pytest.raises(SortError, match="does not say"):
        opened(tmp_path / "a.mha", order="te")


def test_components_become_volumes(tmp_path: Path) -> None:
    data = np.random.default_rng(0).random((3, 4, 5, 3)).astype("<f4")
    fields = text(ElementNumberOfChannels=3, ElementType="MET_FLOAT_ARRAY")
    (tmp_path / "a.mha").write_bytes(fields + data.tobytes())
    image = opened(tmp_path / "a.mha")
    np.testing.assert_array_equal(image.values, np.moveaxis(data, -1, 0))
    part = image.isel(tag=[2, 0], slice=1, row=slice(None, None, 2))
    np.testing.assert_array_equal(part.values, np.moveaxis(data, -1, 0)[[2, 0], 1, ::2])


def test_two_axes_have_no_place_and_that_is_said(tmp_path: Path) -> None:
    fields = text(NDims=2, DimSize="5 4", TransformMatrix="1 0 0 1", Offset="3 4", ElementSpacing="0.5 0.25")
    (tmp_path / "a.mha").write_bytes(fields + VALUES[0].tobytes())
    with pytest.warns(ImagedataWarning, match=r"0\.5 x 0\.25 mm is left out"):
        image = opened(tmp_path / "a.mha")
    assert "geometry" not in image.coords
    np.testing.assert_array_equal(image.values[0, 0], VALUES[0])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"DimSize": "5 4"}, "DimSize"),
        ({"DimSize": "5 4 30"}, "truncated"),
        ({"ElementType": "MET_OTHER"}, "ElementType"),
        ({"TransformMatrix": "1 0 0 2 0 0 0 0 1"}, "geometry"),
        ({"ElementSpacing": "1 x 1"}, "ElementSpacing"),
        ({"ElementDataFile": "gone.raw"}, "gone.raw"),
        ({"imagedata_xr": "{not json"}, "labels"),
        ({"imagedata_xr": '{"dims": 3}'}, "labels"),
    ],
)
def test_damage_is_said(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    (tmp_path / "a.mha").write_bytes(text(**changes) + VALUES.tobytes())
    with pytest.raises(SourceError, match=words):
        opened(tmp_path / "a.mha")


def test_other_objects_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mha").write_bytes(text(ObjectType="Tube") + VALUES.tobytes())
    with pytest.raises(FormatError, match="only images"):
        opened(tmp_path / "a.mha")


def test_itk_is_a_name_of_it(tmp_path: Path) -> None:
    done = series().imd.write(str(tmp_path / "a.mha"), format="itk")
    assert done.format == "metaio"
    assert opened(tmp_path / "a.mha", format="itk").shape == series().shape


def test_a_date_as_order_is_not_written(tmp_path: Path) -> None:
    image = series([20240305.0, 20240306.0], order="AcquisitionDate", units="")
    with pytest.warns(ImagedataWarning, match="numbered instead"):
        image.imd.write(str(tmp_path / "a.mha"))
    assert b"202403" not in (tmp_path / "a.mha").read_bytes()
    assert opened(tmp_path / "a.mha").tag.values.tolist() == [0.0, 1.0]
