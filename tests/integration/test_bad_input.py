"""What is wrong with an input is said once, by an error of ours that says what to do: by the engine and by ``imd``."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cli_data
import pytest
import xarray as xr
from click.testing import CliRunner
from pydicom.dataset import Dataset

from imagedata_xr import (
    FormatError,
    GeometryError,
    ImagedataError,
    ImagedataWarning,
    LabelError,
    NotFoundError,
    SeriesError,
    SortError,
    SourceError,
    from_array,
)
from imagedata_xr.cli import main


def read(source: object, **options: Any) -> xr.Dataset:
    """Open a source with the engine."""
    return xr.open_dataset(source, engine="imagedata", **options)  # type: ignore[arg-type]


def imd(*args: object) -> tuple[int, list[str]]:
    """Exit code and lines on stderr; no error may leave the command."""
    result = CliRunner().invoke(main, [str(a) for a in args])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    return result.exit_code, result.stderr.splitlines()


def refused(text: str, *args: object) -> None:
    """``imd`` ends with code 1 and one error line, which holds a text."""
    code, said = imd(*args)
    errors = [line for line in said if line.startswith("imd: error: ")]
    assert code == 1
    assert len(errors) == 1
    assert text in "\n".join(said)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return cli_data.series(tmp_path / "good", volumes=2)


# --- nothing is there ------------------------------------------------------------------------------------------------


def test_a_missing_path(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="none does not exist"):
        read(tmp_path / "none")
    refused("does not exist", "info", tmp_path / "none")
    refused("does not exist", "convert", tmp_path / "out", tmp_path / "none")


def test_a_glob_without_a_match(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="Nothing matches"):
        read(str(tmp_path / "*.dcm"))
    refused("Nothing matches", "info", tmp_path / "*.dcm")


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="is empty: it holds no file"):
        read(tmp_path)
    refused("is empty: it holds no file", "info", tmp_path)


def test_a_folder_without_images(tmp_path: Path) -> None:
    for name in ("notes.txt", "read.me"):
        (tmp_path / name).write_text("about the images", encoding="utf-8")
    with pytest.raises(NotFoundError, match=f"none of the 2 files in {tmp_path} is an image .*check the address"):
        read(tmp_path)
    refused("none of the 2 files", "info", tmp_path)


@pytest.mark.parametrize("content", [b"about the images", b"", b"\x89PNG\r\n\x1a\n" + bytes(200)])
def test_a_stranger_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(NotFoundError, match=r"notes\.txt is no image of a format known here"):
        read(path)
    refused("is no image", "info", path)


def test_a_stranger_in_the_clothes_of_an_image(tmp_path: Path) -> None:
    for name in ("a.dcm", "a.nii"):
        (tmp_path / name).write_text("about the images", encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImagedataWarning)
            with pytest.raises(SourceError, match=name):
                read(tmp_path / name)
        refused(name, "info", tmp_path / name)


def test_objects_without_pixels_alone(tmp_path: Path) -> None:
    cli_data.without_pixels(tmp_path / "state")
    with pytest.raises(NotFoundError, match=r"only objects without pixels:\n  9 PR"):
        read(tmp_path)
    refused("without pixels", "convert", tmp_path / "out", tmp_path)
    refused("no image", "convert", "--all", tmp_path / "out", tmp_path)
    assert imd("info", tmp_path) == (0, [])


# --- which of several ------------------------------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path: Path) -> Path:
    return cli_data.series(cli_data.series(tmp_path / "two", 4), 5)


def test_two_series_where_one_was_asked_for(two: Path, tmp_path: Path) -> None:
    with pytest.raises(
        SeriesError, match=r"2 images where one was asked for(.|\n)*series=4: 4 MR(.|\n)*series=5: 5 MR"
    ):
        read(two)
    refused("--series 4: 4 MR", "convert", tmp_path / "out", two)
    assert read(two, series=4).sizes["slice"] == 3


def test_a_series_that_matches_nothing(two: Path, tmp_path: Path) -> None:
    for wanted in (77, "no such description", "1.2.3"):
        with pytest.raises(SeriesError, match=r"no series matches .*there are:(.|\n)*series=4(.|\n)*series=5"):
            read(two, series=wanted)
        refused("no series matches", "convert", tmp_path / "out", two, "--series", wanted)
        refused("no series matches", "info", two, "--series", wanted)


def test_a_stack_that_is_not_there(good: Path, tmp_path: Path) -> None:
    with pytest.raises(ImagedataError, match="stack=3"):
        read(good, stack=3)
    refused("--stack 3", "convert", tmp_path / "out", good, "--stack", 3)


# --- geometry --------------------------------------------------------------------------------------------------------


def test_uneven_slices(tmp_path: Path) -> None:
    source = cli_data.series(tmp_path / "s", heights=(0, 4, 9, 30))
    ds = read(source)
    with pytest.raises(GeometryError, match=r"not evenly spaced: steps from 4 to 21 mm.*interp"):
        _ = ds.imd.affine
    with pytest.raises(GeometryError, match="interp"):
        ds.imd.write(tmp_path / "a.nii")
    refused("not evenly spaced", "convert", tmp_path / "a.nii", source)
    assert not list(tmp_path.glob("a.*"))
    assert imd("convert", tmp_path / "dicom", source)[0] == 0  # which can hold them


def _singular(ds: Dataset, k: int) -> None:
    ds.ImageOrientationPatient = [1, 0, 0, 1, 0, 0]


def test_a_singular_orientation(tmp_path: Path) -> None:
    source = cli_data.series(tmp_path / "s", change=_singular)
    with pytest.warns(ImagedataWarning, match="3 of 3 images of series 4 have an ImagePositionPatient, Image"):
        ds = read(source)
    with pytest.raises(GeometryError, match=r"no place in the patient.*assign_grid"):
        _ = ds.imd.affine
    code, said = imd("info", source)
    assert code == 0
    assert [line[:30] for line in said] == ["imd: warning: 3 of 3 images of"]


def test_absent_geometry(tmp_path: Path) -> None:
    def nowhere(ds: Dataset, k: int) -> None:
        del ds.ImagePositionPatient
        del ds.ImageOrientationPatient

    source = cli_data.series(tmp_path / "s", change=nowhere)
    with pytest.raises(GeometryError, match=r"no place in the patient.*assign_grid"):
        _ = read(source).imd.affine
    code, said = imd("convert", tmp_path / "a.nii", source)
    assert code == 0
    assert len(said) == 1
    assert said[0].startswith("imd: warning: the image has no place in the patient")


# --- orders and options ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["wibble", "time,wibble", ""])
def test_an_unknown_order(good: Path, tmp_path: Path, order: str) -> None:
    with pytest.raises(LabelError, match=r"'time'|use one of none, time"):
        read(good, order=order)
    refused("order", "convert", tmp_path / "out", good, "--order", order)


@pytest.mark.parametrize(
    ("order", "keyword"), [("ti", "InversionTime"), ("b", "DiffusionBValue"), ("ZOffset", "order")]
)
def test_an_order_whose_element_is_missing(good: Path, tmp_path: Path, order: str, keyword: str) -> None:
    error = LabelError if order == "ZOffset" else SortError
    with pytest.raises(error, match=keyword):
        read(good, order=order)
    refused(keyword, "convert", tmp_path / "out", good, "--order", order)


def test_a_missing_element_is_said_with_what_varies(good: Path) -> None:
    with pytest.raises(SortError, match=r"6 of 6 images have no .*InversionTime. What varies here: .*time"):
        read(good, order="ti")
    refused("--order auto", "info", good, "--order", "ti")


def test_a_missing_image(good: Path, tmp_path: Path) -> None:
    next(good.glob("*-004")).unlink()
    with pytest.raises(SortError, match=r"missing='drop'.*missing='fill'"):
        read(good)
    refused("--missing drop", "convert", tmp_path / "out", good)
    assert imd("convert", tmp_path / "out", good, "--missing", "drop")[0] == 0


@pytest.mark.parametrize("option", [{"errors": "x"}, {"missing": "x"}, {"duplicates": "x"}, {"dtype": "x"}])
def test_an_option_that_is_no_word_of_ours(good: Path, option: dict[str, str]) -> None:
    with pytest.raises(LabelError, match=f"{next(iter(option))}='x'"):
        read(good, **option)


# --- formats ---------------------------------------------------------------------------------------------------------


def test_an_unknown_format(good: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"unknown format 'jpeg9'; there are .*dicom.*nifti"):
        read(good, format="jpeg9")
    with pytest.raises(FormatError, match="unknown format 'jpeg9'"):
        read(good).imd.write(tmp_path / "out", format="jpeg9")
    refused("unknown format 'jpeg9'", "convert", tmp_path / "out", good, "--format", "jpeg9")
    assert not (tmp_path / "out").exists()


def test_a_format_that_the_source_has_not(good: Path) -> None:
    with pytest.raises(SourceError, match="none of the files is a NIfTI image"):
        read(good, format="nifti")


def test_a_format_option_that_is_not_known(good: Path, tmp_path: Path) -> None:
    a = xr.open_dataarray(good, engine="imagedata")
    for name in ("out", "out.nii", "out.zarr"):
        with pytest.raises(FormatError, match=r"compres"):
            a.imd.write(tmp_path / name, format_options={"compres": 1})
    a.imd.write(tmp_path / "a.nii")
    with pytest.raises(FormatError, match=r"'from'.*reading NIfTI knows form"):
        xr.open_dataarray(tmp_path / "a.nii", engine="imagedata", format_options={"from": "qform"})


def test_a_format_that_cannot_hold_the_data(good: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"complex64.*abs\(image\)"):
        (read(good)["image"] * (1 + 1j)).imd.write(tmp_path / "out")
    image = from_array((read(good)["image"].values * (1 + 1j)), spacing=(4, 2, 2))
    image.imd.write(tmp_path / "a.nii")
    refused("complex", "convert", tmp_path / "out", tmp_path / "a.nii", "--format", "dicom")
    assert not (tmp_path / "out").exists()


# --- damage ----------------------------------------------------------------------------------------------------------


def _cut(folder: Path, which: int, size: int) -> Path:
    path = sorted(folder.iterdir())[which]
    path.write_bytes(path.read_bytes()[:size])
    return path


@pytest.mark.parametrize("size", [600, -10])
def test_a_damaged_file_among_others(tmp_path: Path, size: int) -> None:
    source = cli_data.series(tmp_path / "s")
    path = _cut(source, 2, size)
    with pytest.warns(ImagedataWarning, match=f"1 of 3 files can't be read: {path}: it is truncated"):
        ds = read(source)
    assert ds.sizes["slice"] == 2
    with pytest.raises(SourceError, match=rf"{path}: it is truncated.*errors=\"warn\""):
        read(source, errors="raise")
    code, said = imd("info", source)
    assert code == 0
    assert len(said) == 1
    assert said[0].startswith(f"imd: warning: 1 of 3 files can't be read: {path}")
    refused("--errors warn leaves them out", "info", source, "--errors", "raise")


def test_all_files_damaged(tmp_path: Path) -> None:
    source = cli_data.series(tmp_path / "s")
    for k in range(3):
        _cut(source, k, 600)
    reason = "can be read: 3 of 3 files"
    with pytest.warns(ImagedataWarning, match="3 of 3 files"), pytest.raises(NotFoundError, match=reason):
        read(source)
    refused("3 of 3 files can't be read", "info", source)


def test_a_file_that_goes_after_opening(good: Path, tmp_path: Path) -> None:
    ds = read(good)
    gone = sorted(good.iterdir())[3]
    gone.unlink()
    with pytest.raises(SourceError, match=str(gone)):
        ds["image"].load()
    with pytest.raises(SourceError, match=str(gone)):
        (ds["image"] * 2).imd.write(tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- targets ---------------------------------------------------------------------------------------------------------


def test_a_target_that_exists(good: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("keep", encoding="utf-8")
    (tmp_path / "a.nii").write_text("keep", encoding="utf-8")
    for name in ("full", "a.nii"):
        with pytest.raises(FileExistsError, match=f"{name}.* overwrite=True replaces it"):
            read(good).imd.write(tmp_path / name)
        refused("--overwrite replaces it", "convert", tmp_path / name, good)
    refused("--overwrite replaces", "convert", "--all", tmp_path / "full", good)
    assert (tmp_path / "full" / "mine").read_text(encoding="utf-8") == "keep"
    assert (tmp_path / "a.nii").read_text(encoding="utf-8") == "keep"


@pytest.mark.parametrize("name", ["out", "out.nii.gz"])
def test_a_target_that_cannot_be_written(good: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    target = tmp_path / "file" / name
    with pytest.raises(SourceError, match=str(tmp_path / "file")):
        read(good).imd.write(target)
    refused(str(tmp_path / "file"), "convert", target, good)


@pytest.mark.parametrize("name", ["out", "out.nii"])
def test_a_write_that_fails_leaves_nothing(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    image: xr.DataArray = read(good)["image"].load()
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr("os.replace", full)
    monkeypatch.setattr("os.rename", full)
    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(SourceError, match="No space left on device"):
        image.imd.write(tmp_path / name)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("option", ["--template", "--geometry"])
def test_a_template_that_is_not_there(good: Path, tmp_path: Path, option: str) -> None:
    refused("does not exist", "convert", tmp_path / "out", good, option, tmp_path / "none")
    assert not (tmp_path / "out").exists()


def test_every_error_is_of_the_family_and_has_a_builtin_parent() -> None:
    parents: dict[type[ImagedataError], type[Exception]] = {
        NotFoundError: FileNotFoundError,
        SourceError: OSError,
        FormatError: ValueError,
        SeriesError: ValueError,
        SortError: ValueError,
        LabelError: ValueError,
        GeometryError: ValueError,
    }
    assert all(issubclass(e, parent) and issubclass(e, ImagedataError) for e, parent in parents.items())


def test_errors_of_a_tree_name_the_series(two: Path) -> None:
    def told(call: Callable[[], object]) -> str:
        with pytest.warns(ImagedataWarning) as caught:
            call()
        return "\n".join(str(w.message) for w in caught)

    cli_data.save(cli_data.instance(5, 9, 8, 3), two / "5-009")
    text = told(lambda: xr.open_datatree(two, engine="imagedata"))
    assert "left out: 5 MR t1 *** 5" in text
    with pytest.raises(SortError):
        xr.open_datatree(two, engine="imagedata", errors="raise")
