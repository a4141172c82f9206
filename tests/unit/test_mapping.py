"""A function over every image of a tree: here, in threads, in processes; failures as a table."""

from __future__ import annotations

import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import dask
import nibabel as nib
import numpy as np
import pytest
import xarray as xr
from series import open_image, series

from imagedata_xr.cohort.running import Outcome, run_all
from imagedata_xr.errors import FormatError, LabelError, NotFoundError, SourceError

COUNT = 4


def made(folder: Path, count: int = COUNT) -> xr.DataTree:
    """A cohort of as many patients, of whom each has one series; all values of patient n are 10000 n higher."""
    for n in range(count):
        series(
            folder / f"{n}", 1, 3,
            lambda v, k, n=n: {  # type: ignore[misc]
                "PatientID": f"secret-{n}", "PatientName": f"Hidden^Name{n}", "SeriesNumber": n + 1,
                "StudyInstanceUID": f"1.2.3.{n}.1", "SeriesInstanceUID": f"1.2.3.{n}.2",
                "SOPInstanceUID": f"1.2.3.{n}.3.{k + 1}", "RescaleIntercept": 10000 * n, "RescaleSlope": 1,
            },
        )  # fmt: skip
    return xr.open_datatree(folder, engine="imagedata", chunks={})


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> xr.DataTree:
    return made(tmp_path_factory.mktemp("cohort"))


def paths(tree: xr.DataTree) -> list[str]:
    return [node.path for node in tree.subtree if "image" in node.data_vars]


def patient(tree: xr.DataTree, k: int) -> str:
    return str(tree[paths(tree)[k]]["image"].attrs["PatientID"])


def mean(image: xr.DataArray) -> float:
    return float(image.mean())


def fails_for_two(image: xr.DataArray, bad: list[str]) -> float:
    if image.attrs["PatientID"] in bad:
        raise ValueError(f"{image.attrs['PatientName']}, {image.attrs['PatientID']}, {image.attrs['StudyInstanceUID']}")
    return mean(image)


WORKERS: list[Any] = [None, 2]


@pytest.mark.parametrize("workers", WORKERS)
def test_numbers_stand_where_the_images_stood(tree: xr.DataTree, workers: Any) -> None:
    results = tree.imd.map(mean, workers=workers)
    values = [float(results[path]["result"]) for path in paths(tree)]
    expected = [float(tree[path]["image"].mean()) for path in paths(tree)]
    assert values == expected
    numbers = [int(tree[path]["image"].attrs["SeriesNumber"]) for path in paths(tree)]
    assert np.allclose(np.diff(values), 10000 * np.diff(numbers))  # each image its own result


@pytest.mark.parametrize("workers", WORKERS)
def test_images_datasets_mappings_and_nothing(tree: xr.DataTree, workers: Any) -> None:
    path = paths(tree)[1]
    doubled = tree.imd.map(lambda a, by: a * by, 2, workers=workers)
    assert doubled[path]["image"].imd.affine is not None
    xr.testing.assert_equal(doubled[path]["image"], tree[path]["image"] * 2)
    assert (doubled[path]["image"].chunks is None) == (workers is not None)  # lazy here, computed by workers
    several = tree.imd.map(lambda a: {"low": a.min(), "sizes": np.array(a.shape)}, workers=workers)
    assert float(several[path]["low"]) == float(tree[path]["image"].min())
    assert several[path]["sizes"].values.tolist() == [1, 3, 4, 5]
    assert not tree.imd.map(lambda a: None, workers=workers)[path].data_vars
    dataset = tree.imd.map(lambda a: xr.Dataset({"profile": a.mean(["row", "col"])}), workers=workers)
    assert dataset[path]["profile"].dims == ("tag", "slice")


