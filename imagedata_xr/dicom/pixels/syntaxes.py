"""Transfer syntaxes (PS3.5 annex A, PS3.6 annex A): how pixels are encoded, what decodes them, what is not read."""

from __future__ import annotations

from dataclasses import dataclass

BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
"""The whole data set is deflated: its pixels have no place in the file."""
ENCAPSULATED_NATIVE = "1.2.840.10008.1.2.1.98"
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
RLE = "1.2.840.10008.1.2.5"

_JPEG = "1.2.840.10008.1.2.4."
_NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", BIG_ENDIAN, DEFLATED)

IMAGECODECS = "imagecodecs (the extra 'codecs' of this package)"


@dataclass(frozen=True)
class Codec:
    """How the frames of a compressed transfer syntax are decoded.

    Attributes
    ----------
    name : str
        Of the compression.
    family : str
        What the codestream is: "jpeg", "jpegls", "jpeg2000", "jpegxl", "rle", "deflate" or "native".
    functions : tuple of str
        Functions of imagecodecs, the quickest first.
    others : str
        Packages through which pydicom decodes it too; empty where nothing is needed.
    lossy : bool
        Whether values may differ from those that were encoded.
    """

    name: str
    family: str
    functions: tuple[str, ...] = ()
    others: str = ""
    lossy: bool = False

    @property
    def install(self) -> str:
        """What has to be installed where it can't be decoded."""
        return f"{IMAGECODECS}, or {self.others} for pydicom" if self.others else IMAGECODECS


_LOSSLESS = ("jpeg8_decode", "ljpeg_decode", "jpegsof3_decode")
_OPENJPEG = "pylibjpeg and pylibjpeg-openjpeg"

CODECS: dict[str, Codec] = {
    ENCAPSULATED_NATIVE: Codec("Encapsulated Uncompressed", "native"),
    DEFLATED_FRAMES: Codec("Deflated Image Frame", "deflate"),
    RLE: Codec("RLE Lossless", "rle"),  # by pydicom: that of imagecodecs ends the program on damaged frames
    _JPEG + "50": Codec("JPEG Baseline", "jpeg", ("jpeg8_decode",), "Pillow", lossy=True),
    _JPEG + "51": Codec("JPEG Extended", "jpeg", ("jpeg8_decode",), "python-gdcm", lossy=True),
    _JPEG + "53": Codec("JPEG Spectral Selection", "jpeg", ("jpeg8_decode",), lossy=True),
    _JPEG + "55": Codec("JPEG Full Progression", "jpeg", ("jpeg8_decode",), lossy=True),
    _JPEG + "57": Codec("JPEG Lossless", "jpeg", _LOSSLESS, "python-gdcm"),
    _JPEG + "70": Codec("JPEG Lossless SV1", "jpeg", _LOSSLESS, "python-gdcm"),
    _JPEG + "80": Codec("JPEG-LS Lossless", "jpegls", ("jpegls_decode",), "pyjpegls"),
    _JPEG + "81": Codec("JPEG-LS Near-Lossless", "jpegls", ("jpegls_decode",), "pyjpegls", lossy=True),
    _JPEG + "90": Codec("JPEG 2000 Lossless", "jpeg2000", ("jpeg2k_decode",), _OPENJPEG),
    _JPEG + "91": Codec("JPEG 2000", "jpeg2000", ("jpeg2k_decode",), _OPENJPEG, lossy=True),
    _JPEG + "110": Codec("JPEG XL Lossless", "jpegxl", ("jpegxl_decode",)),
    _JPEG + "111": Codec("JPEG XL JPEG Recompression", "jpegxl", ("jpegxl_decode",), lossy=True),
    _JPEG + "112": Codec("JPEG XL", "jpegxl", ("jpegxl_decode",), lossy=True),
    # by OpenJPEG: htj2k_decode of imagecodecs passes over what OpenJPH finds wrong, and leaves lines as they were
    _JPEG + "201": Codec("HTJ2K Lossless", "jpeg2000", ("jpeg2k_decode",), _OPENJPEG),
    _JPEG + "202": Codec("HTJ2K Lossless RPCL", "jpeg2000", ("jpeg2k_decode",), _OPENJPEG),
    _JPEG + "203": Codec("HTJ2K", "jpeg2000", ("jpeg2k_decode",), _OPENJPEG, lossy=True),
}
"""Compressed transfer syntaxes that are read."""

REFERENCED = dict.fromkeys((_JPEG + "94", _JPEG + "95", _JPEG + "204", _JPEG + "205"), "JPIP")
"""The pixels are on a server: the instance holds no more than its address (PS3.5 sections A.6, A.7)."""

_VIDEO = {
    **dict.fromkeys(("100", "100.1", "101", "101.1"), "MPEG2"),
    **dict.fromkeys(("102", "102.1", "103", "103.1", "104", "104.1", "105", "105.1", "106", "106.1"), "MPEG-4 H.264"),
    **dict.fromkeys(("107", "108"), "HEVC H.265"),
}
VIDEO = {_JPEG + suffix: name for suffix, name in _VIDEO.items()} | {
    f"1.2.840.10008.1.2.7.{k}": "SMPTE ST 2110" for k in (1, 2, 3)
}


def refusal(syntax: str) -> str | None:
    """Why pixels of a transfer syntax can't be read, whatever is installed; None where they can."""
    if syntax in _NATIVE or syntax in CODECS:
        return None
    if syntax in REFERENCED:
        return (
            f"their pixels are on a {REFERENCED[syntax]} server (transfer syntax {syntax}), which is not asked for "
            "them: fetch the images from there, or from an archive, in another transfer syntax"
        )
    if syntax in VIDEO:
        return (
            f"their pixels are {VIDEO[syntax]} video (transfer syntax {syntax}), which is not read: convert them to "
            "frames, with ffmpeg for instance"
        )
    name = _name(syntax)
    return f"their pixels are encoded as {name}, which is not read: convert them, with gdcmconv or dcmconv for instance"


def _name(syntax: str) -> str:
    from pydicom.uid import UID

    name = str(UID(syntax).name)
    return f"transfer syntax {syntax}" if name == syntax else f"{name} (transfer syntax {syntax})"
