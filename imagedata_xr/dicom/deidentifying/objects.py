"""Series without pixels, de-identified: objects that can be cleaned element by element, and a count of the others."""

from __future__ import annotations

from collections import Counter

import numpy as np
import xarray as xr

from ...errors import SourceError
from ...model.identity import patient_digest, study_digest
from ..headers.lookup import headers_of, remember
from .cleaning import Cleaner
from .deidentify import called
from .headers import DeidentifiedHeaders, new_instances
from .kinds import kind_of, may_stay
from .labels import elements_without
from .policy import Policy


def deidentified_objects(ds: xr.Dataset, policy: Policy) -> tuple[xr.Dataset | None, Counter[str]]:
    """De-identify a series without pixels.

    Parameters
    ----------
    ds : xarray.Dataset
        With the dim ``instance``, as `imagedata_xr.dicom.sorting.objects` makes it.
    policy : Policy

    Returns
    -------
    Dataset or None
        With the objects that may stay; None where there are none.
    collections.Counter
        Kinds of the objects that are left out.
    """
    gone: Counter[str] = Counter()
    headers = headers_of(ds)
    digests = np.atleast_1d(ds.coords["instance"].values).astype(np.int64)
    if headers is None:
        return None, Counter({"object whose source can't be reached": digests.size})
    kept = []
    for digest in digests.tolist():
        try:
            sop_class = str(headers.dataset(digest).get("SOPClassUID") or "") if headers.has(digest) else ""
        except SourceError:
            sop_class = ""
        if may_stay(sop_class, policy):
            kept.append(digest)
        else:
            gone[kind_of(sop_class)] += 1
    if not kept:
        return None, gone
    cleaner = Cleaner(policy)
    new = new_instances(headers, np.array(kept, dtype=np.int64), cleaner)
    source = called(ds.coords, policy)
    remember(source, DeidentifiedHeaders(headers, policy, {fresh: before for before, fresh in new.items()}))
    attrs = elements_without(ds.attrs, cleaner)
    coords = {
        "instance": ("instance", np.array([new[d] for d in kept], dtype=np.int64)),
        "patient": ((), np.int64(patient_digest(attrs))),
        "study": ((), np.int64(study_digest(attrs))),
        "source": ((), np.array(source, dtype=np.dtypes.StringDType())),
    }
    return xr.Dataset(coords=coords, attrs=attrs), gone