@pytest.mark.parametrize("workers", WORKERS)
def test_failures_are_collected_without_identity(tree: xr.DataTree, workers: Any) -> None:
    seen: list[tuple[int, int]] = []
    bad = [patient(tree, 1), patient(tree, 2)]
    results, failures = tree.imd.map(
        fails_for_two, bad, workers=workers, errors="collect", retries=1, progress=lambda *n: seen.append(n)
    )
    assert seen == [(n + 1, COUNT) for n in range(COUNT)]
    assert failures.index.tolist() == [2, 3]
    assert failures["error"].tolist() == ["ValueError"] * 2
    assert failures["attempts"].tolist() == [2, 2]
    text = failures.to_csv() + repr(failures)
    assert not any(word in text for word in ("secret", "Hidden", "Name", "1.2.3", "/"))
    assert [path for path in paths(tree) if results[path].data_vars] == [paths(tree)[0], paths(tree)[3]]
    assert [node.path for node in results.subtree] == [node.path for node in tree.subtree]
    _, told = tree.imd.map(fails_for_two, bad, workers=workers, errors="collect", identifiers=True)
    assert told["path"].tolist() == paths(tree)[1:3]
    assert bad[0] in told["message"][2]
    again, none = tree.imd.map(mean, workers=workers, errors="collect", only=failures)
    assert [path for path in paths(tree) if again[path].data_vars] == paths(tree)[1:3]
    assert none.empty


@pytest.mark.parametrize("workers", WORKERS)
def test_the_first_failure_raises(tree: xr.DataTree, workers: Any) -> None:
    with pytest.raises(ValueError, match=patient(tree, 1)) as caught:
        tree.imd.map(fails_for_two, [patient(tree, 1)], workers=workers)
    assert caught.value.__notes__ == ["(image 2 of 4)"]


@pytest.mark.parametrize("workers", WORKERS)
def test_what_fails_once_is_tried_again(tree: xr.DataTree, workers: Any) -> None:
    met: set[str] = set()

    def moody(image: xr.DataArray) -> float:
        if image.attrs["PatientID"] not in met:
            met.add(image.attrs["PatientID"])
            raise OSError("the network is down")
        return mean(image)

    results, failures = tree.imd.map(moody, workers=workers, errors="collect", retries=1)
    assert failures.empty
    assert all("result" in results[path] for path in paths(tree))


@pytest.mark.parametrize("workers", WORKERS)
def test_results_are_written_at_once_and_dropped(tree: xr.DataTree, workers: Any, tmp_path: Path) -> None:
    out = tmp_path / "a" / "out"
    results = tree.imd.map(lambda a: a + 1, workers=workers, to=out, to_format="nifti")
    names = sorted(p.name for p in out.iterdir())
    assert names == sorted(f"{n + 1:04d}{e}" for n in range(COUNT) for e in (".json", ".nii"))
    for n, path in enumerate(paths(tree)):
        assert not results[path].data_vars
        assert results[path].attrs["paths"][0] == str(out / f"{n + 1:04d}.nii")
        expected = tree[path].to_dataset()["image"].values[0].transpose(2, 1, 0)[:, ::-1] + 1
        written: Any = nib.load(out / f"{n + 1:04d}.nii")
        assert np.array_equal(written.get_fdata(), expected)


