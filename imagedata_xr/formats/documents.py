"""PDF, PostScript and EPS: their pages as pictures, by PDFium and by Ghostscript."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, ImagedataError, SourceError
from ..stores.url import File, file_name, reason
from .pages import Page, PageFormat
from .seam import Needs, ReadOptions, WriteOptions

DPI = 150.0
_TURNS = (0, 90, 180, 270)
_SECONDS = 300  # a program in PostScript need not end
_MOST = 1 << 29  # pixels of a page
_PDFIUM = threading.Lock()  # PDFium takes one call at a time, whatever the document
_SIZE = re.compile(rb"P[56]\s+(?:#[^\n]*\s+)*(\d+)\s+(\d+)\s+255\s")


class Document(PageFormat):
    """What documents of pages share.

    Format options for reading: ``dpi``, pixels per inch (150); ``gray``, grey instead of colours; ``rotate``, degrees
    by which pages are turned anticlockwise (0, 90, 180, 270); ``volumes``.
    """

    reading: ClassVar[tuple[str, ...]] = ("volumes", "dpi", "gray", "rotate")
    writes: ClassVar[bool] = False

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raise `FormatError` for values of ``format_options`` that can't be."""
        dpi, gray, rotate = options.get("dpi", DPI), options.get("gray", False), options.get("rotate", 0)
        if isinstance(dpi, bool) or not isinstance(dpi, int | float) or not 1 <= dpi <= 10000:
            raise FormatError(f"format_options dpi={dpi!r}: pixels per inch, from 1 to 10000")
        if not isinstance(gray, bool):
            raise FormatError(f"format_options gray={gray!r}: True or False")
        if isinstance(rotate, bool) or rotate not in _TURNS:
            raise FormatError(f"format_options rotate={rotate!r}: one of {', '.join(map(str, _TURNS))}")

    def write(self, image: Any, target: str, options: WriteOptions) -> Any:
        """Raise `FormatError`: documents are not written."""
        raise FormatError(f"{self.name} is read, and not written: write pictures (.png, .jpg) or TIFF (.tif)")

    def _page(
        self, file: File, number: int, size: tuple[int, int], points: tuple[float, float], options: Mapping[str, Any]
    ) -> Page:
        """Page of a size in pixels, and one in points (1/72 inch), rows first, before it is turned."""
        if size[0] * size[1] > _MOST or not all(size):
            raise FormatError(
                f"{file_name(file)} has a page of {size[1]} x {size[0]} pixels: format_options dpi takes less or more"
            )
        spacing = points[0] * 25.4 / 72 / size[0], points[1] * 25.4 / 72 / size[1]
        if options.get("rotate", 0) in (90, 270):
            size, spacing = size[::-1], spacing[::-1]
        return Page(file, number, size, np.dtype(np.uint8), not options.get("gray", False), spacing)


