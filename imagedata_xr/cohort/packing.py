"""Archives as targets of many images: what workers write side by side is packed once, when all of it is there."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from fsspec.implementations.local import LocalFileSystem

from ..errors import SourceError
from ..formats.seam import WriteOptions
from ..stores.archives_out import ArchiveTarget, archive_target


class Packing:
    """A folder in place of an archive.

    It lies beside a local archive, where workers of other machines that share its file system reach it too, else among
    the temporary files of this machine.

    Parameters
    ----------
    address : str
        Of an archive, or of a folder in it.
    options : WriteOptions

    Raises
    ------
    FileExistsError
        Something is there and ``options.overwrite`` is false, or it is more than what images were written into.
    """

    def __init__(self, address: str, options: WriteOptions) -> None:
        self._address, self._options = address, options
        self._target = self._found()
        parent, name = os.path.split(self._target.file.path)
        beside = isinstance(self._target.file.fs, LocalFileSystem)
        if beside:
            os.makedirs(parent, exist_ok=True)
        self.folder = tempfile.mkdtemp(".part", f".{name}.", parent if beside else None)

    def _found(self) -> ArchiveTarget:
        target = archive_target(self._address, self._options.storage_options)
        assert target is not None
        target.check_folder(self._options.overwrite)
        return target

    def holds(self, path: str) -> bool:
        """Whether a file was written into the folder."""
        return path.startswith(self.folder + os.sep)

    def address_of(self, path: str) -> str:
        """Address in the archive of a file that was written into the folder."""
        return self._target.show(Path(path).relative_to(self.folder).as_posix())

    def pack(self, paths: list[str]) -> None:
        """Add files of the folder to the archive, all of them or none.

        Raises
        ------
        SourceError
            Files are not there: workers of another machine wrote them there.
        """
        if not paths:
            return
        if lost := sum(not os.path.isfile(path) for path in paths):
            raise SourceError(
                f"{lost} of {len(paths)} files for {self._target.shown} were written where this machine does not see "
                "them, by workers of another one: write into a folder that all of them share"
            )
        target = self._found()  # another format may have been packed into it
        sink = target.sink(target.check_folder(self._options.overwrite))
        try:
            for path in paths:
                sink.add(Path(path).relative_to(self.folder).as_posix(), Path(path))
            sink.finish()
        except BaseException:
            sink.abandon()
            raise

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
