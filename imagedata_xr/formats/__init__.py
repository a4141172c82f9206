"""One file per format, behind the seam that `imagedata_xr.formats.seam` writes down."""
