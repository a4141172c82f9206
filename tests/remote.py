"""Servers of files on the loopback, and what a test needs to know of them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from series import series

OLD = 86_400.0
"""Seconds since the files of a series were changed."""


def aged(folder: Path, age: float = OLD) -> Path:
    """Let the files of a folder be old: what was changed just now may change again unseen."""
    then = time.time() - age
    for path in folder.rglob("*"):
        os.utime(path, (then, then))
    return folder


def big_series(folder: Path, count: int = 6) -> Path:
    """Slices of which the pixels are longer than the header."""
    rng = np.random.default_rng(1)

    def big(v: int, k: int) -> dict[str, Any]:
        return {"Rows": 128, "Columns": 128, "PixelData": rng.integers(0, 999, 128 * 128, "<u2").tobytes()}

    return aged(series(folder, 1, count, big))


def calls_of_s3(monkeypatch: pytest.MonkeyPatch, s3fs: Any) -> list[str]:
    """Names of the operations that are asked of S3 from now on."""
    calls: list[str] = []
    plain = s3fs.S3FileSystem._call_s3

    async def counted(self: Any, method: str, *args: Any, **more: Any) -> Any:
        calls.append(method)
        return await plain(self, method, *args, **more)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", counted)
    return calls
