"""``imd info``: what a source holds."""

from __future__ import annotations

import json
from typing import Any

import click

from ..errors import ImagedataError
from .describe import describe
from .sources import Found, numbered, read_options, reading_options
from .talk import complain, reason, say, size


@click.command(short_help="Tell what files hold, without naming the patient.")
@click.argument("path", nargs=-1, required=True)
@reading_options
@click.option("--identifiers", is_flag=True, help="Show patient, study, dates, UIDs, and the path in the tree.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def info(ctx: click.Context, /, path: tuple[str, ...], identifiers: bool, as_json: bool, **given: Any) -> None:
    """Tell what files, folders, globs or URLs hold. Several are one source.

    Only headers are read. Names and IDs of the patient, dates and UIDs are hidden, also within descriptions.
    """
    images, others = numbered(path, read_options(given))
    told: list[dict[str, Any]] = []
    failed: list[tuple[Found, ImagedataError]] = []
    for found in images:
        try:
            told.append(describe(found, identifiers))
        except ImagedataError as error:
            if given["errors"] == "raise":
                raise
            failed.append((found, error))
    if as_json:
        say(json.dumps(_as_json(told, others, failed), indent=2, ensure_ascii=False))
    else:
        _print(told, others)
    for found, why in failed:
        complain(why, f"image {found.number} ({found.node.title}): ")
    if failed:
        ctx.exit(1)


def _as_json(
    told: list[dict[str, Any]], others: list[Found], failed: list[tuple[Found, ImagedataError]]
) -> dict[str, Any]:
    return {
        "images": told,
        "without_pixels": [found.node.title for found in others],
        "failed": [{"number": f.number, "title": f.node.title, "error": reason(error)} for f, error in failed],
    }


# --- plain text -------------------------------------------------------------------------------------------------------


def _print(told: list[dict[str, Any]], others: list[Found]) -> None:
    width = len(str(max((t["number"] for t in told), default=0)))
    for one in told:
        say(f"{one['number']:>{width}}  {_headline(one)}")
        lines = [
            ("stack", one["stack"] and one["stack"].removeprefix("stack-")),
            ("kind", one["kind"]),
            ("shape", ", ".join(f"{dim} {n}" for dim, n in one["shape"].items())),
            *(("order", _order(order)) for order in one["orders"] if order["dim"] != "segment"),
            ("segments", ", ".join(f"{s['number']} {s['label']}".rstrip() for s in one["segments"] or ())),
            ("spacing", _spacing(one)),
            ("values", _values(one)),
            *one.get("identifiers", {}).items(),
        ]
        label = max(len(name) for name, text in lines if text)
        for name, text in lines:
            if text:
                say(f"{'':{width}}  {name:<{label}}  {text}")
    if others:
        say("without pixels:")
    for found in others:
        say(f"{'':{width}}  {found.node.title}")


def _headline(one: dict[str, Any]) -> str:
    series = "" if one["series_number"] is None else f"series {one['series_number']}"
    kind = " ".join(filter(None, (series, one["modality"])))
    return ": ".join(filter(None, (kind, one["description"]))) or "image"


def _order(order: dict[str, Any]) -> str:
    text = str(order["order"]) if order["dim"] == "tag" else f"{order['order']} (dim {order['dim']})"
    if order["count"] > 1:
        text += f", {order['count']} volumes"
    if "first" not in order:
        return text
    first, last = f"{order['first']:.6g}", f"{order['last']:.6g}"
    units = order["units"].removeprefix("1")
    text += f", {'' if order['of'] == order['order'] else order['of'] + ' '}"
    text += f"{first if first == last else f'{first} to {last}'} {units}".rstrip()
    return text if order["interval"] is None else f"{text}, every {order['interval']:.6g} {units}".rstrip()


def _spacing(one: dict[str, Any]) -> str:
    if one["spacing_mm"] is None:
        return "no place in the patient"
    words = []
    for axis, step in one["spacing_mm"].items():
        if isinstance(step, list):
            words.append(f"{axis} uneven {step[0]:.6g} to {step[1]:.6g}")
        else:
            words.append(f"{axis} {'unknown' if step is None else f'{step:.6g}'}")
    return ", ".join(words) + " mm"


def _values(one: dict[str, Any]) -> str:
    text = one["dtype"] if one["dtype"] == one["stored_dtype"] else f"{one['dtype']}, stored as {one['stored_dtype']}"
    return ", ".join(filter(None, (text, one["units"], size(one["bytes"]))))
