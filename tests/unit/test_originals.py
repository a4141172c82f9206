"""What an image was read from is never replaced by what is written of it, whatever the format and the spelling."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import phantoms
import pytest
import xarray as xr
from click.testing import CliRunner
from nifti_phantoms import series as values_of_time
from phantoms import make, opened

import imagedata_xr
from imagedata_xr.cli import main
from imagedata_xr.errors import ImagedataError, OriginalError
from imagedata_xr.stores import originals
from imagedata_xr.stores.url import find

NEEDS = {".zarr": "zarr", ".zarr.zip": "zarr", ".nc": "h5netcdf", ".tif": "tifffile"}
pytestmark = pytest.mark.filterwarnings("ignore::imagedata_xr.errors.ImagedataWarning")


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, byte by byte."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def refused(image: Any, target: str | Path, kept: Path, **options: Any) -> None:
    """Assert that an image is not written to a target, and that nothing below a folder is touched."""
    before = content(kept)
    with pytest.raises(OriginalError, match=r"is not replaced.*Write to another place") as told:
        image.imd.write(target, overwrite=True, **options)
    assert isinstance(told.value, FileExistsError)
    assert isinstance(told.value, ImagedataError)
    assert content(kept) == before
    assert before


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An MR series of two volumes."""
    make(tmp_path / "in", phantoms.mr(shape=(2, 3, 4, 5)))
    return tmp_path / "in"


def computed(image: xr.DataArray) -> dict[str, xr.DataArray]:
    """Images that are computed from one, lazily and in memory."""
    return {
        "itself": image,
        "mean": image.mean("tag"),
        "part": image.isel(slice=[0]),
        "loaded": (image * 2).compute(),
        "sum": image + image.isel(tag=0),
    }


@pytest.mark.parametrize("what", ["itself", "mean", "part", "loaded", "sum"])
@pytest.mark.parametrize("chunks", [None, {}])
def test_a_folder_is_not_replaced_by_what_is_read_from_it(folder: Path, what: str, chunks: Any) -> None:
    image = computed(opened(folder, order="time", chunks=chunks))[what]
    refused(image, folder, folder)
    refused(image, folder, folder, compute=False)
    with pytest.raises(FileExistsError, match="overwrite=True replaces it"):
        image.imd.write(folder)


