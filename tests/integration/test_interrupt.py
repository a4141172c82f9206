"""Ctrl-C while something is written: what was there stays, nothing half written is left, no process goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from series import series

SLOW = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have what runs in the background ignore it
from imagedata_xr.cli import main, talk

def slow(self, done, total, plain=talk.Counter.__call__):
    plain(self, done, total)
    time.sleep(0.5)

talk.Counter.__call__ = slow
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of another kind")
@pytest.mark.parametrize("target", ["out", "a.zip?more", "new.tar.gz", "x.mha", "x.nii"])
def test_nothing_half_written_is_left(tmp_path: Path, target: str) -> None:
    series(tmp_path / "in", 10, 2, lambda v, k: {"AcquisitionTime": f"1015{v:02d}"})
    (tmp_path / "out").mkdir()
    archive = tmp_path / "a.zip"
    archive.write_bytes(b"PK\5\6" + bytes(18))  # an empty one
    before = {p.name: p.is_file() and p.read_bytes() for p in tmp_path.iterdir()}
    words = [sys.executable, "-c", SLOW, "convert", "--progress", "--order", "time", str(tmp_path / target), "in"]
    with subprocess.Popen(
        words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as run:
        assert run.stderr is not None
        line = run.stderr.readline()
        assert line.startswith(("written 1/", "written 2/")), line + run.stderr.read()
        assert {p.name for p in tmp_path.rglob("*")} - set(before) - {p.name for p in (tmp_path / "in").iterdir()}
        os.kill(run.pid, signal.SIGINT)
        rest = run.stderr.read()
        assert run.wait(60) == 130, rest
        assert "imd: interrupted" in rest
        with pytest.raises(ProcessLookupError):
            os.killpg(run.pid, 0)
    assert {p.name: p.is_file() and p.read_bytes() for p in tmp_path.iterdir()} == before
    assert not list((tmp_path / "out").iterdir())
