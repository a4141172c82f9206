"""Ranges of objects of S3, each with the state of the object: the answer tells it, and s3fs keeps it to itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.asyn import sync

from .told import Told, note

_USED = ("_call_s3", "split_path", "loop")


def is_s3(fs: AbstractFileSystem) -> bool:
    """Tell whether a filesystem is s3fs, with what is used of it here."""
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    return "s3" in protocols and all(hasattr(fs, name) for name in _USED)


def s3_ranges(
    fs: Any, paths: Sequence[str], starts: Sequence[int], stops: Sequence[int]
) -> list[tuple[bytes, Told | None] | BaseException]:
    """Read ranges, all at once; fewer bytes where an object ends, the error of what fails."""

    async def together() -> list[tuple[bytes, Told | None] | BaseException]:
        asked = [_range(fs, *one) for one in zip(paths, starts, stops, strict=True)]
        return await asyncio.gather(*asked, return_exceptions=True)

    result: list[tuple[bytes, Told | None] | BaseException] = sync(fs.loop, together)
    return result


async def _range(fs: Any, path: str, start: int, stop: int) -> tuple[bytes, Told | None]:
    if stop <= start:
        return b"", None
    bucket, key, version = fs.split_path(path)
    more = {"VersionId": version} if version else {}
    try:
        answer = await fs._call_s3("get_object", Bucket=bucket, Key=key, Range=f"bytes={start}-{stop - 1}", **more)
    except OSError as error:
        if _status(error) == 416:  # the object ends before the range begins
            return b"", None
        raise
    try:
        data: bytes = await answer["Body"].read()
    finally:
        answer["Body"].close()
    total = str(answer.get("ContentRange", "")).rpartition("/")[2]
    told = Told(int(total) if total.isdigit() else None, str(answer.get("ETag") or ""))
    return data, note(fs, path, told)


def _status(error: BaseException) -> int | None:
    answer = getattr(error.__cause__, "response", None)
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(answer, dict) else None
    return int(status) if status else None
