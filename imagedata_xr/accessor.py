"""The accessor ``.imd`` on DataArray, Dataset and DataTree: each method hands over to a function."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from .formats.seam import WriteOptions
from .model import assign, image, query
from .model.geometry import to_ras

if TYPE_CHECKING:
    from .dicom.headers.header_view import HeaderView


class ImageAccessor:
    """What an image knows beyond xarray: its place in the patient, its volumes, its headers, and how to write it."""

    def __init__(self, obj: xr.DataArray | xr.Dataset) -> None:
        self._obj = obj

    @property
    def _image(self) -> xr.DataArray:
        return image.as_image(self._obj)

    def _like_input(self, da: xr.DataArray) -> Any:
        if not isinstance(self._obj, xr.Dataset):
            return da
        return da.to_dataset(name=image.NAME if da.name is None else da.name)

    # --- geometry --------------------------------------------------------------------------------------------------
    @property
    def affine(self) -> NDArray[np.float64]:
        """Affine from index (slice, row, col) to LPS mm, shape (4, 4); raises `GeometryError` where it has none."""
        return image.affine(self._image)

    @property
    def affine_ras(self) -> NDArray[np.float64]:
        """Affine from index (col, row, slice) to RAS mm, as in NIfTI, shape (4, 4)."""
        return to_ras(self.affine)

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Distance of slices, rows and columns, mm, shape (3,)."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def direction(self) -> NDArray[np.float64]:
        """Unit vectors along slice, row index and column index (columns of the matrix), LPS, shape (3, 3)."""
        return query.direction(self._image)

    @property
    def orientation(self) -> str:
        """Letters to which col, row and slice index grow, nearly: ``"LPS"`` is axial; as in ITK and NIfTI."""
        from .model.orient import orientation

        return orientation(self._image)

    def to_orientation(self, code: str) -> Any:
        """Permute and flip the axes, so that they point where three letters say, such as ``"RAS"``; nothing moves.

        The letters say where col, row and slice index grow; see `imagedata_xr.model.orient.to_orientation`.
        """
        from .model.orient import to_orientation

        return self._like_input(to_orientation(self._image, code))

    @property
    def frame_of_reference(self) -> str:
        """Frame of Reference UID; empty where unknown."""
        return query.frame_of_reference(self._image)

    def patient_coords(self) -> xr.Dataset:
        """Position of every voxel: a Dataset of x, y, z (LPS mm) on (slice, row, col)."""
        return query.patient_coords(self._image)

    def sel_point(self, x: float, y: float, z: float) -> Any:
        """Select the voxel that holds a point (LPS mm); raises `GeometryError` where it lies outside."""
        return self._like_input(query.sel_point(self._image, (x, y, z)))

    def interp_like(
        self, other: xr.DataArray | xr.Dataset, method: str = "linear", transform: ArrayLike | None = None
    ) -> Any:
        """Resample onto the grid of another image, in patient space; outside is NaN.

        `method` is ``"linear"``, ``"nearest"`` or ``"cubic"``; `transform` the matrix of a registration (4 x 4, LPS
        mm), which takes a point of `other` to that of this image; see `imagedata_xr.model.resample.interp_like`.
        """
        from .model.resample import interp_like

        return self._like_input(interp_like(self._image, image.as_image(other), method, transform))

    # --- volumes ---------------------------------------------------------------------------------------------------
    @property
    def order(self) -> str:
        """What the volumes are ordered by: ``"time"``, ``"dti"``, ..., several joined by commas."""
        return query.order(self._image)

    @property
    def timeline(self) -> NDArray[np.float64]:
        """Start of each volume since the first, s; raises `LabelError` where the image has no times."""
        return query.timeline(self._image)

    @property
    def bvals(self) -> NDArray[np.float64]:
        """b-value of each volume, s/mm2, shape (n,)."""
        return query.bvals(self._image)

    @property
    def bvecs(self) -> NDArray[np.float64]:
        """Diffusion direction of each volume, unit vectors in LPS, zero without one; shape (n, 3)."""
        return query.bvecs(self._image)

    # --- segments --------------------------------------------------------------------------------------------------
    @property
    def segments(self) -> xr.Dataset:
        """What is known of each segment: label, category, type, colour, ...; see `segment_table` in the docs."""
        from .dicom.framing.segment_table import segment_table

        return segment_table(self._image)

    def fill_like(self, other: xr.DataArray | xr.Dataset) -> Any:
        """Put a segmentation on the slices of the image that it belongs to, with zeros where it has none.

        Raises `GridError` where its slices are none of the other's.
        """
        from .model.fill import fill_like

        return self._like_input(fill_like(self._image, image.as_image(other)))

    # --- headers -----------------------------------------------------------------------------------------------------
    @property
    def header(self) -> HeaderView:
        """Whole DICOM headers, read from the source: ``da.imd.header[tag, slice]`` is a `pydicom.Dataset`.

        A series without pixels, such as structured reports, has one for each object: ``ds.imd.header[0]``.
        """
        from .dicom.headers.header_view import HeaderView

        bare = isinstance(self._obj, xr.Dataset) and not self._obj.data_vars and "instance" in self._obj.coords
        return HeaderView(self._obj if bare else self._image)

    def header_table(self) -> xr.Dataset:
        """All headers as a Dataset keyed by the digest of each image (DICOM JSON)."""
        from .dicom.headers.table import header_table

        return header_table(self._image)

    # --- new objects -------------------------------------------------------------------------------------------------
    def repair(self) -> Any:
        """Give back what xarray drops: the indexes, and the coord ``geometry``; see the docs, "alignment"."""
        return image.repair(self._obj)

    def assign_grid(self, other: xr.DataArray | xr.Dataset) -> Any:
        """Say that this image lies where another lies."""
        return self._like_input(assign.assign_grid(self._image, image.as_image(other)))

    def assign_tags(self, other: xr.DataArray | xr.Dataset) -> Any:
        """Take the volume labels of another image."""
        return self._like_input(assign.assign_tags(self._image, image.as_image(other)))

    def assign_header(self, template: Any, relabel: bool = False) -> Any:
        """Take patient, study and elements of a template: an image, or the address of one.

        A template of another patient or study raises `IdentityError` unless `relabel`.
        """
        from .formats.template import as_template

        return self._like_input(assign.assign_header(self._image, as_template(template), relabel))

    def assign_dicom(self, **keywords: Any) -> Any:
        """Set elements by DICOM keyword; they win over those of the source on writing. None removes one.

        A value holds for all images. A DataArray, ``(dims, values)`` as in ``assign_coords``, or an array of the
        length of the volumes or slices gives each its own; see `imagedata_xr.dicom.headers.editing.edited`.
        """
        from .dicom.headers.editing import edited

        return self._like_input(edited(self._image, keywords))

    def deidentify(
        self,
        profile: str = "basic",
        options: Sequence[str] | None = None,
        seed: str | int | None = None,
        patient: str | Mapping[str, str] | None = None,
        pixels: str | None = None,
        regions: Sequence[Sequence[int]] = (),
    ) -> Any:
        """Take away who the patient is (DICOM PS3.15 Annex E): from labels, attrs, headers, and what is written.

        Parameters
        ----------
        profile : str
            ``"basic"``: the Basic Application Level Confidentiality Profile.
        options : sequence of str, optional
            ``"modified_dates"`` or ``"full_dates"``, ``"retain_safe_private"``, ``"retain_uids"``,
            ``"retain_device"``, ``"retain_institution"``, ``"retain_patient"``, ``"clean_descriptors"``,
            ``"clean_structured"``, ``"clean_graphics"``. By default dates are moved and safe private elements kept.
        seed : str or int, optional
            Secret that new UIDs, IDs and dates are made with: the same for all that belongs together. Without one
            they can't be made again.
        patient : str or mapping, optional
            New Patient ID, or new ones by old ones.
        pixels : {"keep", "blank"}, optional
            For images that may show identifiers, which are refused otherwise.
        regions : sequence, optional
            (first row, end row, first column, end column) of what is blanked.

        Returns
        -------
        DataArray or Dataset
            Lazy, with a new identity; written as DICOM under its new UIDs.

        Raises
        ------
        IdentityError
            Where the pixels may show identifiers, or images of several patients were combined.
        """
        from .dicom.deidentifying.deidentify import deidentify
        from .dicom.deidentifying.policy import policy_of

        policy = policy_of(profile, options, seed, patient, pixels, regions)
        return self._like_input(deidentify(self._image, policy))

    def real_world(
        self,
        kind: str = "mapping",
        label: str | None = None,
        units: str | None = None,
        decay_start: str | None = None,
        check: bool = True,
    ) -> Any:
        """Values in units of the real world, by the header of each plane.

        `kind` is ``"mapping"`` (Real World Value Mapping; `label` or `units` choose one), ``"suv"``, ``"suvlbm"``,
        ``"suvbsa"`` (uptake values of PET; `decay_start` where the elements contradict each other), or ``"precise"``
        (Philips MR). They hold for the values that were read, which is checked unless ``check=False``; see
        `imagedata_xr.dicom.headers.real_world.real_world`.
        """
        from .dicom.headers.real_world import real_world

        return self._like_input(real_world(self._image, kind, label, units, decay_start, check))

    # --- other tools -------------------------------------------------------------------------------------------------
    def to_nibabel(self) -> Any:
        """Image as a `nibabel.Nifti1Image`, in memory."""
        from .formats.nifti import to_nibabel

        return to_nibabel(self._image)

    def load(self, **kwargs: Any) -> Any:
        """Load the values in place, as xarray's ``load`` does, with no more memory than they need.

        dask keeps all chunks until it has put them together: twice the image. Here each goes to its place at once. On
        the workers of a `distributed.Client` dask's own way is taken.

        Parameters
        ----------
        **kwargs
            For dask, such as ``scheduler="synchronous"``.

        Returns
        -------
        DataArray or Dataset
            The same object.
        """
        from .model.loading import load

        if isinstance(self._obj, xr.DataArray):
            return load(self._obj, **kwargs)
        for variable in self._obj.data_vars:
            load(self._obj[variable], **kwargs)
        return self._obj.load(**kwargs)

    def to_references(
        self,
        url: str | os.PathLike[str],
        base: str | None = None,
        identifiers: bool = False,
        overwrite: bool = False,
        storage_options: Mapping[str, Any] | None = None,
    ) -> Any:
        """Write references to the pixels in the DICOM files of an image: it opens anywhere without scanning them.

        ``xr.open_dataset(url, engine="kerchunk")`` gives the same values and labels; then ``imd.repair()``. All planes
        are read once, to be sure that readers of the references get these values.

        Parameters
        ----------
        url : str or path
            ``.json``, or ``.parquet`` for many files.
        base : str, optional
            Folder or URL under which the files will be found; by default where they are now.
        identifiers : bool
            Whether names, IDs, dates and UIDs stand there too. Paths of files always do.
        overwrite : bool
        storage_options : mapping, optional
            For writing.

        Returns
        -------
        Written

        Raises
        ------
        FormatError
            What references can't express: compressed or packed files, bits outside of Bits Stored that are in use,
            colour by plane, a slope for each image; and an image that is not as it was opened.
        """
        from .formats.references import to_references

        return to_references(self._image, url, base, identifiers, overwrite, storage_options)

    def write(
        self,
        url: str | os.PathLike[str],
        format: str | Sequence[str] | None = None,
        template: Any = None,
        geometry: Any = None,
        kind: str | None = None,
        keep_uid: bool = False,
        series_number: int | None = None,
        series_description: str | None = None,
        image_type: str | Sequence[str] | None = None,
        units: str | None = None,
        identifiers: bool = False,
        compute: bool = True,
        overwrite: bool = False,
        progress: Callable[[int, int], None] | None = None,
        storage_options: Mapping[str, Any] | None = None,
        format_options: Mapping[str, Any] | None = None,
    ) -> Any:
        """Write the image.

        Parameters
        ----------
        url : str or path
            Where to. ``%p`` in it becomes the name of the format.
        format : str or sequence of str, optional
            ``"dicom"``, ``"nifti"``, ``"zarr"``, ``"netcdf"``; by default from the extension, else that of the
            source, else DICOM.
        template : image or address, optional
            Whose header the image gets.
        geometry : image or address, optional
            Where the image lies.
        kind : {"segmentation", "parametric_map"}, optional
            Write masks, numbers of segments or fractions as a DICOM segmentation, or floats as a DICOM parametric map
            (extra ``seg``), in place of images.
        keep_uid : bool
            Keep the UIDs of the source; raises unless every image is unchanged.
        series_number, series_description, image_type : optional
            Elements of the new series.
        units : str, optional
            Units of the values, for Rescale Type.
        identifiers : bool
            Allow names, IDs, dates and UIDs in formats that keep them out otherwise.
        compute : bool
            False returns a dask ``Delayed``.
        overwrite : bool
            Replace what is there; otherwise an existing target raises `FileExistsError`.
        progress : callable, optional
            Called with (done, total).
        storage_options, format_options : mapping, optional

        Returns
        -------
        Written
            What was written; a list for several formats.

        Raises
        ------
        FileExistsError
            The target is there, and `overwrite` is false.
        OriginalError
            The image was read from there: what is written elsewhere can be moved.
        """
        from .formats.writing import write

        options = WriteOptions(
            kind=kind, keep_uid=keep_uid, series_number=series_number, series_description=series_description,
            image_type=image_type, units=units, identifiers=identifiers, compute=compute, overwrite=overwrite,
            progress=progress, storage_options=storage_options, format_options=format_options or {},
        )  # fmt: skip
        return write(self._obj, url, format, template, geometry, options)


@xr.register_dataarray_accessor("imd")
class ArrayAccessor(ImageAccessor):
    """``DataArray.imd``."""


@xr.register_dataset_accessor("imd")
class DatasetAccessor(ImageAccessor):
    """``Dataset.imd``: works on the variable ``image``."""


@xr.register_datatree_accessor("imd")
class TreeAccessor:
    """``DataTree.imd``: every image of a tree."""

    def __init__(self, tree: xr.DataTree) -> None:
        self._tree = tree

    def map(
        self,
        func: Callable[..., Any],
        *args: Any,
        workers: Any = None,
        errors: str = "raise",
        retries: int = 0,
        progress: Callable[[int, int], None] | None = None,
        only: Any = None,
        to: str | os.PathLike[str] | None = None,
        to_format: str | None = None,
        to_options: Mapping[str, Any] | None = None,
        identifiers: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Call ``func(image, ...)`` with each image, here or on workers; results stand in a tree beside each other.

        Parameters
        ----------
        func : callable
            Gets an image, and further arguments; returns an image, a Dataset, a number, an array, a mapping of these,
            or None.
        workers : optional
            None calls it here, one image after the other, and leaves lazy what is lazy. A number: so many threads. An
            executor of `concurrent.futures`, or a Client of `distributed`: there, and what is lazy is computed there.
        errors : {"raise", "collect"}
            The first failure stops all, or failures are collected in a table.
        retries : int
            How often an image is tried again.
        progress : callable, optional
            Called with (done, total).
        only : DataFrame or sequence of int, optional
            Only the images of an earlier table of failures, or these numbers (from 1 on, in the order of the tree).
        to, to_format, to_options : optional
            Write each result as soon as it is there, by the worker, below this folder or URL, and drop it: ``0001``,
            ``0002``, ... by the number of the image. Format (DICOM) and options are those of `write`.
        identifiers : bool
            Whether failures tell the path in the tree, and their texts are not masked.

        Returns
        -------
        DataTree
            With the results: images as ``image``, else ``result``; a mapping gives a variable for each key. What was
            written is told in attrs. Nodes without an image stay; those that failed or were not asked for are empty.
        DataFrame
            With ``errors="collect"``, the failures: ``number``, ``error``, ``message`` and ``attempts``.

        Raises
        ------
        NotFoundError
            Where the tree holds no image.
        LabelError
            For an option that has no such value.
        """
        from .cohort.mapping import How, map_images
        from .cohort.targets import Targets

        how = How(workers, errors, retries, progress, only, identifiers)
        targets = None if to is None else Targets.of(to, to_format, to_options or {})
        results, failures = map_images(self._tree, func, args, kwargs, how, targets)
        return results if errors == "raise" else (results, failures)

    def deidentify(
        self,
        profile: str = "basic",
        options: Sequence[str] | None = None,
        seed: str | int | None = None,
        patient: str | Mapping[str, str] | None = None,
        pixels: str | None = None,
        regions: Sequence[Sequence[int]] = (),
    ) -> xr.DataTree:
        """Tree of de-identified images under new names, with one key; see ``DataArray.imd.deidentify``.

        Objects without pixels that can be cleaned, such as structure sets, stay; a warning names the others by kind.
        """
        from .dicom.deidentifying.policy import policy_of
        from .formats.deidentified import deidentified_tree

        return deidentified_tree(self._tree, policy_of(profile, options, seed, patient, pixels, regions))

    def write(
        self,
        url: str | os.PathLike[str],
        format: str | Sequence[str] | None = None,
        workers: Any = None,
        errors: str = "raise",
        retries: int = 0,
        progress: Callable[[int, int], None] | None = None,
        only: Any = None,
        dicomdir: bool = False,
        **options: Any,
    ) -> Any:
        """Write each image below `url`, as ``0001``, ``0002``, ... in the order of the tree.

        DICOM, the default, goes into one folder per image, other formats into one file each. An archive (``a.zip``) is
        packed once, at the end. No name of a file comes from patient or study. Series without pixels (reports,
        documents, plans) follow the images, copied with their UIDs.

        Parameters
        ----------
        url : str or path
            ``%p`` in it becomes the name of the format.
        format : str or sequence of str, optional
            Names, or extensions such as ``".nii.gz"``. Several need ``%p``.
        dicomdir : bool
            List all DICOM files in a DICOMDIR below `url`.
        workers, errors, retries, progress, only
            As for `map`.
        **options
            Those of ``DataArray.imd.write``.

        Returns
        -------
        dict
            What was written, by path in the tree; a list for several formats.
        DataFrame
            With ``errors="collect"``, the failures, as `map` gives them.

        Raises
        ------
        NotFoundError
            Where the tree holds no image.
        """
        from .cohort.mapping import How, write_images
        from .cohort.targets import Targets

        how = How(workers, errors, retries, progress, only, bool(options.get("identifiers", False)))
        written, failures = write_images(self._tree, how, Targets.of(url, format, {**options, "dicomdir": dicomdir}))
        return written if errors == "raise" else (written, failures)
