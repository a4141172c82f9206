"""Who the patient of a series is, where its files write it in several ways, or name several."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from series import Elements, open_image, places, series, straight

from imagedata_xr.errors import ImagedataWarning
from imagedata_xr.formats.reading import tree_paths
from imagedata_xr.formats.seam import Node
from imagedata_xr.model.identity import patient_digest


@pytest.mark.parametrize(
    "other",
    [
        {"PatientName": "Müller^Jörg^^"},
        {"PatientName": "Müller^Jörg", "SpecificCharacterSet": "ISO_IR 192"},
        {"PatientName": "Müller^Jörg ", "PatientID": " id-1"},
    ],
)
def test_ways_to_write_one_patient_are_one_image_that_knows_its_patient(tmp_path: Path, other: Elements) -> None:
    """Files of one series come through several systems: none of its slices, and no name, is lost by that."""

    def vary(v: int, k: int) -> dict[str, Any]:
        first = {"PatientName": "Müller^Jörg", "SpecificCharacterSet": "ISO_IR 100"}
        return {"ScanningSequence": "GR", "SequenceVariant": "NONE", **first, **(other if k > 1 else {})}

    with warnings.catch_warnings():
        warnings.simplefilter("error", ImagedataWarning)
        a = open_image(series(tmp_path / "in", 1, 4, vary))
        assert places(a) == straight(1, 4)
        assert (a.attrs["PatientName"], a.attrs["PatientID"]) == ("Müller^Jörg", "id-1")
        assert int(a.patient) == patient_digest(a.attrs)
        (2 * a).imd.write(tmp_path / "out")
        assert open_image(tmp_path / "out").attrs["PatientName"] == "Müller^Jörg"


@pytest.mark.parametrize(("keyword", "value"), [("PatientName", "DOE^JANE"), ("PatientBirthDate", None)])
def test_several_patients_of_one_series_are_said_and_kept_apart(tmp_path: Path, keyword: str, value: Any) -> None:
    folder = series(tmp_path, 1, 4, lambda v, k: {keyword: value} if k > 1 else {})
    with pytest.warns(ImagedataWarning, match=f"series 7.* name 2 patients, by their {keyword}") as said:
        tree = xr.open_datatree(folder, engine="imagedata")
    assert not [w for w in said if "doe" in str(w.message).lower()]
    assert sorted(leaf.to_dataset()["image"].shape[:2] for leaf in tree.leaves) == [(1, 2), (1, 2)]
    values = np.concatenate([leaf.to_dataset()["image"].values[0, :, 0, 0] for leaf in tree.leaves])
    assert sorted(values.tolist()) == [0, 100, 200, 300]


def test_no_node_takes_the_place_of_another() -> None:
    nodes = [Node(("p", "s", "1"), xr.Dataset(), identity=("a", "b", "c")) for _ in range(3)]
    assert [path for path, _ in tree_paths(nodes)] == ["/p/s/1", "/p/s/1~2", "/p/s/1~3"]
