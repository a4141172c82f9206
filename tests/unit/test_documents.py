"""PDF and PostScript: pages whose drawings have a known size; PDF made by Ghostscript or by hand."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from nifti_phantoms import series
from numpy.typing import NDArray

from imagedata_xr.errors import FormatError, ImagedataError, SeriesError, SourceError
from imagedata_xr.formats import documents

PAGE = """<< /PageSize [{w} {h}] >> setpagedevice
{red} 0 0 setrgbcolor
{x} {y} {side} {side} rectfill
showpage
"""
SIDE = 72 / 2.54  # of the square, 10 mm in points


def script(count: int = 3, w: float = 216.0, h: float = 144.0) -> str:
    """PostScript with a red square of 10 mm on each page, further right from page to page, at the lower edge."""
    pages = (PAGE.format(w=w, h=h, red=1 - 0.2 * k, x=10 + 30 * k, y=5, side=SIDE) for k in range(count))
    return "%!PS-Adobe-3.0\n" + "".join(pages)


@pytest.fixture(params=["pdf", "postscript"])
def kind(request: pytest.FixtureRequest, require_program: Any, require_module: Any) -> str:
    """Each kind of document."""
    require_program("gs")
    if request.param == "pdf":
        require_module("pypdfium2")
    return str(request.param)


def made(kind: str, folder: Path, text: str, name: str = "a") -> Path:
    """Document of a kind, from PostScript."""
    source = folder / f"{name}.ps"
    source.write_text(text)
    if kind == "postscript":
        return source
    target = folder / f"{name}.pdf"
    command = ["gs", "-q", "-dBATCH", "-dNOPAUSE", "-sDEVICE=pdfwrite", f"-sOutputFile={target}", str(source)]
    subprocess.run(command, check=True)
    source.unlink()
    return target


def load(path: Path, **how: Any) -> xr.DataArray:
    """Open."""
    return xr.open_dataarray(str(path), engine="imagedata", format_options=how)


def square(page: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First and last row and column of what is not white."""
    rows, cols = np.nonzero(page.min(axis=-1) < 128)
    return np.array([rows.min(), cols.min()]), np.array([rows.max(), cols.max()])


@pytest.mark.parametrize("dpi", [72, 150, 300])
def test_what_is_drawn_has_its_size_and_place(kind: str, dpi: int, tmp_path: Path) -> None:
    image = load(made(kind, tmp_path, script()), dpi=dpi)
    assert image.dims == ("tag", "slice", "row", "col", "rgb")
    assert image.shape == (1, 3, 2 * dpi, 3 * dpi, 3)
    np.testing.assert_allclose(image.attrs["NominalScannedPixelSpacing"], [25.4 / dpi] * 2)
    for k in range(3):
        first, last = square(image.values[0, k])
        assert np.abs((last - first + 1) - 10 / 25.4 * dpi).max() <= 1
        assert abs(first[1] - (10 + 30 * k) / 72 * dpi) <= 1
        assert abs(last[0] + 1 - (144 - 5) / 72 * dpi) <= 1
        middle = (first + last) // 2
        np.testing.assert_allclose(image.values[0, k][tuple(middle)], [(1 - 0.2 * k) * 255, 0, 0], atol=1)


