"""Writing what multi-frame instances hold, of which each frame is compared with its own groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import multiframe
import pydicom.filereader
import pytest
import xarray as xr


def items_read(folder: Path, frames: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Write an enhanced instance of so many frames as it is; how many items of sequences pydicom reads for it."""
    folder.mkdir()
    multiframe.save(multiframe.instance([multiframe.Frame(k) for k in range(frames)]), folder / "a.dcm")
    image = xr.open_dataarray(folder, engine="imagedata").load()
    count, read = [0], pydicom.filereader.read_sequence_item

    def counted(*args: Any, **kwargs: Any) -> Any:
        count[0] += 1
        return read(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(pydicom.filereader, "read_sequence_item", counted)
        done = image.imd.write(folder.with_suffix(".out"))
    assert done.count == 1  # the instance as it was
    return count[0]


def test_groups_of_all_frames_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some, twice = (items_read(tmp_path / str(n), n, monkeypatch) for n in (10, 20))
    assert some < twice < 2.5 * some  # four times as many, where each frame decodes those of all
