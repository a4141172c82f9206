"""Elements that speak of rows and columns, where an image gets other ones.

They are few: in which direction phase was encoded, how many samples were taken along each, and to which side of the
patient rows and columns run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

_ALONG = 0.9  # cosine of directions that are the same axis, either way
_SAME = 1e-3

OF_AXES = ("InPlanePhaseEncodingDirection", "AcquisitionMatrix", "PatientOrientation")
"""Keywords of these elements."""


def turned(elements: Mapping[str, Any], before: ArrayLike, after: ArrayLike) -> dict[str, Any]:
    """Those of `OF_AXES` that are among some elements, for other rows and columns; None where nothing can be said.

    Parameters
    ----------
    elements : mapping
        Values by keyword.
    before, after : array_like, shape (6,)
        Direction along a row and down a column, as in Image Orientation (Patient).

    Returns
    -------
    dict
        Phase encoding along rows (``ROW``) is along columns (``COL``) where these were swapped, and so are the numbers
        of Acquisition Matrix (0018,1310): frequency rows and columns, phase rows and columns (PS3.3 C.8.3.1). In other
        planes neither can be said. Patient Orientation (0020,0020) is kept only as it is.
    """
    old, new = np.reshape(before, (2, 3)), np.reshape(after, (2, 3))
    found = {k: elements[k] for k in OF_AXES if elements.get(k) not in (None, "")}
    if np.abs(old - new).max() <= _SAME:
        return found
    out: dict[str, Any] = dict.fromkeys(found)
    cosines = np.abs(old @ new.T)
    if min(cosines[0, 0], cosines[1, 1]) > _ALONG:
        out |= {k: found[k] for k in OF_AXES[:2] if k in found}
    elif min(cosines[0, 1], cosines[1, 0]) > _ALONG:
        if (word := str(found.get(OF_AXES[0], ""))) in _SWAPPED:
            out[OF_AXES[0]] = _SWAPPED[word]
        if len(matrix := list(found.get(OF_AXES[1], ()))) == 4:
            out[OF_AXES[1]] = [matrix[k] for k in (1, 0, 3, 2)]
    return out


def turned_attrs(attrs: Mapping[str, Any], before: ArrayLike, after: ArrayLike) -> dict[str, Any]:
    """Attrs of an image that got other axes.

    Parameters
    ----------
    attrs : mapping
    before, after : array_like, shape (3, 3)
        Unit vectors (columns slice, row, col).
    """
    old, new = (np.concatenate([np.asarray(d)[:, 2], np.asarray(d)[:, 1]]) for d in (before, after))
    changes = turned(attrs, old, new)
    return {k: changes.get(k, v) for k, v in attrs.items() if changes.get(k, v) is not None}


_SWAPPED = {"ROW": "COL", "COL": "ROW"}