class Pdf(Document):
    """PDF, by PDFium."""

    name = "pdf"
    extensions: tuple[str, ...] = (".pdf",)
    description = "PDF, read: pages as pictures; no place in the patient"
    needs = Needs("pypdfium2", "pdf")

    def pages(self, file: File, options: ReadOptions) -> list[Page]:
        """Sizes of all pages."""
        how = options.format_options
        with _pdf(file) as document, _PDFIUM:
            sizes = [document.get_page_size(k) for k in range(len(document))]
        if not sizes:
            raise SourceError(f"{file_name(file)} has no pages")
        scale, pages = _scale(how), []
        for k, (width, height) in enumerate(sizes):
            size = math.ceil(height * scale), math.ceil(width * scale)  # a page is stretched to whole pixels
            pages.append(self._page(file, k, size, (height, width), how))
        return pages

    def decode(self, file: File, numbers: Sequence[int], options: Mapping[str, Any]) -> Iterator[NDArray[Any]]:
        """Draw pages."""
        gray = options.get("gray", False)
        with _pdf(file) as document:
            for number in numbers:
                with _PDFIUM:
                    page = document[number]
                    bitmap = page.render(scale=_scale(options), rev_byteorder=True, grayscale=gray)
                    drawn = np.array(bitmap.to_numpy())
                    bitmap.close()
                    page.close()
                pixels = drawn.reshape(drawn.shape[:2]) if gray else drawn[..., :3]
                yield np.rot90(pixels, options.get("rotate", 0) // 90)


def _scale(options: Mapping[str, Any]) -> float:
    """Pixels per point, a little less, so that what is whole is not rounded up."""
    return float(options.get("dpi", DPI)) / 72 * (1 - 1e-9)


@contextmanager
def _pdf(file: File) -> Iterator[Any]:
    """Open a document by PDFium; its errors become ours."""
    name = file_name(file)
    if find_spec("pypdfium2") is None:
        raise FormatError(f"{name} is a PDF, which needs the package pypdfium2: pip install 'imagedata-xr[pdf]'")
    from pypdfium2 import PdfDocument, PdfiumError

    try:
        data = file.fs.cat_file(file.path)
        with _PDFIUM:
            document = PdfDocument(data)
        try:
            yield document
        finally:
            with _PDFIUM:
                document.close()
    except ImagedataError:
        raise
    except PdfiumError as error:
        raise SourceError(f"{name} is damaged, locked by a password, or no PDF: {error}") from error
    except OSError as error:
        raise SourceError(f"{name} can't be read: {reason(error)}") from error


class PostScript(Document):
    """PostScript and EPS, by the program Ghostscript, which may neither read nor write other files."""

    name = "postscript"
    extensions: tuple[str, ...] = (".ps", ".eps")
    description = "PostScript and EPS, read by Ghostscript: pages as pictures; no place in the patient"
    needs = Needs(program="gs")

    def pages(self, file: File, options: ReadOptions) -> list[Page]:
        """Sizes of all pages: PostScript is a program, which must be run to tell them."""
        how = options.format_options
        point = 72 / how.get("dpi", DPI)
        with _drawn(file, how) as drawn:
            sizes = [_netpbm(page)[1] for page in drawn]
        return [self._page(file, k, (h, w), (h * point, w * point), how) for k, (h, w) in enumerate(sizes)]

    def decode(self, file: File, numbers: Sequence[int], options: Mapping[str, Any]) -> Iterator[NDArray[Any]]:
        """Draw all pages, and take some."""
        with _drawn(file, options) as drawn:
            for number in numbers:
                if number >= len(drawn):
                    raise SourceError(f"{file_name(file)} has {len(drawn)} pages, and had more when it was opened")
                begin, size = _netpbm(drawn[number])
                data = np.frombuffer(drawn[number].read_bytes()[begin:], np.uint8)
                shape = size if options.get("gray", False) else (*size, 3)
                if data.size != np.prod(shape):
                    raise SourceError(f"Ghostscript has not drawn page {number + 1} of {file_name(file)} to its end")
                yield np.rot90(data.reshape(shape), options.get("rotate", 0) // 90)


@contextmanager
def _drawn(file: File, options: Mapping[str, Any]) -> Iterator[list[Path]]:
    """Pages of a file as PGM or PPM, in a folder that is removed.

    Raises
    ------
    SourceError
        If Ghostscript ends with an error, draws nothing, or does not end.
    FormatError
        If it is not installed.
    """
    name, program = file_name(file), shutil.which("gs")
    if program is None:
        raise FormatError(f"{name} is PostScript, which needs the program Ghostscript (gs), and there is none")
    with tempfile.TemporaryDirectory(prefix="imagedata_xr_") as scratch:
        folder = Path(scratch)
        try:
            data = file.fs.cat_file(file.path)
        except OSError as error:
            raise SourceError(f"{name} can't be read: {reason(error)}") from error
        (folder / "in.ps").write_bytes(data)
        command = [
            program, "-dSAFER", "-dBATCH", "-dNOPAUSE", "-q", "-dEPSCrop", "-dTextAlphaBits=4", "-dGraphicsAlphaBits=4",
            f"-r{options.get('dpi', DPI):g}", f"-sDEVICE={'pgmraw' if options.get('gray', False) else 'ppmraw'}",
            "-sOutputFile=page%06d.pnm", "-f", "in.ps",
        ]  # fmt: skip
        # the folder for temporary files is open to the document: it must be that one, not where others have theirs
        own = {**os.environ, "TMPDIR": scratch, "TEMP": scratch, "TMP": scratch}
        try:
            done = subprocess.run(
                command, cwd=scratch, env=own, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise SourceError(f"{name}: Ghostscript has not ended after {_SECONDS} s") from error
        if done.returncode:
            what = re.search(rb"Error: (/\w+)", done.stdout + done.stderr)  # no more: it may quote the document
            kind = f" ({what[1].decode()})" if what else ""
            raise SourceError(f"{name} is damaged, or no PostScript: Ghostscript ended with an error{kind}")
        drawn = sorted(folder.glob("page*.pnm"))
        if not drawn:
            raise SourceError(f"{name} has no pages")
        yield drawn


def _netpbm(path: Path) -> tuple[int, tuple[int, int]]:
    """Where the pixels of a PGM or PPM begin; its rows and columns."""
    with path.open("rb") as f:
        found = _SIZE.match(f.read(500))
    if found is None:
        raise SourceError("Ghostscript has not drawn a page to its end")
    return found.end(), (int(found[2]), int(found[1]))
