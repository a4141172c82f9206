"""The real series with known truth: read, written as NIfTI, and judged by the tool that comes with them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.slow
def test_classic_series_agree_with_their_truth(
    shared: Path, shared_cases: Path, case_work: Path, case: Callable[[str], Path]
) -> None:
    index = json.loads((shared_cases / "index.json").read_text(encoding="utf-8"))
    names = [entry["id"] for entry in index if "classic" in entry["props"]]
    assert names, "no case is marked as classic"
    for name in names:
        case(name)  # unpacked here, since the tool's own unpacking may meet that of another test
    done = subprocess.run(
        [sys.executable, "tools/check_cases.py", "--with-props", "classic", "--work", str(case_work)],
        cwd=shared,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},  # the folder with the tool may be read only
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"full {len(names)} of {len(names)} cases" in done.stdout