def test_pages_are_drawn_when_they_are_wanted(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(kind, tmp_path, script(5))
    whole = load(path, dpi=30).values
    part = load(path, dpi=30)[0, [4, 1], ::2, ::-1]
    np.testing.assert_array_equal(part.values, whole[0, [4, 1], ::2, ::-1])
    lazy = xr.open_dataarray(str(path), engine="imagedata", chunks={}, format_options={"dpi": 30})
    np.testing.assert_array_equal(lazy.values, whole)


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_grey_and_turned(kind: str, rotate: int, tmp_path: Path) -> None:
    path = made(kind, tmp_path, script())
    want = load(path, gray=True, dpi=50)
    got = load(path, gray=True, dpi=50, rotate=rotate)
    assert got.dims == ("tag", "slice", "row", "col")
    assert got.encoding["stored_dtype"] == "uint8"
    np.testing.assert_array_equal(got.values, np.rot90(want.values, rotate // 90, axes=(2, 3)))


def test_pages_of_other_sizes_are_other_images(kind: str, tmp_path: Path) -> None:
    text = script(2) + script(1, 300, 100).partition("\n")[2]
    path = made(kind, tmp_path, text)
    with pytest.raises(SeriesError, match="pages"):
        load(path, dpi=72)
    one = xr.open_dataarray(str(path), engine="imagedata", series=1, format_options={"dpi": 72})
    assert one.shape == (1, 1, 100, 300, 3)


def test_documents_beside_images_are_passed_over(kind: str, tmp_path: Path) -> None:
    made(kind, tmp_path, script(), "report")
    series().imd.write(str(tmp_path / "a.nii.gz"))
    assert xr.open_dataarray(str(tmp_path), engine="imagedata").shape == series().shape


def test_eps_is_cropped_to_its_box(tmp_path: Path, require_program: Any) -> None:
    require_program("gs")
    text = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 100 200 172 308\n100 200 {SIDE} {SIDE} rectfill\nshowpage\n"
    (tmp_path / "a.eps").write_text(text)
    image = load(tmp_path / "a.eps", dpi=72)
    assert image.shape == (1, 1, 108, 72, 3)
    first, last = square(image.values[0, 0])
    assert first[1] == 0
    assert last[0] == 107


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ({"dpi": 0}, "from 1"), ({"dpi": "fine"}, "from 1"), ({"rotate": 45}, "90"), ({"gray": 1}, "True or False"),
        ({"driver": "png16m"}, "unknown format_options"), ({"dpi": 10000}, "takes less"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused(kind: str, how: dict[str, Any], match: str, tmp_path: Path) -> None:
    text = script(1, 2000, 2000) if kind == "pdf" else script(1)
    if kind == "postscript" and how.get("dpi") == 10000:
        return  # Ghostscript would draw it first
    with pytest.raises(FormatError, match=match):
        load(made(kind, tmp_path, text), **how)


def test_they_are_not_written(kind: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="not written"):
        series().imd.write(str(tmp_path / "a.x"), format=kind)
    assert not list(tmp_path.iterdir())


def test_damaged_documents_are_our_errors(kind: str, tmp_path: Path) -> None:
    path = made(kind, tmp_path, script())
    data = path.read_bytes()
    path.write_bytes(b"%!PS\n(of Meyer) undefinedword\n" if kind == "postscript" else data[:100])
    with pytest.raises(SourceError, match="damaged") as caught:
        load(path)
    assert "Meyer" not in str(caught.value)
    path.write_bytes(b"")
    with pytest.raises(ImagedataError):
        load(path)


def test_a_document_can_neither_read_nor_write_files(tmp_path: Path, require_program: Any) -> None:
    require_program("gs")
    secret = tmp_path / "secret.txt"
    secret.write_text("told to nobody")
    for attack in (f"({secret}) (r) file", f"({tmp_path}/made) (w) file", "(%pipe%touch made) (r) file"):
        (tmp_path / "a.ps").write_text(f"%!PS\n{attack}\nshowpage\n")
        with pytest.raises(SourceError, match="/invalidfileaccess"):
            load(tmp_path / "a.ps")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.ps", "secret.txt"]


def test_a_document_that_does_not_end_is_ended(
    tmp_path: Path, require_program: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_program("gs")
    monkeypatch.setattr(documents, "_SECONDS", 1)
    (tmp_path / "a.ps").write_text("%!PS\n{ } loop\n")
    with pytest.raises(SourceError, match="not ended after 1 s"):
        load(tmp_path / "a.ps")


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.ps").write_text(script())
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4\n")
    monkeypatch.setattr(shutil, "which", lambda *_: None)
    monkeypatch.setattr(documents, "find_spec", lambda *_: None)
    with pytest.raises(FormatError, match="Ghostscript"):
        load(tmp_path / "a.ps")
    with pytest.raises(FormatError, match=r"imagedata-xr\[pdf\]"):
        load(tmp_path / "a.pdf")
