"""A series being written: which images are unchanged, and one instance after the other into a sink."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pydicom
import xarray as xr
from numpy.typing import NDArray

from ...errors import FormatError, warn
from ...formats.seam import WriteOptions, Written
from ...stores.sinks import Sink
from ..headers.header import Headers
from .asked import Asked
from .changed import Changed
from .compared import Compared, compare
from .compress import compress
from .copied import Copy
from .derived import Series
from .dicomdir_out import NAME as DICOMDIR
from .dicomdir_out import Entry, directory, entry_of
from .files_out import encode, open_target
from .images import At, Images
from .kept import Kept
from .own_headers import OwnHeaders


@dataclass(frozen=True)
class Job:
    """A series to be written; calling it writes.

    Attributes
    ----------
    image : xarray.DataArray
    target : str
    options : WriteOptions
    asked : Asked
    headers, instances, attrs, series
        Those of `Images`.
    """

    image: xr.DataArray
    target: str
    options: WriteOptions
    asked: Asked
    headers: Headers | None
    instances: NDArray[np.int64]
    attrs: pydicom.Dataset
    series: Series

    def __call__(self) -> Written:
        """Write the series.

        Raises
        ------
        FormatError
            ``keep_uid`` is asked for, and an image is not unchanged.
        """
        own = None if self.headers is None else OwnHeaders(self.headers)
        images = Images(self.image, self.headers, self.instances, self.attrs, self.series, own)
        compared = compare(images, self.asked.multiframe)
        # instances that are multi-frame already stay as they are
        converts = self.asked.multiframe and (compared.change is not None or not compared.multiframe)
        if self.options.keep_uid:
            _check_kept(compared, converts)
        maker: Kept | Changed
        if compared.change is None:
            decoded = converts or self.asked.dicomdir or bool(self.asked.transfer_syntax)
            maker = Kept(images, compared, self.options, decoded, converts)
        else:
            maker = Changed(images, compared, self.asked.sop_class)
        run = _Run(self.asked, self.options, self.options.keep_uid and not images.renamed)
        folder = open_target(self.target, self.options.overwrite, self.options.storage_options)
        try:
            if converts:
                run.add_all(folder, [((0, 0), maker.one_instance())], (1, 1), 1)
            else:
                run.add_all(folder, maker.instances(), self.instances.shape, maker.count)
            paths = folder.finish()
        except BaseException:
            folder.abandon()
            raise
        maker.warn()
        run.warn()
        order = sorted(range(len(run.uids)), key=lambda i: paths[i])  # a DICOMDIR comes last, and is no image
        ordered = tuple(paths[i] for i in order), tuple(run.uids[i] for i in order)
        report = getattr(folder, "report", None)
        return Written("dicom", ordered[0], len(run.uids), run.size, ordered[1], maker.series_uid, report)


def _check_kept(compared: Compared, converts: bool) -> None:
    """Raise `FormatError` where images can't be kept as they are."""
    if converts:
        raise FormatError("keep_uid=True keeps instances as they are, and multiframe=True makes a new one of them")
    if compared.change is not None:
        raise FormatError(
            f"keep_uid=True, but the image is not what its source instances say: {compared.change}. Without keep_uid "
            "it becomes a new series"
        )


class _Run:
    """Instances on their way into a sink, and what has gone there."""

    def __init__(self, asked: Asked, options: WriteOptions, keep_meta: bool) -> None:
        self._asked, self._progress, self._keep_meta = asked, options.progress, keep_meta
        self._as_stored = False  # whether the compression that was asked for was not used
        self.uids: list[str] = []
        self.size = 0

    def add_all(
        self, folder: Sink, made: Iterable[tuple[At, pydicom.Dataset | Copy]], shape: tuple[int, ...], total: int
    ) -> None:
        """Add instances, each under the name of its place in a grid of that shape; and a DICOMDIR, if asked for."""
        names = self._asked.names.all_of(*shape)
        entries: list[Entry] = []
        for done, ((v, k), ds) in enumerate(made, 1):
            data = ds.encoded(self._keep_meta) if isinstance(ds, Copy) else self._encoded(ds)
            folder.add(names[v][k], data)
            self.uids.append(str(ds.SOPInstanceUID))
            self.size += len(data)
            if self._asked.dicomdir:
                assert isinstance(ds, pydicom.Dataset)
                entries.append(entry_of(ds, names[v][k]))
            if self._progress is not None:
                self._progress(done, total)
        if self._asked.dicomdir:
            folder.add(DICOMDIR, directory(entries))

    def _encoded(self, ds: pydicom.Dataset) -> bytes:
        if self._asked.transfer_syntax and not compress(ds, self._asked.transfer_syntax):
            self._as_stored = True
        return encode(ds, self._keep_meta)

    def warn(self) -> None:
        """Say that a compression was not used for some images."""
        if self._as_stored:
            warn(
                "the pixels of unchanged images that are compressed already, or not of 8 or 16 bits, stay as they are "
                "stored: transfer_syntax was not used for them"
            )
