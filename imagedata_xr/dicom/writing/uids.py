"""Unique identifiers of what this library makes."""

from __future__ import annotations

import uuid

IMPLEMENTATION_CLASS_UID = "2.25.139846245306917478102741163893561297163"
IMPLEMENTATION_VERSION_NAME = "IMAGEDATA_XR"


def new_uid() -> str:
    """Return a new UID made of a random UUID (PS3.5 B.2): valid everywhere, and registered by nobody."""
    return f"2.25.{uuid.uuid4().int}"
