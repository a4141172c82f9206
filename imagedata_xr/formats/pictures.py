"""PNG and JPEG pictures, by Pillow."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, ImagedataError, SourceError, warn
from ..stores.ranges import Plain
from ..stores.url import File, file_name, reason
from .fit import Holds
from .pages import Page, PageFormat, believable, turned
from .pictures_out import PictureWriter
from .seam import Needs

if TYPE_CHECKING:
    from PIL.Image import Image

_PNG = b"\x89PNG\r\n\x1a\n"
_ORIENTATION = 0x0112
_KINDS = {"1": "?", "L": "u1", "LA": "u1", "I;16": "<u2", "I;16L": "<u2", "I;16B": "<u2", "I": "<u2"}


class _Pillow(PageFormat, PictureWriter):
    """What PNG and JPEG share."""

    needs = Needs("PIL", "pictures")

    def pages(self, file: File, options: Any) -> list[Page]:
        """Read the header of a picture."""
        name = file_name(file)
        self._refuse(Plain(file).head(33), name)
        with opened(file) as image:
            count = int(getattr(image, "n_frames", 1))
            if count > 1 and image.format != "MPO":  # MPO: previews of the same picture
                raise FormatError(f"{name} is an animation of {count} pictures, which is not read")
            stored, colour = _kind(image, name)
            orientation, spacing = _orientation(image), _spacing(image)
            cols, rows = image.size
        if orientation in (5, 6, 7, 8):
            rows, cols, spacing = cols, rows, None if spacing is None else spacing[::-1]
        return [Page(file, 0, (rows, cols), stored, colour, spacing)]

    def decode(self, file: File, numbers: Sequence[int], options: Mapping[str, Any]) -> Iterator[NDArray[Any]]:
        """Pixels of a picture."""
        name = file_name(file)
        with opened(file) as image:
            stored, colour = _kind(image, name)
            before = _orientation(image)
            image.load()
            if _orientation(image) != before:
                raise FormatError(
                    f"{name} says only after its pixels how it is to be turned: turn it by another program"
                )
            if _transparent(image, name):
                warn(f"{name} is transparent in part: its colours are read as if it were not")
            pixels = np.asarray(_opaque(image, colour))
        if pixels.dtype.kind == "i":  # how older versions of Pillow give 16 bits
            pixels = pixels.astype(np.uint16)
        out = turned(pixels, before).astype(stored, copy=False)
        for _ in numbers:
            yield out

    def _refuse(self, head: bytes, name: str) -> None:
        """Raise `FormatError` for what Pillow would read with fewer bits than there are."""
        if head[:8] == _PNG and len(head) > 25 and head[24] == 16 and head[25] in (2, 4, 6):
            what = "colour" if head[25] in (2, 6) else "grey and transparency"
            raise FormatError(
                f"{name} has {what} of 16 bits, which an image can't hold: save it with 8 bits, or as grey"
            )


class Png(_Pillow):
    """PNG: grey of 1, 8 and 16 bits, colours of 8 bits.

    Format options for reading: ``volumes``, the number of volumes that the pictures are. For writing: ``window``,
    ``bits`` (8 or 16), see `window`.
    """

    name = "png"
    extensions: tuple[str, ...] = (".png",)
    description = "PNG pictures, one per slice; no place in the patient"
    depths = (8, 16)

    def put(
        self, pixels: NDArray[Any], place: Path, spacing: tuple[float, float] | None, how: Mapping[str, Any]
    ) -> None:
        """Write one picture, with its resolution in pixels per metre (PNG 11.3.5.3, pHYs)."""
        from PIL import Image

        held = {}
        if spacing is not None:
            per_metre = [round(1000 / mm) for mm in (spacing[1], spacing[0])]
            if all(0 < n < 1 << 31 for n in per_metre):
                held["dpi"] = tuple(n * 0.0254 for n in per_metre)  # Pillow makes pixels per metre of it again
        _save(Image.fromarray(pixels), place, format="PNG", **held)


class Jpeg(_Pillow):
    """JPEG: grey and colours of 8 bits, with loss.

    Format options for reading: ``volumes``. For writing: ``window``, ``quality`` (1 to 100), see `window`.
    """

    name = "jpeg"
    extensions: tuple[str, ...] = (".jpg", ".jpeg")
    description = "JPEG pictures, one per slice, with loss; no place in the patient"
    writing = ("window", "quality")
    exact = Holds("JPEG", ("u1",))
    lossy = True

    def put(
        self, pixels: NDArray[Any], place: Path, spacing: tuple[float, float] | None, how: Mapping[str, Any]
    ) -> None:
        """Write one picture; colours are not subsampled."""
        from PIL import Image

        quality = how.get("quality", 95)
        if quality not in range(1, 101):
            raise FormatError(f"format_options quality={quality!r}: from 1 to 100")
        shown = pixels * np.uint8(255) if pixels.dtype == bool else pixels
        _save(Image.fromarray(shown), place, format="JPEG", quality=quality, subsampling=0)


def _save(image: Image, place: Path, **how: Any) -> None:
    """Write a picture; not straight into the file, where Pillow takes half of what it wrote for all, on a full disk."""
    image.save(packed := io.BytesIO(), **how)
    place.write_bytes(packed.getbuffer())


@contextmanager
def opened(file: File) -> Iterator[Image]:
    """Open a file by Pillow; its errors become ours.

    Raises
    ------
    SourceError
        If the file is damaged, or no picture.
    FormatError
        If Pillow is not installed.
    """
    name = file_name(file)
    if find_spec("PIL") is None:
        raise FormatError(f"{name} is a picture, which needs the package Pillow: pip install 'imagedata-xr[pictures]'")
    from PIL import Image, UnidentifiedImageError

    try:
        with file.fs.open(file.path, "rb") as stream, Image.open(stream, formats=("PNG", "JPEG", "MPO")) as image:
            yield image
    except ImagedataError:
        raise
    except UnidentifiedImageError as error:
        raise SourceError(f"{name} is no picture of PNG or JPEG, or its header is damaged") from error
    except Image.DecompressionBombError as error:
        raise SourceError(f"{name} is too large: {error}") from error
    except FileNotFoundError as error:
        raise SourceError(f"{name} can't be read: {reason(error)}") from error
    except Exception as error:  # Pillow raises whatever damaged bytes lead to
        raise SourceError(f"{name} is damaged: {type(error).__name__} {error}") from error


def _kind(image: Image, name: str) -> tuple[np.dtype[Any], bool]:
    """Type of the pixels, and whether they are colours; a palette of greys is grey."""
    mode = image.mode
    if mode in ("P", "PA"):
        table = np.array(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
        return np.dtype(np.uint8), bool((table != table[:, :1]).any())
    if mode in ("RGB", "RGBA", "YCbCr"):
        return np.dtype(np.uint8), True
    if mode not in _KINDS:
        raise FormatError(f"{name} has colours of the kind {mode}, which is not read: save it as RGB or grey")
    return np.dtype(_KINDS[mode]), False


def _opaque(image: Image, colour: bool) -> Image:
    """Picture without transparency and palette."""
    if colour:
        return image if image.mode == "RGB" else image.convert("RGBA" if image.mode == "PA" else "RGB").convert("RGB")
    if image.mode in ("P", "PA"):
        return image.convert("RGB").getchannel(0)
    return image.getchannel(0) if image.mode == "LA" else image


def _transparent(image: Image, name: str) -> bool:
    if image.mode in ("RGBA", "LA", "PA"):
        alpha = image.getchannel(image.getbands()[-1])
    elif "transparency" in image.info and image.mode in ("1", "L", "P", "RGB"):
        alpha = image.convert("RGBA").getchannel(3)
    elif "transparency" in image.info:  # one grey of 16 bits
        return bool((np.asarray(image) == image.info["transparency"]).any())
    else:
        return False
    low: Any = alpha.getextrema()[0]
    return bool(low < 255)


def _orientation(image: Image) -> int:
    """Orientation of Exif, 1 where none is said. Not by `getexif` of PNG, which decodes all pixels."""
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    value = image.getexif().get(_ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _spacing(image: Image) -> tuple[float, float] | None:
    """Spacing of rows and columns in mm, where a unit is known (PNG pHYs with metre, JFIF with inch or cm)."""
    known = image.info.get("jfif_unit") in (1, 2) if image.format != "PNG" else True
    dpi = image.info.get("dpi")
    try:
        across, down = (float(v) for v in dpi) if dpi is not None and known else (0.0, 0.0)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return believable(25.4 / down, 25.4 / across) if across > 0 and down > 0 else None