def test_what_is_no_image_is_not_written(tree: xr.DataTree, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="returned float"):
        tree.imd.map(mean, to=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("workers", WORKERS)
def test_a_tree_is_written_in_parallel(tree: xr.DataTree, workers: Any, tmp_path: Path) -> None:
    written = tree.imd.write(tmp_path / "out", workers=workers)
    assert list(written) == paths(tree)
    assert [w.count for w in written.values()] == [3] * COUNT
    (tmp_path / "out" / "0002" / "keep").mkdir()
    again, failures = tree.imd.write(tmp_path / "out", workers=workers, errors="collect", overwrite=True)
    assert failures.index.tolist() == [2]
    assert failures["error"].tolist() == ["FileExistsError"]
    assert len(again) == COUNT - 1


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("place", ["a.zip", "a.tar.gz?x/y"])
def test_an_archive_is_filled_once_with_all_of_them(
    tree: xr.DataTree, workers: Any, place: str, tmp_path: Path
) -> None:
    plain = tree.imd.write(tmp_path / "plain")
    written = tree.imd.write(tmp_path / place, workers=workers)
    assert [p.name for p in tmp_path.iterdir() if p.name != "plain"] == [place.partition("?")[0]]
    assert len(written) == COUNT
    for path, one in written.items():
        image, same = (open_image(list(w.paths)).drop_vars(["source", "instance"]) for w in (one, plain[path]))
        xr.testing.assert_equal(image, same)
        assert all(name.startswith(f"{tmp_path}/{place}{'/' if '?' in place else '?'}000") for name in one.paths)


def test_what_an_archive_held_stays(tree: xr.DataTree, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("notes.txt", "mine")
    before = (tmp_path / "a.zip").read_bytes()
    with pytest.raises(FileExistsError, match="adds a folder"):
        tree.imd.write(tmp_path / "a.zip", "nifti")
    with pytest.raises(ValueError, match="a worker's own"):
        tree.imd.map(fails_for_one, bad=patient(tree, 2), to=f"{tmp_path}/a.zip?out", to_format="nifti", workers=2)
    assert (tmp_path / "a.zip").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]
    tree.imd.write(f"{tmp_path}/a.zip?out", "nifti", workers=2)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.read("notes.txt") == b"mine"
        names = [name for name in archive.namelist() if name.endswith(".nii")]
    assert names == [f"out/{k:04d}.nii" for k in range(1, COUNT + 1)]


def fails_for_one(image: xr.DataArray, bad: str) -> xr.DataArray:
    if image.attrs["PatientID"] == bad:
        raise ValueError("a worker's own")
    return image


def test_those_that_did_not_fail_are_packed(tree: xr.DataTree, tmp_path: Path) -> None:
    to = {"to": tmp_path / "a.zip", "to_format": "nifti", "errors": "collect"}
    _, failures = tree.imd.map(fails_for_one, bad=patient(tree, 2), **to)
    assert list(failures.index) == [3]
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert {name for name in archive.namelist() if name.endswith(".nii")} == {"0001.nii", "0002.nii", "0004.nii"}


def test_an_archive_of_another_store(tree: xr.DataTree) -> None:
    written = tree.imd.write("memory://cohort/a.zip?%p", ["nifti", "nrrd"], workers=2)
    for one in (file for files in written.values() for file in files):
        assert xr.open_dataarray(one.paths[0], engine="imagedata").sizes["slice"] == 3


def test_an_extension_says_how_files_of_a_format_are_called(tree: xr.DataTree, tmp_path: Path) -> None:
    tree.imd.write(tmp_path, ".nii.gz")
    assert [p.name for p in sorted(tmp_path.glob("*.nii*"))] == [f"{k:04d}.nii.gz" for k in range(1, COUNT + 1)]
    assert nib.Nifti1Image.from_filename(tmp_path / "0001.nii.gz").shape[2] == 3
    tree.imd.write(tmp_path / "both_%p", [".mhd", ".nii.gz"])
    assert (tmp_path / "both_metaio" / "0001.mhd").exists()
    assert (tmp_path / "both_nifti" / "0001.nii.gz").exists()
    image = tree[paths(tree)[0]]["image"]
    names = [one.paths[0] for one in image.imd.write(tmp_path / "one_%p", [".nii.gz", "nrrd"])]
    assert names == [str(tmp_path / "one_nifti.nii.gz"), str(tmp_path / "one_nrrd.nrrd")]
    with pytest.raises(FormatError, match=r"unknown format '\.xyz'"):
        tree.imd.write(tmp_path, ".xyz")
    with pytest.raises(FormatError, match="written twice"):
        tree.imd.write(f"{tmp_path}/%p", ["nifti", ".nii"])


def test_results_of_a_function_are_listed_in_a_dicomdir(tree: xr.DataTree, tmp_path: Path) -> None:
    tree.imd.map(lambda image: image * 1, to=tmp_path / "disc", to_options={"format_options": {"dicomdir": True}})
    assert len(xr.open_datatree(tmp_path / "disc" / "DICOMDIR", engine="imagedata").leaves) == COUNT
    with pytest.raises(FormatError, match="pack it afterwards"):
        tree.imd.write(tmp_path / "a.zip", dicomdir=True)


def test_dask_computes_in_the_thread_of_the_worker(tree: xr.DataTree) -> None:
    seen: list[Any] = []

    def look(image: xr.DataArray) -> float:
        seen.append(dask.config.get("scheduler", None))
        time.sleep(0.01)
        return mean(image)

    before = dask.config.get("scheduler", None)
    tree.imd.map(look, workers=2)
    assert seen == ["synchronous"] * COUNT
    assert dask.config.get("scheduler", None) == before


def test_jobs_wait_until_a_worker_is_free() -> None:
    started: list[int] = []
    lock, gate = threading.Lock(), threading.Event()

    def job(n: int) -> int:
        with lock:
            started.append(n)
        gate.wait(5)
        return n

    jobs = {n: (lambda n=n: job(n)) for n in range(50)}
    with ThreadPoolExecutor(2) as pool:
        submitted: list[Any] = []
        submit = pool.submit

        def counted(*call: Any) -> Any:
            submitted.append(call)
            return submit(*call)

        pool.submit = counted  # type: ignore[method-assign, assignment]
        outcomes = run_all(jobs, pool, 0)
        threading.Timer(0.2, gate.set).start()
        first = next(iter(outcomes))
        assert isinstance(first, Outcome)
        assert len(submitted) <= 4  # twice as many as workers: results do not gather
        assert {first.number, *(o.number for o in outcomes)} == set(range(50))


def test_a_cluster_is_not_asked_for_its_threads_before_each_job() -> None:
    asked: list[int] = []

    class Cluster:
        """What is used of a Client of distributed."""

        def __init__(self, pool: ThreadPoolExecutor) -> None:
            self.pool = pool

        def get_executor(self, pure: bool) -> ThreadPoolExecutor:
            return self.pool

        def nthreads(self) -> dict[str, int]:
            asked.append(1)
            return {"a": 1, "b": 1}

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(run_all({n: partial(abs, n) for n in range(200)}, Cluster(pool), 0))
    assert [o.value for o in sorted(outcomes, key=lambda o: o.number)] == list(range(200))
    assert len(asked) < 50


def test_what_is_asked_wrongly(tree: xr.DataTree) -> None:
    with pytest.raises(LabelError, match="workers='many'"):
        tree.imd.map(mean, workers="many")
    with pytest.raises(LabelError, match="errors='ignore'"):
        tree.imd.map(mean, errors="ignore")
    with pytest.raises(LabelError, match="retries=-1"):
        tree.imd.map(mean, retries=-1)
    with pytest.raises(LabelError, match=r"\[9\]"):
        tree.imd.map(mean, only=[9])
    with pytest.raises(NotFoundError):
        xr.DataTree().imd.map(mean)
    with pytest.raises(FormatError, match="colour"):
        tree.imd.write("x", colour=True)


def test_an_interrupt_is_no_failure(tree: xr.DataTree) -> None:
    def interrupted(image: xr.DataArray) -> None:
        raise KeyboardInterrupt

    for workers in WORKERS:
        with pytest.raises(KeyboardInterrupt):
            tree.imd.map(interrupted, errors="collect", workers=workers)


def test_a_missing_source_fails_alone(tmp_path: Path) -> None:
    tree = made(tmp_path, 2)
    gone = patient(tree, 1).removeprefix("secret-")
    next((tmp_path / gone).iterdir()).unlink()
    results, failures = tree.imd.map(mean, errors="collect")
    assert failures.index.tolist() == [2]
    assert failures["error"].tolist() == [SourceError.__name__]
    assert "result" in results[paths(tree)[0]]
