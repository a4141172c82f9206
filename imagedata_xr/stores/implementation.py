"""How this library names itself in files and associations (PS3.7 annex D.3.3.2)."""

from __future__ import annotations

CLASS_UID = "2.25.139846245306917478102741163893561297163"
VERSION_NAME = "IMAGEDATA_XR"
