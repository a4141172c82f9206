"""A cohort on a cluster: every series to NIfTI, and a number of each, by two worker processes.

``python examples/cohort.py [FOLDER]`` makes a small cohort in the folder (by default ``demo-output``), and works on it
as one does on any other: put your own address in place of it, and your own cluster in place of `LocalCluster`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import xarray as xr
from demo_cohort import make_cohort
from distributed import Client, LocalCluster

import imagedata_xr  # noqa: F401


def brightest(image: xr.DataArray) -> dict[str, object]:
    """What is wanted of each image; a worker reads it, here and nowhere else."""
    mean = image.mean("tag")
    return {"highest": float(mean.max()), "profile": mean.mean(["row", "col"]).values}


def early(image: xr.DataArray, volumes: int) -> xr.DataArray:
    """An image made of each image."""
    return image.isel(tag=slice(volumes)).mean("tag")


def main(folder: Path) -> None:
    """Make a cohort, and work on it."""
    source = make_cohort(folder / "cohort", patients=4)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        tree = xr.open_datatree(source, engine="imagedata", chunks={})  # headers only

        # every series to NIfTI, as 0001.nii, 0002.nii, ... What fails does not stop the others.
        written, failures = tree.imd.write(folder / "nifti", "nifti", workers=client, errors="collect", retries=1)
        print(f"{len(written)} written, {len(failures)} failed")
        print(failures)  # names no patient

        # numbers of each image, as a tree like that of the images
        results, failures = tree.imd.map(brightest, workers=client, errors="collect")
        print("highest:", [float(n["highest"]) for n in results.subtree if "highest" in n.data_vars])

        # images of each image, written by the workers at once as DICOM of the same patients: none comes back here
        tree.imd.map(early, 2, workers=client, to=folder / "early", to_options={"series_description": "early"})

        # what has failed, once more
        _, failures = tree.imd.map(brightest, workers=client, errors="collect", only=failures)

    first = xr.open_dataarray(folder / "early" / "0001", engine="imagedata")
    print("early:", dict(first.sizes), first.attrs["SeriesDescription"], np.round(first.imd.spacing, 2))


if __name__ == "__main__":  # workers import this file: what starts them must not run again there
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output"))
