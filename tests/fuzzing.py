"""Small files, spoilt at random, opened and loaded: a program of its own, with a limit of memory and of time.

Run as ``python fuzzing.py FOLDER SEED TRIES``, where the folder holds the good files. It prints one line of JSON: how
the tries ended, and what should not have happened.
"""

from __future__ import annotations

import faulthandler
import io
import json
import random
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from imagedata_xr.errors import ImagedataError, ImagedataWarning

MEMORY = 2**30
"""Bytes that a try may use on top of what the program had before."""
SECONDS = 20


class HangError(BaseException):
    """A try took too long; no handler of exceptions may swallow it."""


def spoilt(good: bytes, header: int, rng: random.Random) -> bytes:
    """A file with bytes flipped, cut, left out or repeated, in its header, its pixels, or anywhere."""
    data = bytearray(good)
    first, last = rng.choice([(128, header), (header, len(good)), (128, len(good))])
    last = max(last, first + 1)
    kind = rng.choice(["bits", "bytes", "bytes", "word", "cut", "drop", "repeat"])
    at = min(rng.randrange(first, last), len(data) - 1)
    if kind == "cut":
        return bytes(data[:at])
    if kind == "drop":
        del data[at : at + rng.choice([1, 2, 8, 100])]
    elif kind == "repeat":
        data[at:at] = data[at : at + rng.choice([1, 2, 8, 100])]
    elif kind == "word":
        data[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", bytes(4), b"\xff\xff\0\0", b"\xff\xff\xff\x7f"])
    else:
        for _ in range(rng.choice([1, 1, 3, 10])):
            at = min(rng.randrange(first, last), len(data) - 1)
            data[at] = data[at] ^ (1 << rng.randrange(8)) if kind == "bits" else rng.randrange(256)
    return bytes(data)


def header_length(good: bytes) -> int:
    """Where the pixel data of a good file begin, more or less."""
    at = max(good.rfind(tag) for tag in (b"\xe0\x7f\x10\0", b"\x7f\xe0\0\x10", b"\xe0\x7f\x08\0"))
    return at if at > 0 else len(good) // 2


def images(path: Path) -> list[xr.DataArray]:
    """Every image of a file, loaded."""
    tree = xr.open_datatree(path, engine="imagedata")
    return [n.to_dataset()["image"].load() for n in tree.subtree if "image" in n.data_vars]


def _differs(ds: Any) -> bool:
    """Whether the pixels of an image are not its frames: frames with a rescale of their own, tiles."""
    return "PerFrameFunctionalGroupsSequence" in ds or bool({"MOSAIC", "VFRAME"} & set(ds.get("ImageType") or ()))


def by_pydicom(data: bytes) -> NDArray[np.float64] | None:
    """Values that pydicom finds in a grey image of one rescale, shape (frames, rows, cols); None where it finds none.

    Bits outside of those stored are masked, which pydicom leaves to its user.
    """
    import pydicom

    try:
        ds = pydicom.dcmread(io.BytesIO(data), force=True)
        if ds.get("SamplesPerPixel", 1) != 1 or "ModalityLUTSequence" in ds or _differs(ds):
            return None
        if ds.file_meta.TransferSyntaxUID.startswith("1.2.840.10008.1.2.4."):
            return None  # decoders make different things of damaged codes
        stored = ds.pixel_array.astype(np.int64)
        bits, shift = int(ds.BitsStored), int(ds.get("HighBit", ds.BitsStored - 1)) + 1 - int(ds.BitsStored)
        stored = (stored >> shift) & (2**bits - 1)
        if ds.PixelRepresentation == 1:
            stored = np.where(stored >= 2 ** (bits - 1), stored - 2**bits, stored)
        scale, offset = float(ds.get("RescaleSlope") or 1), float(ds.get("RescaleIntercept") or 0)
        if "DoseGridScaling" in ds and "RescaleSlope" not in ds:
            scale = float(ds.DoseGridScaling)
        return np.asarray(stored * scale + offset).reshape(-1, ds.Rows, ds.Columns)
    except Exception:  # noqa: BLE001 - whatever it is, there is nothing to compare with
        return None


def same(got: xr.DataArray, expected: NDArray[np.float64]) -> bool:
    """Whether an image holds the planes that are expected, in any order."""
    planes = np.asarray(got.values, dtype=np.float64).reshape(-1, *got.shape[-2:])
    if planes.shape != expected.shape:
        return False

    def key(p: NDArray[np.float64]) -> list[bytes]:
        return sorted(np.ascontiguousarray(one.astype(np.float32)).tobytes() for one in p)

    if key(planes) == key(expected):
        return True
    return bool(np.allclose(np.sort(planes.ravel()), np.sort(expected.ravel()), rtol=1e-5))


def attempt(path: Path, data: bytes) -> tuple[str, str]:
    """How one try ended, and what was wrong with it (empty for nothing)."""
    path.write_bytes(data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            got = images(path)
        except ImagedataError:
            return "error", ""
        except HangError:
            return "hang", "it hung: " + "".join(traceback.format_exc().splitlines(True)[-8:])
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            trace = "".join(traceback.format_tb(error.__traceback__)[-4:])
            return "other", f"{type(error).__name__}: {error}\n{trace}"
    if any(issubclass(w.category, ImagedataWarning) for w in caught):
        return "warning", ""
    expected = by_pydicom(data)
    if expected is None or len(got) != 1 or got[0].ndim != 4:
        return "read", ""
    return ("same", "") if same(got[0], expected) else ("wrong", f"{got[0].shape} for {expected.shape}")


def limit_memory() -> None:
    """Let the program have `MEMORY` more bytes than it has now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def alarm(signum: int, frame: Any) -> None:
    """Interrupt a try."""
    raise HangError


def main(folder: Path, seed: int, tries: int) -> None:
    """Spoil and read."""
    rng = random.Random(seed)
    files = sorted(p for p in folder.iterdir() if p.is_file())
    good = [p.read_bytes() for p in files]
    count: Counter[str] = Counter()
    wrong: list[str] = []
    signal.signal(signal.SIGALRM, alarm)
    with tempfile.TemporaryDirectory() as scratch:
        for k, data in enumerate(good):  # all that is imported lazily, before memory is counted
            count[f"good {attempt(Path(scratch) / 'x.dcm', data)[0]}"] += 1
            by_pydicom(good[k])
        limit_memory()
        for n in range(tries):
            k = rng.randrange(len(good))
            data = spoilt(good[k], header_length(good[k]), rng)
            faulthandler.dump_traceback_later(3 * SECONDS, exit=True)
            signal.alarm(SECONDS)
            how, what = attempt(Path(scratch) / "x.dcm", data)
            signal.alarm(0)
            count[how] += 1
            if what:
                wrong.append(f"try {n} of seed {seed}, {files[k].name}: {what}")
    faulthandler.cancel_dump_traceback_later()
    sys.stdout.write(json.dumps({"count": count, "wrong": wrong}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