@pytest.mark.parametrize("spelt", ["in", "link", "in/", "{}/../in", "file://{}"])
def test_every_spelling_of_a_place_is_the_same(folder: Path, spelt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    os.symlink(folder, folder.parent / "link")
    refused(opened(folder, order="time"), spelt.format(folder), folder)
    refused(opened(spelt.format(folder), order="time").mean("tag"), folder, folder)


def test_the_files_behind_links_are_originals(folder: Path) -> None:
    linked = folder.parent / "linked"
    linked.mkdir()
    for path in folder.iterdir():
        os.symlink(path, linked / path.name)
    refused(opened(linked, order="time"), folder, folder)


def test_folders_within_a_source_are_spared_where_images_come_from_them(folder: Path) -> None:
    (folder.parent / "all").mkdir()
    shutil.move(folder, folder.parent / "all" / "one")
    make(folder.parent / "all" / "two", phantoms.mr(number=9, shape=(1, 3, 4, 5)))
    base = folder.parent / "all"
    tree = xr.open_datatree(base, engine="imagedata")
    assert len(tree.leaves) == 2
    for leaf in tree.leaves:
        refused(leaf["image"], base / "one", base)  # both were opened from one source
        refused(leaf["image"], base / "two", base)
    one = tree.leaves[0]["image"]
    one.imd.write(base / "three")
    one.imd.write(base / "three", overwrite=True)  # no original: the source was opened before it was there


def test_a_file_is_not_replaced_by_what_is_read_from_it(folder: Path) -> None:
    (first, *_) = sorted(folder.iterdir())
    path = first.rename(folder / "one.dcm")
    image = opened(path)
    refused(image + 1, path, folder)
    refused(image, folder, folder)
    image.imd.write(folder / "two.dcm")
    image.imd.write(folder / "two.dcm", overwrite=True)


@pytest.mark.parametrize("extension", [".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr", ".mat", ".tif", ".zarr",
                                       ".zarr.zip", ".nc"])  # fmt: skip
def test_files_of_every_format_are_spared(tmp_path: Path, extension: str, require_module: Callable[[str], Any]) -> None:
    if (module := NEEDS.get(extension)) is not None:
        require_module(module)
    target = tmp_path / "in" / f"image{extension}"
    values_of_time(shape=(3, 4, 5)).imd.write(target)
    image = opened(target)
    for one in (image, image.mean(str(image.dims[0])), image.load()):
        refused(one, target, target.parent)
        refused(one, target, target.parent, compute=False)
    image.imd.write(tmp_path / f"other{extension}")
    image.imd.write(tmp_path / f"other{extension}", overwrite=True)


def test_the_sidecars_of_an_image_are_spared(tmp_path: Path) -> None:
    image = values_of_time([0.0, 1000.0], "b", "s/mm2")
    image.imd.write(tmp_path / "in" / "image.nii")
    (tmp_path / "in" / "image.nii").rename(tmp_path / "in" / "image.hdr.nii")
    loaded = nib.Nifti1Image.from_filename(tmp_path / "in" / "image.hdr.nii")
    make_pair: Any = nib.Nifti1Pair
    nib.save(make_pair(np.asarray(loaded.dataobj), loaded.affine), tmp_path / "in" / "image.img")
    (tmp_path / "in" / "image.hdr.nii").unlink()
    assert {p.suffix for p in (tmp_path / "in").iterdir()} >= {".hdr", ".img", ".bval", ".json"}
    pair = opened(tmp_path / "in" / "image.hdr", order="b")
    assert pair.b_value.values.tolist() == [0, 1000]
    # its sidecars would take the place of those of the pair
    refused(pair, tmp_path / "in" / "image.nii", tmp_path / "in")
    pair.imd.write(tmp_path / "in" / "other.nii")


def test_a_pair_is_not_replaced_by_what_is_read_from_it(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    image = values_of_time([0.0], "none", "1", shape=(3, 4, 5))
    image.imd.write(tmp_path / "in" / "image.mhd")
    read = opened(tmp_path / "in" / "image.mhd")
    shutil.copy(tmp_path / "in" / "image.mhd", tmp_path / "in" / "copy.mhd")
    # its voxels are in the file beside image.mhd
    refused(opened(tmp_path / "in" / "copy.mhd"), tmp_path / "in" / "image.mhd", tmp_path / "in")
    read.imd.write(tmp_path / "in" / "copy.mhd", overwrite=True)


@pytest.mark.parametrize("archive", ["in.zip", "in.tar", "in.tar.gz"])
def test_members_of_an_archive_are_spared(folder: Path, archive: str) -> None:
    path = folder.parent / "packed" / archive
    image = opened(folder, order="time")
    image.imd.write(f"{path}?first")
    image.imd.write(f"{path}?second")
    read = opened(f"{path}?first", order="time").compute()
    refused(read, f"{path}?first", path.parent)
    refused(read.isel(tag=0), f"{path}?first/{min(Path(f.path).name for f in find(f'{path}?first'))}", path.parent)
    before = {f.path: f.fs.cat_file(f.path) for f in find(f"{path}?first")}
    read.imd.write(f"{path}?second", overwrite=True)
    read.imd.write(f"{path}?third/image.nii.gz")
    assert {f.path: f.fs.cat_file(f.path) for f in find(f"{path}?first")} == before
    np.testing.assert_array_equal(opened(f"{path}?third/image.nii.gz", order="time").values, read.values)


def test_an_archive_is_not_replaced_by_what_is_read_from_it(folder: Path) -> None:
    path = folder.parent / "packed" / "in.zip"
    opened(folder, order="time").imd.write(path)
    refused(opened(path, order="time"), path, path.parent)
    refused(opened(path, order="time"), path.parent, path.parent)


def test_the_originals_of_two_sources_are_known_while_they_are_read(folder: Path) -> None:
    make(folder.parent / "other", phantoms.mr(shape=(2, 3, 4, 5), number=9))
    a, b = (opened(p, order="time", chunks={}) for p in (folder, folder.parent / "other"))
    both = (a + b) / 2
    assert "source" not in both.coords
    refused(both, folder, folder.parent)
    refused(both, folder.parent / "other", folder.parent)
    both.imd.write(folder.parent / "mean")


def test_a_template_is_spared(folder: Path) -> None:
    image = imagedata_xr.from_array(np.ones((3, 4, 5), "f4"))
    refused(image, folder, folder, template=opened(folder, order="time"))
    refused(image, folder, folder, template=str(folder))
    refused(image, folder, folder, geometry=folder)


def test_a_deidentified_image_spares_its_originals(folder: Path) -> None:
    image = opened(folder, order="time").imd.deidentify(seed="a")
    refused(image, folder, folder)
    refused(image.compute(), folder, folder)


def test_an_image_of_a_cohort_does_not_look_up_the_files_of_all_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    real = originals.places_of_files

    def counted(files: Iterable[Any]) -> list[originals.Place]:
        looked.append(len(files := list(files)))
        return real(files)

    monkeypatch.setattr(originals, "places_of_files", counted)
    monkeypatch.setattr(importlib.import_module("imagedata_xr.formats.originals"), "places_of_files", counted)
    for number in range(3):
        make(folder / f"{number}", phantoms.mr(shape=(1, 3, 4, 5), number=20 + number))
    image, *_ = (node["image"] for node in xr.open_datatree(folder, engine="imagedata").leaves)
    out = folder.parent / "out.nii"
    image.imd.write(out, overwrite=True)
    assert looked == []  # nothing is replaced
    image.imd.write(out, overwrite=True)  # where do they all lie?
    looked.clear()
    image.imd.write(out, overwrite=True)
    assert sum(looked) <= image["instance"].size + 5  # its own, and what is replaced


def test_a_tree_spares_the_originals_of_all_its_images(folder: Path) -> None:
    make(folder / "0001", phantoms.mr(shape=(1, 3, 4, 5), number=9))
    tree = xr.open_datatree(folder, engine="imagedata")
    refused(tree, folder, folder)
    tree.imd.write(folder.parent / "out")
    tree.imd.write(folder.parent / "out", overwrite=True)
    packed = folder.parent / "packed" / "all.zip"
    tree.imd.write(f"{packed}?in")
    again = xr.open_datatree(f"{packed}?in", engine="imagedata")
    refused(again, f"{packed}?in", packed.parent)
    again.imd.write(f"{packed}?more")


def test_remote_files_are_spared(folder: Path) -> None:
    image = opened(folder, order="time")
    for target in ("memory://spared/in", "memory://spared/in.nii.gz", "memory://spared/in.zarr"):
        image.imd.write(target)
        read = opened(target)
        with pytest.raises(OriginalError, match="is not replaced"):
            read.imd.write(target, overwrite=True)
        with pytest.raises(OriginalError, match="is not replaced"):
            read.load().imd.write(target.replace("memory://", "memory:///"), overwrite=True)
        np.testing.assert_array_equal(opened(target).values, image.values)


def test_the_command_spares_what_it_reads(folder: Path) -> None:
    before = content(folder)
    for out in (folder, folder.parent):
        done = CliRunner().invoke(main, ["convert", str(out), str(folder), "--overwrite", "--order", "time"])
        assert done.exit_code == 2
        assert "is or holds IN" in done.output
    assert content(folder) == before
    image = folder.parent / "nifti.nii"
    assert CliRunner().invoke(main, ["convert", str(image), str(folder), "--order", "time"]).exit_code == 0
    before = content(folder.parent)
    # only when it is written does it show what the target means
    named = ["convert", f"{folder.parent}/%p.nii", str(image), "--format", "nifti", "--overwrite"]
    done = CliRunner().invoke(main, named)
    assert done.exit_code == 1
    assert "is not replaced" in done.output
    assert content(folder.parent) == before


def test_a_source_of_an_earlier_process_is_spared_as_a_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = opened(folder, order="time").compute()
    monkeypatch.setattr(originals, "_opened", type(originals._opened)())
    refused(image, folder, folder)
    image.imd.write(folder.parent / "out")
    image.imd.write(folder.parent / "out", overwrite=True)


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("s3://bucket/a/b.nii", ("s3://", "bucket", "a", "b.nii")),
        ("s3a://bucket/a/", ("s3://", "bucket", "a")),
        ("memory://a/b", ("memory://", "a", "b")),
        ("zip://in/x.dcm::s3://bucket/a.zip", ("s3://", "bucket", "a.zip", "?", "in", "x.dcm")),
        ("s3://bucket/a.zip?in", ("s3://", "bucket", "a.zip", "?", "in")),
        ("s3://bucket/a.zip?in/*.dcm", ("s3://", "bucket", "a.zip", "?", "in")),
        ("xnat://host/project", ("xnat://host", "project")),
    ],
)
def test_places_of_addresses(address: str, place: tuple[str, ...], require_module: Callable[[str], Any]) -> None:
    if "s3" in address:
        require_module("s3fs")
    assert originals.places_of_address(address) == [place]
