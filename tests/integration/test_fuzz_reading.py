"""Reading spoilt files gives the right image, a warning that names the file, or our own error, and nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import encoded
import fuzzing
import mosaics
import multiframe
import numpy as np
import pydicom.data
import pytest
from pydicom.uid import RLELossless

SHIPPED = (
    "693_J2KI.dcm", "CT_small.dcm", "JPGExtended.dcm", "SC_rgb_dcmtk_+eb+cr.dcm", "SC_rgb_gdcm_KY.dcm",
    "SC_rgb_jls_lossy_line.dcm", "SC_rgb_jpeg_gdcm.dcm", "SC_rgb_rle_16bit.dcm", "rtdose_expb.dcm",
    "ExplVR_BigEnd.dcm", "JPEG-lossy.dcm", "JPEG2000.dcm", "JPEGLSNearLossless_16.dcm",
    "MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_expb.dcm", "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm", "SC_rgb_jpeg_gdcm.dcm",
    "SC_rgb_rle_16bit_2frame.dcm", "SC_rgb_rle_2frame.dcm", "SC_rgb_small_odd.dcm", "SC_ybr_full_422_uncompressed.dcm",
    "image_dfl.dcm", "liver_1frame.dcm", "rtdose.dcm", "rtdose_1frame.dcm", "rtdose_rle.dcm",
)  # fmt: skip
"""Small images that pydicom brings along: all its encodings, several kinds."""

SEED, TRIES = 20240102, 1500


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """Folder with the good files."""
    folder = tmp_path / "good"
    folder.mkdir()
    shipped = Path(pydicom.data.__file__).parent / "test_files"
    for name in SHIPPED:
        shutil.copy(shipped / name, folder / name)
    frames = [multiframe.Frame(k) for k in range(4)]
    multiframe.save(multiframe.instance(frames), folder / "made_enhanced.dcm")
    multiframe.save(multiframe.instance(frames), folder / "made_enhanced_rle.dcm", rle=True)
    values = [encoded.noise(0, 100 + k, "u1") for k in range(5)]
    coded = [encoded.rle(v) for v in values]
    elements = {**encoded.stored_as(values[0], 8), "NumberOfFrames": 5}
    for name, more, table in (("basic", {}, True), ("extended", encoded.extended(coded), False), ("no", {}, False)):
        path = folder / f"made_{name}_table.dcm"
        encoded.encapsulated(path, {**elements, **more}, [[c] for c in coded], RLELossless, table=table)
    multiframe.save(mosaics.mosaic(mosaics.Volume()), folder / "made_mosaic.dcm")
    return folder


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is that of Linux")
def test_spoilt_files_are_right_or_named(good: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", fuzzing.__file__, str(good), str(SEED), str(TRIES)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr  # a hang inside of a decoder ends the program
    report = json.loads(done.stdout)
    assert not report["wrong"], "\n".join(report["wrong"])
    count = report["count"]
    assert sum(n for how, n in count.items() if not how.startswith("good")) == TRIES
    # the tries are worth something: good files are read, and spoilt ones end in every way
    assert count["good same"] + count["good read"] >= len(SHIPPED)
    assert min(count["same"], count["read"], count["error"]) > TRIES / 20


def test_judge_knows_right_from_wrong(good: Path, tmp_path: Path) -> None:
    data = (good / "MR_small.dcm").read_bytes()
    assert fuzzing.attempt(tmp_path / "x.dcm", data) == ("same", "")
    (image,) = fuzzing.images(tmp_path / "x.dcm")
    expected = fuzzing.by_pydicom(data)
    assert expected is not None
    assert fuzzing.same(image, expected)
    assert not fuzzing.same(image, expected + np.eye(*expected.shape[1:]))
    assert not fuzzing.same(image, expected[:, :-1])
