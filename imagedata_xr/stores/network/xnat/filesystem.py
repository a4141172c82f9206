"""XNAT as a file system of fsspec: ``xnat://host/project/subject/experiment/scan/resource/file``.

XNAT gives no parts of files. So what is read is fetched whole, several files at once, checked, and kept while the
process lives (with ``keep=True`` longer), as `fetch` does it; ranges come from there.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any

from fsspec.callbacks import DEFAULT_CALLBACK

from ....errors import SourceError
from .address import LEVELS
from .contents import Remote
from .fetch import fetch_files
from .put import put_file
from .tree import XnatTree


class XnatFileSystem(XnatTree):
    """Projects, subjects, experiments, scans and resources as folders, with the files of resources in them.

    Parameters
    ----------
    host : str
        Host, and port where there is one.
    scheme : str
        ``xnat``, or ``xnat+http`` for a connection that is not encrypted.
    **options
        Settings of the connection (`username`, `password`, `ca`, `keep`, ...), and fsspec's options of listings.
        Secrets are kept for this process only: what is pickled or made JSON finds them in the environment or in
        ``.netrc``.
    """

    def __init__(self, host: str, scheme: str = "xnat", **options: Any) -> None:
        super().__init__(host, scheme, **options)
        self._kept: dict[str, tuple[Remote, Path]] = {}

    # --- reading -----------------------------------------------------------------------------------------------------

    def _here(self, paths: Iterable[str]) -> dict[str, Path | OSError]:
        """Fetch files that are not here yet, many at once; their places here, or why there is none."""
        out: dict[str, Path | OSError] = {}
        wanted: dict[str, list[Remote]] = {}
        for path in dict.fromkeys(paths):
            try:
                info = self.info(path)
                if info["type"] != "file":
                    raise IsADirectoryError(21, "this is no file, but holds some", path)
            except OSError as error:
                out[path] = error
                continue
            remote = Remote(info["file"], info["size"], info["md5"])
            kept = self._kept.get(path)
            if kept is not None and kept[0] == remote and kept[1].is_file():
                out[path] = kept[1]
            else:
                wanted.setdefault("/".join(path.split("/")[: len(LEVELS)]), []).append(remote)
        for top, files in wanted.items():
            out |= self._fetched(top, files)
        return out

    def _fetched(self, top: str, files: list[Remote]) -> dict[str, Path | OSError]:
        paths = {file.name: f"{top}/{file.name}" for file in files}
        try:
            places = fetch_files(self._client, self._place(top.split("/")), files)
        except OSError as error:
            return dict.fromkeys(paths.values(), error)
        for file in files:
            self._kept[paths[file.name]] = file, places[file.name]
        return {paths[name]: place for name, place in places.items()}

    def _one(self, path: str) -> Path:
        path = self._strip_protocol(path)
        place = self._here([path])[path]
        if isinstance(place, OSError):
            raise place
        return place

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **more: Any) -> bytes:
        """Read a file, or a part of it."""
        with open(self._one(path), "rb") as file:
            return _part(file, start, end)

    def cat_ranges(
        self, paths: list[str], starts: Any, ends: Any,
        max_gap: int | None = None, on_error: str = "return", **more: Any,
    ) -> list[Any]:  # fmt: skip
        """Read parts of many files, which are fetched several at once."""
        names = [self._strip_protocol(path) for path in paths]
        firsts = starts if isinstance(starts, list) else [starts] * len(names)
        lasts = ends if isinstance(ends, list) else [ends] * len(names)
        here = self._here(names)
        out: list[Any] = []
        for name, first, last in zip(names, firsts, lasts, strict=True):
            place = here[name]
            if isinstance(place, OSError):
                if on_error != "return":
                    raise place
                out.append(place)
                continue
            with open(place, "rb") as file:
                out.append(_part(file, first, last))
        return out

    def cat(self, path: Any, recursive: bool = False, on_error: str = "raise", **more: Any) -> Any:
        """Read files, which are fetched several at once."""
        self._ahead(path, recursive)
        return super().cat(path, recursive=recursive, on_error=on_error, **more)

    def get(self, rpath: Any, lpath: Any, recursive: bool = False, **more: Any) -> Any:
        """Copy files to this computer; they are fetched several at once."""
        self._ahead(rpath, recursive)
        return super().get(rpath, lpath, recursive=recursive, **more)

    def _ahead(self, path: Any, recursive: bool) -> None:
        self._here(one for one in self.expand_path(path, recursive=recursive) if self.isfile(one))

    def get_file(
        self, rpath: str, lpath: Any, callback: Any = DEFAULT_CALLBACK, outfile: Any = None, **more: Any
    ) -> None:
        """Copy a file to this computer."""
        if self.isdir(rpath):
            Path(lpath).mkdir(parents=True, exist_ok=True)
            return
        place = self._one(rpath)
        callback.set_size(place.stat().st_size)
        if outfile is not None:
            with open(place, "rb") as file:
                shutil.copyfileobj(file, outfile)
        else:
            Path(lpath).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(place, lpath)
        callback.relative_update(place.stat().st_size)

    def _open(self, path: str, mode: str = "rb", **more: Any) -> Any:
        if mode == "rb":
            return open(self._one(path), "rb")
        if mode in ("wb", "xb"):
            self._check_file(path)
            if mode == "xb" and self._there(path):
                raise _exists(path)
            return _Upload(lambda file: self._put(path, file, mode == "wb"))
        raise ValueError(f"mode {mode!r}: files of XNAT are read (rb) or written whole (wb, xb)")

    # --- writing -----------------------------------------------------------------------------------------------------

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **more: Any) -> None:
        """Write a file; with ``mode="create"`` one that is there is an error."""
        self._put(path, io.BytesIO(value), mode != "create")

    def put_file(
        self, lpath: Any, rpath: str, callback: Any = DEFAULT_CALLBACK, mode: str = "overwrite", **more: Any
    ) -> None:
        """Copy a file of this computer there."""
        if Path(lpath).is_dir():
            return  # folders are made by the names of files
        with open(lpath, "rb") as file:
            self._put(rpath, file, mode != "create")
        callback.relative_update(Path(lpath).stat().st_size)

    def _check_file(self, path: str) -> list[str]:
        parts = str(self._strip_protocol(path)).split("/")
        if len(parts) <= len(LEVELS):
            raise SourceError(f"{self.at.server}: files lie in resources, project/subject/experiment/scan/resource")
        return parts

    def _put(self, path: str, file: IO[bytes], overwrite: bool) -> None:
        parts = self._check_file(path)
        top = "/".join(parts[: len(LEVELS)])
        self.makedirs(top, exist_ok=True)
        try:
            put_file(self._client, self._place(parts[: len(LEVELS)]), "/".join(parts[len(LEVELS) :]), file, overwrite)
        finally:
            self.invalidate_cache(top)

    def mkdir(self, path: str, create_parents: bool = True, xsi_type: str = "", **more: Any) -> None:
        """Make a resource, or with `xsi_type` (such as ``xnat:mrScanData``) a scan; folders in resources need none.

        Raises
        ------
        FileExistsError
            It is there.
        SourceError
            Subjects and experiments are made by those who run the site.
        """
        parts = self._strip_protocol(path).split("/")
        if len(parts) > len(LEVELS):
            return
        if len(parts) < 4:
            raise SourceError(f"{self.at.server}: projects, subjects and experiments are made on the site itself")
        if self._there(path):
            raise _exists(path)
        if len(parts) == 4:
            if not xsi_type:
                raise SourceError(f"{self.at.server}: a scan needs its type: mkdir(path, xsi_type='xnat:mrScanData')")
            query = {"xsiType": xsi_type}
        else:
            query = {"format": parts[-1]}
        with self._client.request("PUT", self._place(parts), query, accept=(409,)) as answer:
            made = answer.status_code != 409
        self.invalidate_cache(self._parent("/".join(parts)))
        if not made:
            raise _exists(path)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Make a resource, unless it is there."""
        if not (exist_ok and self._there(path)):
            self.mkdir(path)

    def rm_file(self, path: str) -> None:
        """Remove a file of a resource."""
        parts = self._check_file(path)
        if self.info(path)["type"] != "file":
            raise IsADirectoryError(21, "this is no file, but holds some", path)
        self._delete(
            (*self._place(parts[: len(LEVELS)]), "files", *parts[len(LEVELS) :]), "/".join(parts[: len(LEVELS)])
        )

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Remove files; with `recursive` folders of files, resources and scans, nothing above."""
        for one in path if isinstance(path, list) else [path]:
            name = self._strip_protocol(one)
            parts = name.split("/")
            if len(parts) < 4:
                raise SourceError(f"{self.at.server}: projects, subjects and experiments are not removed from here")
            if self.info(name)["type"] == "file":
                self.rm_file(name)
            elif not recursive:
                raise IsADirectoryError(21, "it holds files: recursive=True removes them", name)
            elif len(parts) > len(LEVELS):
                for file in self.find(name):
                    self.rm_file(file)
            else:
                self._delete(self._place(parts), self._parent(name))

    def _delete(self, place: Sequence[str], listing: str) -> None:
        with self._client.request("DELETE", place, {"removeFiles": "true"}, again=True, accept=(404,)):
            pass
        self.invalidate_cache(listing)


def _exists(path: str) -> FileExistsError:
    return FileExistsError(17, "something of this name is there already", path)


def _part(file: IO[bytes], start: int | None, end: int | None) -> bytes:
    first, last, _ = slice(start, end).indices(file.seek(0, 2))
    file.seek(first)
    return file.read(max(last - first, 0))


class _Upload(tempfile.SpooledTemporaryFile[bytes]):
    """A file that is kept aside while it is written, and sent whole when it is closed; after an error it is not."""

    def __init__(self, send: Callable[[IO[bytes]], None]) -> None:
        super().__init__(max_size=64 << 20)
        self._send: Callable[[IO[bytes]], None] | None = send

    def close(self) -> None:
        """Send it."""
        send, self._send = self._send, None
        try:
            if send is not None:
                self.seek(0)
                send(self)
        finally:
            super().close()

    def __exit__(self, kind: Any, error: Any, at: Any) -> None:
        """Send it, or forget it after an error."""
        if kind is not None:
            self._send = None
        self.close()
