"""Archives for tests, packed by the standard library."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

KINDS = ["stored.zip", "deflated.zip", "lzma.zip", "a.tar", "a.tar.gz", "a.TGZ"]


def pack(folder: Path, target: Path, top: str = "") -> Path:
    """Pack a folder by the standard library, by what the name of the target says."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    if target.suffix == ".zip":
        method = {"stored": 0, "lzma": 14}.get(target.stem, 8)
        with zipfile.ZipFile(target, "w", method) as archive:
            for path in paths:
                archive.write(path, top + path.relative_to(folder).as_posix())
    else:
        with tarfile.open(target, "w" if target.suffix == ".tar" else "w:gz") as tar:
            for path in paths:
                tar.add(path, "./" + top + path.relative_to(folder).as_posix())
    return target
