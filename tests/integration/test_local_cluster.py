"""Images on the workers of `distributed.LocalCluster`: two processes that have opened nothing themselves."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import cluster_jobs
import dask.base
import fsspec
import nibabel as nib
import numpy as np
import pydicom
import pytest
import xarray as xr
from distributed import Client, LocalCluster
from guarded_store import Guarded
from series import image, save, series

COUNT, SLICES, VOLUMES = 5, 3, 2


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(Path(cluster_jobs.__file__).parent), *filter(None, [os.environ.get("PYTHONPATH", "")])]
    )
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


def made(folder: Path, count: int = COUNT) -> Path:
    for n in range(count):
        series(
            folder / f"{n}", VOLUMES, SLICES,
            lambda v, k, n=n: {  # type: ignore[misc]
                "PatientID": f"secret-{n}", "PatientName": f"Hidden^Name{n}", "SeriesNumber": n + 1,
                "StudyInstanceUID": f"1.2.3.{n}.1", "SeriesInstanceUID": f"1.2.3.{n}.2",
                "SOPInstanceUID": f"1.2.3.{n}.3.{v + 1}.{k + 1}", "AcquisitionTime": f"1011{v:02d}",
                "RescaleIntercept": 10000 * n, "RescaleSlope": 1,
                ("SIEMENS MR HEADER", 0x0019, 0x0C): 50 * v,  # only whole headers keep it
            },
        )  # fmt: skip
    return folder


def opened(source: Any, **options: Any) -> xr.DataTree:
    return xr.open_datatree(source, engine="imagedata", **options)


def paths(tree: xr.DataTree) -> list[str]:
    return [node.path for node in tree.subtree if "image" in node.data_vars]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("cohort"))


@pytest.mark.parametrize("chunks", [None, {}])
def test_functions_run_on_the_workers(cohort: Path, client: Client, chunks: Any) -> None:
    tree = opened(cohort, chunks=chunks)
    where = tree.imd.map(cluster_jobs.process, workers=client)
    used = {int(where[path]["result"]) for path in paths(tree)}
    assert os.getpid() not in used
    values = tree.imd.map(cluster_jobs.mean_of, workers=client)
    for path in paths(tree):
        assert float(values[path]["result"]) == float(tree[path]["image"].mean())


def test_headers_are_read_by_workers(cohort: Path, client: Client) -> None:
    tree = opened(cohort)
    found = tree.imd.map(cluster_jobs.patient_of, workers=client)
    for path in paths(tree):
        assert found[path]["result"].item() == tree[path].to_dataset()["image"].attrs["PatientID"]


def test_unchanged_images_are_written_whole_by_workers(cohort: Path, client: Client, tmp_path: Path) -> None:
    tree = opened(cohort, chunks={})
    written = tree.imd.write(tmp_path / "out", workers=client)
    for path in paths(tree):
        own = tree[path].to_dataset()["image"].imd.header
        copies = [pydicom.dcmread(p) for p in written[path].paths]
        assert len(copies) == VOLUMES * SLICES
        for copy, source in zip(copies, own, strict=True):
            assert copy.PatientID == source.PatientID
            assert copy[0x0019, 0x100C].value == source[0x0019, 0x100C].value  # derived images lose it
            assert "SourceImageSequence" not in copy


def test_a_cohort_to_nifti(cohort: Path, client: Client, tmp_path: Path) -> None:
    tree = opened(cohort, chunks={})
    written, failures = tree.imd.write(tmp_path, "nifti", workers=client, errors="collect")
    assert failures.empty
    for n, path in enumerate(paths(tree), 1):
        assert written[path].paths[0] == str(tmp_path / f"{n:04d}.nii")
        array = tree[path].to_dataset()["image"]
        got: Any = nib.load(tmp_path / f"{n:04d}.nii")
        assert np.array_equal(got.get_fdata(), array.values.transpose(3, 2, 1, 0)[:, ::-1])


def test_a_mean_is_written_by_workers(cohort: Path, client: Client, tmp_path: Path) -> None:
    tree = opened(cohort, chunks={})
    tree.imd.map(lambda a: a.mean("tag"), workers=client, to=tmp_path / "out")
    for n, path in enumerate(paths(tree), 1):
        back = xr.open_dataarray(tmp_path / "out" / f"{n:04d}", engine="imagedata")
        expected = tree[path].to_dataset()["image"].mean("tag")
        assert back.attrs["PatientID"] == expected.attrs["PatientID"]
        assert np.abs(back.values[0] - expected.values).max() <= 0.5


def test_failures_and_workers_that_die(cohort: Path, client: Client, tmp_path: Path) -> None:
    tree = opened(cohort)
    results, failures = tree.imd.map(cluster_jobs.fails_for, [2, 5], workers=client, errors="collect", retries=1)
    numbers = [int(tree[path].to_dataset()["image"].attrs["SeriesNumber"]) for path in paths(tree)]
    assert sorted(failures.index) == sorted(numbers.index(n) + 1 for n in (2, 5))
    assert failures["attempts"].tolist() == [2, 2]
    results, failures = tree.imd.map(
        cluster_jobs.die_once, str(tmp_path / "mark"), workers=client, errors="collect", only=[1, 2]
    )
    assert failures.empty
    assert all("result" in results[path] for path in paths(tree)[:2])


def test_delayed_writing_on_workers(cohort: Path, client: Client, tmp_path: Path) -> None:
    tree = opened(cohort, chunks={})
    images = [tree[path].to_dataset()["image"] for path in paths(tree)]
    jobs = [a.imd.write(tmp_path / f"{n}", compute=False) for n, a in enumerate(images)]
    jobs += [a.imd.write(tmp_path / f"{n}.nii.gz", compute=False) for n, a in enumerate(images)]
    written = dask.base.compute(*jobs)  # type: ignore[no-untyped-call]
    assert [w.count for w in written[:COUNT]] == [VOLUMES * SLICES] * COUNT
    copy, source = pydicom.dcmread(written[1].paths[0]), images[1].imd.header.first
    assert copy[0x0019, 0x100C].value == source[0x0019, 0x100C].value


def test_lazy_images_are_small_to_send(tmp_path: Path) -> None:
    series(tmp_path, 25, 20, lambda v, k: {"AcquisitionTime": f"1011{v:02d}"})
    array = xr.open_dataarray(tmp_path, engine="imagedata")
    assert len(pickle.dumps(array)) < 500 * 220  # bytes per file, most of them its path
    assert len(cloudpickle.dumps(array.chunk({"tag": 1}))) < 500 * 220 + 25 * 500


def test_images_sent_by_hand_have_headers_and_values(cohort: Path, client: Client) -> None:
    tree = opened(cohort, chunks={})
    array = tree[paths(tree)[0]].to_dataset()["image"]
    assert client.submit(cluster_jobs.patient_of, array, pure=False).result() == array.attrs["PatientID"]
    assert np.array_equal(client.compute(array).result().values, array.compute(scheduler="synchronous").values)


KEY, PLAIN = "AKIATOPSECRETKEY", "very-secret-value"


def test_credentials_reach_workers_and_stand_nowhere_else(client: Client, tmp_path: Path) -> None:
    """The options of the store travel inside the pickled array, and in no name, text or encoding."""
    save(image(0, 0), tmp_path / "scans" / "a.dcm")
    save(image(0, 1), tmp_path / "scans" / "b.dcm")
    options = {"root": str(tmp_path), "token": PLAIN, "key": KEY}
    fsspec.register_implementation("guarded", Guarded, clobber=True)  # workers get the class by its name
    array = xr.open_dataarray("guarded://scans", engine="imagedata", storage_options=options, chunks={})
    assert array.compute(scheduler="synchronous").shape == (1, 2, 4, 5)
    value, patient = client.submit(cluster_jobs.mean_of, array), client.submit(cluster_jobs.patient_of, array)
    assert value.result() == pytest.approx(float(array.compute(scheduler="synchronous").mean()))
    assert patient.result() == "id-1"
    graph = array.__dask_graph__()
    texts = [str(key) for key in graph]
    texts += [repr(task) for task in dict(graph).values()]
    texts += [repr(layer) + str(layer.collection_annotations) for layer in graph.layers.values()]
    lazy = xr.open_dataset("guarded://scans", engine="imagedata", storage_options=options)
    texts += [
        repr(array),
        str(array.name),
        repr(array.encoding),
        repr(lazy.encoding),
        repr(lazy),
        repr(lazy.image.variable),
    ]
    texts += [repr(lazy.image.variable._data), lazy._repr_html_(), array._repr_html_(), str(value.key)]
    whole = xr.open_dataset(f"guarded://me:{PLAIN}@scans?key={KEY}", engine="imagedata", storage_options=options)
    nodes = xr.open_datatree(f"guarded://me:{PLAIN}@scans", engine="imagedata", storage_options=options)
    texts += [repr(d.encoding) + repr(d) for d in (whole, nodes, *(node.to_dataset() for node in nodes.subtree))]
    assert not [text for text in texts if PLAIN in text or KEY in text]


def test_workers_see_that_a_file_changed(client: Client, tmp_path: Path) -> None:
    tree = opened(made(tmp_path, 2), chunks={})
    path = tmp_path / "1" / "0000.dcm"
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 2_000_000))
    _, failures = tree.imd.map(cluster_jobs.mean_of, workers=client, errors="collect")
    assert len(failures) == 1
    assert "has changed since it was opened" in failures["message"].item()
