"""``imd deidentify``: every image of a source without what identifies the patient."""

from __future__ import annotations

import collections
from functools import partial
from typing import Any

import click
import xarray as xr

from ..dicom.deidentifying.deidentify import deidentify as deidentified
from ..dicom.deidentifying.kinds import left_out
from ..dicom.deidentifying.objects import deidentified_objects
from ..dicom.deidentifying.policy import DEFAULT_OPTIONS, OPTIONS, Policy, policy_of
from ..errors import NotFoundError, warn
from ..formats.seam import WriteOptions, format_named
from ..model.image import as_image
from ..options import set_options
from .convert import spare_sources
from .every import targets_of, workers_option, write_every
from .sources import numbered, read_options, reading_options
from .talk import Counter, Transfers, say


@click.command(short_help="Write every image without what identifies the patient.")
@click.argument("sources", metavar="IN...", nargs=-1, required=True)
@click.argument("out")
@click.option("--format", "form", default="dicom", show_default=True, help="dicom, nifti, ...")
@click.option(
    "--option", "options", multiple=True, type=click.Choice([*OPTIONS, "none"]),
    help=f"Option of the profile; several are allowed.  [default: {', '.join(DEFAULT_OPTIONS)}]",
)  # fmt: skip
@click.option("--seed", help="Secret that new UIDs, IDs and dates are made with; without it they can't be made again.")
@click.option("--patient-id", help="New Patient ID, for sources of one patient.")
@click.option(
    "--map", "pairs", multiple=True, metavar="OLD=NEW", help="New Patient ID of one of several patients; repeat it."
)
@click.option("--pixels", type=click.Choice(["keep", "blank"]), help="For images that may show identifiers.")
@click.option("--region", "regions", nargs=4, type=int, multiple=True, help="Rows from, to, columns from, to; blanked.")
@reading_options
@workers_option
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
@click.option("--progress/--no-progress", default=None, help="Count on stderr.  [default: on a terminal]")
@click.pass_context
def deidentify(
    ctx: click.Context,
    /,
    sources: tuple[str, ...],
    out: str,
    form: str,
    options: tuple[str, ...],
    seed: str | None,
    patient_id: str | None,
    pairs: tuple[str, ...],
    pixels: str | None,
    regions: tuple[tuple[int, int, int, int], ...],
    workers: int | None,
    overwrite: bool,
    progress: bool | None,
    **given: Any,
) -> None:
    """De-identify every image of IN into OUT/0001, OUT/0002, ... by the profile of DICOM PS3.15 Annex E.

    Images whose pixels may show names are refused until --pixels says what to do. Of objects without pixels, structure
    sets, plans, presentation states, registrations and the like are cleaned and follow the images, as DICOM; reports
    only with --option clean_structured. Documents and raw data are left out. What is left out is said, kind by kind.
    """
    if patient_id and pairs:
        raise click.UsageError("--patient-id gives all one ID: it can't be used with --map")
    if any("=" not in pair for pair in pairs):
        raise click.UsageError("--map: OLD=NEW")
    spare_sources(out, sources)
    ctx.with_resource(set_options(progress=Transfers(progress)))
    format_named(form)
    chosen = None if not options else [o for o in options if o != "none"]
    mapping = dict(pair.split("=", 1) for pair in pairs) or patient_id
    policy = policy_of("basic", chosen, seed, mapping, pixels, regions)
    how = WriteOptions(overwrite=overwrite, storage_options=given["storage_options"] or None)
    targets = targets_of(out, [form], how)
    images, others = numbered(sources, read_options(given))
    if not images:
        raise NotFoundError(f"the source holds no image, only {len(others)} series without pixels")
    if len({f.node.identity[:1] for f in images}) > 1 and patient_id:
        raise click.UsageError("--patient-id would make several patients one: --map OLD=NEW gives each its own")
    if seed is None:
        warn("no --seed: what is de-identified later will not belong to the same patient and study")
    objects, gone = _cleaned([f.node.open() for f in others], policy, form)
    things: dict[int, Any] = {f.number: f.node for f in images}
    titles = {number: f"image {number}" for number in things}
    for number, ds in enumerate(objects, len(images) + 1):
        things[number], titles[number] = ds, f"series {number}"
    make, counter = partial(_deidentified, policy), Counter("images", progress)
    failed = write_every(things, make, targets, titles, counter, given["errors"], workers)
    if gone:
        say(f"imd: {left_out(gone, policy)}", err=True)
    ctx.exit(1 if failed else 0)


def _deidentified(policy: Policy, thing: Any) -> Any:
    """Image of a node without what identifies; objects are cleaned already."""
    return thing if isinstance(thing, xr.Dataset) else deidentified(as_image(thing.open()), policy)


def _cleaned(found: list[xr.Dataset], policy: Policy, form: str) -> tuple[list[xr.Dataset], collections.Counter[str]]:
    """Clean series without pixels: those that can be written, and what is left out, by kind."""
    gone: collections.Counter[str] = collections.Counter()
    kept = []
    for ds in found:
        clean, dropped = deidentified_objects(ds, policy)
        gone += dropped
        if clean is not None and format_named(form).name == "dicom":
            kept.append(clean)
        elif clean is not None:
            gone["object that only DICOM can hold"] += clean.sizes["instance"]
    return kept, gone
