"""Archives are never passed over without a word, nor is a folder written under the name of one."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

import pytest
import xarray as xr
from series import open_image, series

from imagedata_xr.errors import FormatError, ImagedataWarning, NotFoundError


def packed(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
    return target


def test_an_archive_in_a_folder_is_said(tmp_path: Path) -> None:
    packed(series(tmp_path / "other"), series(tmp_path / "in") / "more.zip")
    with pytest.warns(ImagedataWarning, match=r"1 archives are passed over.*more\.zip.*zip://::"):
        assert open_image(str(tmp_path / "in")).sizes["slice"] == 3


def test_an_archive_alone_names_the_address_that_opens_it(tmp_path: Path) -> None:
    archive = packed(series(tmp_path / "in"), tmp_path / "a.zip")
    with pytest.raises(NotFoundError, match="zip://::"):
        open_image(str(archive))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = open_image(f"zip://::{archive}")
    xr.testing.assert_equal(image.drop_vars("source"), open_image(str(tmp_path / "in")).drop_vars("source"))


@pytest.mark.parametrize("name", ["o.zip", "o.tar", "o.tar.gz", "o.TGZ"])
def test_no_folder_gets_the_name_of_an_archive(tmp_path: Path, name: str) -> None:
    image = open_image(str(series(tmp_path / "in")))
    with pytest.raises(FormatError, match="name of an archive"):
        image.imd.write(str(tmp_path / name))
    assert not (tmp_path / name).exists()
