"""What XNAT holds directly below an address: projects, subjects, experiments, scans, resources, files."""

from __future__ import annotations

from typing import Any

from .address import XnatAddress
from .client import Client
from .contents import chosen, experiment_path, files_of, scans_of


def listing(client: Client, address: XnatAddress, identifiers: bool) -> list[dict[str, Any]]:
    """List what is below an address: dicts with ``level``, ``address``, ``text`` and ``count``.

    Subjects and experiments are named by the IDs that the server gave them; their labels, which may name a patient,
    only with `identifiers`.
    """
    at = address
    if not at.project:
        rows = client.rows(("projects",), "ID,name")
        return [_row("project", at.below(r["ID"]), r.get("name", "")) for r in rows]
    project = ("projects", at.project)
    if not (at.subject or at.experiment):
        rows = client.rows((*project, "subjects"), "ID,label")
        return [_row("subject", at.below(at.project, r["ID"]), r.get("label", "") if identifiers else "") for r in rows]
    if not at.experiment:
        rows = client.rows((*project, "subjects", at.subject, "experiments"), "ID,label,date,xsiType")
        return [_experiment(at, r, identifiers) for r in rows]
    experiment = experiment_path(client, at)
    scans = scans_of(client, experiment)
    if not at.scan:
        return [_scan(at, r) for r in scans]
    scan = chosen(scans, at.scan, at.server)["ID"]
    here = (at.project, at.subject, at.experiment, scan)
    rows = client.rows((*experiment, "scans", scan, "resources"))
    if not at.resource:
        return [
            _row("resource", at.below(*here, label), r.get("format", ""), r.get("file_count", ""))
            for r in rows
            if (label := r.get("label") or r.get("xnat_abstractresource_id", ""))
        ]
    files = files_of(client, (*experiment, "scans", scan, "resources", at.resource))
    inside = [f for f in files if not at.path or f.name == at.path or f.name.startswith(f"{at.path}/")]
    return [
        _row("file", at.below(*here, at.resource, f.name), "" if f.size is None else f"{f.size} bytes", "1")
        for f in inside
    ]


def _experiment(at: XnatAddress, row: dict[str, str], identifiers: bool) -> dict[str, Any]:
    texts = [row.get("xsiType", "").removeprefix("xnat:")]
    if identifiers:
        texts += [row.get("label", ""), row.get("date", "")]
    return _row("experiment", at.below(at.project, at.subject, row["ID"]), " ".join(t for t in texts if t))


def _scan(at: XnatAddress, row: dict[str, str]) -> dict[str, Any]:
    texts = dict.fromkeys(row.get(k, "") for k in ("type", "series_description", "quality"))
    place = at.below(at.project, at.subject, at.experiment, row["ID"])
    return _row("scan", place, " ".join(t for t in texts if t), row.get("frames", ""))


def _row(level: str, address: str, text: str, count: str = "") -> dict[str, Any]:
    return {"level": level, "address": address, "text": text, "count": int(count) if count.isdigit() else None}
