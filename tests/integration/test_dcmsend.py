"""Every kind of instance that is written is sent by dcmtk's dcmsend and taken by its storescp, element by element."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kinds
import pydicom
import pytest
from dicom_servers import ENVIRONMENT, storescp
from kinds import array, other, part
from phantoms import opened

from imagedata_xr.errors import FormatError

FROM_AN_ARRAY: dict[str, dict[str, Any]] = {
    "a mask": {"kind": "segmentation"},
    "a map": {"kind": "parametric_map"},
    "a capture": {},
    "MR": {"format_options": {"sop_class": "MR"}},
    "CT in one": {"format_options": {"sop_class": "CT", "multiframe": True}},
    "RLE": {"format_options": {"sop_class": "CT", "transfer_syntax": "rle"}},
    "JPEG-LS": {"format_options": {"sop_class": "CT", "transfer_syntax": "jpeg-ls"}},
    "JPEG 2000": {"format_options": {"sop_class": "CT", "transfer_syntax": "jpeg2000"}},
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, require_module: Callable[[str], Any]) -> list[str]:
    """First file of each series: each kind unchanged, a part of it, and other values; and what arrays become."""
    require_module("highdicom")
    folder = tmp_path_factory.mktemp("written")
    files: list[str] = []
    for n, kind in enumerate(kinds.SOURCES):
        (folder / f"in{n}").mkdir()
        kinds.SOURCES[kind](folder / f"in{n}")
        image = opened(folder / f"in{n}")
        for change in (lambda a: a, part, other):
            try:
                files.append(change(image).imd.write(folder / f"{len(files)}", format="dicom").paths[0])
            except FormatError:
                assert "rgb" in image.dims
    for name, options in FROM_AN_ARRAY.items():
        image = array("?" if "mask" in name else "f4")
        files.append(image.imd.write(folder / f"{len(files)}", format="dicom", **options).paths[0])
    return files


@pytest.mark.filterwarnings("ignore::imagedata_xr.errors.ImagedataWarning")
def test_all_are_taken(written: list[str], tmp_path: Path, require_program: Callable[[str], Path]) -> None:
    require_program("storescp")
    program = require_program("dcmsend")
    with storescp(tmp_path) as server:
        command = [str(program), "-v", "-aec", server.aet, "127.0.0.1", str(server.port), *written]
        sent = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False, timeout=120)
    assert sent.returncode == 0, sent.stderr
    taken = {ds.SOPInstanceUID: ds for ds in map(pydicom.dcmread, (tmp_path / "taken").iterdir())}
    assert len(taken) == len(written)
    for path in written:
        ds = pydicom.dcmread(path)
        same = taken[ds.SOPInstanceUID]
        assert same.file_meta.TransferSyntaxUID == ds.file_meta.TransferSyntaxUID
        assert same.pixel_array.tobytes() == ds.pixel_array.tobytes()
        for element in ds:
            if element.VR not in ("SQ", "OB", "OW", "OF"):
                assert same[element.tag].value == element.value, element.keyword
