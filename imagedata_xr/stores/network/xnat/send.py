"""Write series into XNAT: each a new scan of an experiment, compared with the listing when it is there."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path

import pydicom

from ....errors import NotFoundError, SourceError, warn
from ...progress import Meter, Metered
from ..report import Report
from ..settings import Settings
from .address import XnatAddress
from .client import Client
from .contents import Remote, experiment_path, files_of, scans_of

_TYPES = {
    "CR": "cr", "CT": "ct", "DX": "dx", "ES": "es", "GM": "gm", "IO": "io", "MG": "mg", "MR": "mr", "NM": "nm",
    "OP": "op", "OPT": "opt", "PT": "pet", "RF": "rf", "RTIMAGE": "rtImage", "SC": "sc", "SEG": "seg", "SM": "sm",
    "US": "us", "XA": "xa", "XC": "xc",
}  # fmt: skip
"""Types of XNAT's schema (xnat.xsd, ``xnat:mrScanData`` and so on) by modality; all else is ``otherDicom``."""
_RESOURCE = "DICOM"
_TAR = "imagedata_xr.tar"
_RACES = 5
_KEYWORDS = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "Modality")


@dataclass(frozen=True)
class Image:
    """A file that is to be sent."""

    path: Path
    name: str
    uid: str
    study: str
    series: str
    number: str
    description: str
    modality: str

    @property
    def listed(self) -> Remote:
        """How the server has to list it."""
        data = self.path.read_bytes()
        return Remote(self.name, len(data), md5(data, usedforsecurity=False).hexdigest())


class XnatSink:
    """Where images for an experiment go: kept aside until all are there, then sent.

    Attributes
    ----------
    report : Report
        What became of them, after `finish`.
    """

    def __init__(self, address: XnatAddress, settings: Settings) -> None:
        if not (address.project and address.experiment):
            raise SourceError(
                f"{address.server}: images are written into an experiment: xnat://host/project/subject/experiment"
            )
        if address.path:
            raise SourceError(f"{address.server}: images are written into a scan, not under the name of a file")
        self.address, self.settings = address, settings
        self.folder = Path(tempfile.mkdtemp(prefix="imagedata_xr-"))
        self.images: list[Image] = []
        self.report = Report()

    def add(self, name: str, data: bytes | Path) -> None:
        """Keep an image aside."""
        path = self.folder / f"{len(self.images):06d}.dcm"
        if isinstance(data, Path):
            shutil.copyfile(data, path)
        else:
            path.write_bytes(data)
        ds = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_KEYWORDS))
        uid, study, series, number, description, modality = (str(ds.get(k) or "") for k in _KEYWORDS)
        own = name.rpartition("/")[2]
        own = own if own.lower().endswith(".dcm") else f"{own}.dcm"
        if any(own == image.name and series == image.series for image in self.images):
            own = f"{len(self.images):06d}_{own}"
        self.images.append(Image(path, own, uid, study, series, number, description, modality))

    def finish(self) -> tuple[str, ...]:
        """Send all images; returns their addresses.

        Raises
        ------
        SourceError
            Not all were stored as they are; what this call had made on the server is removed again.
        """
        series: dict[tuple[str, str], list[Image]] = {}
        for image in self.images:
            series.setdefault((image.study, image.series), []).append(image)
        if self.address.scan and len(series) > 1:
            raise SourceError(
                f"{self.address.server}: {len(series)} series are several scans; name the experiment only"
            )
        made: list[_Scan] = []
        places: dict[str, str] = {}
        with Client(self.address, self.settings) as client, Meter("sent", len(self.images)) as meter:
            experiment = experiment_path(client, self.address)
            _check_study(client, experiment, {image.study for image in self.images})
            try:
                for images in series.values():
                    scan = _Scan(client, experiment, self.address, images)
                    made.append(scan)
                    scan.write(meter)
                    places |= {image.uid: scan.address(image.name) for image in images}
            except BaseException as error:
                left = [scan.number for scan in made if not scan.undo()]
                told = f"What was made could not be removed again: scan {', '.join(left)} is incomplete"
                if left and isinstance(error, SourceError):
                    raise SourceError(f"{error}. {told}") from None
                if left:
                    warn(f"{self.address.server}: writing was given up. {told}")
                raise
        self.report.stored += [image.uid for image in self.images]
        self.abandon()
        return tuple(places[image.uid] for image in self.images)

    def abandon(self) -> None:
        """Forget the images."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _check_study(client: Client, experiment: tuple[str, ...], studies: set[str]) -> None:
    """See that the experiment is there, and warn where it is one of another study."""
    found = client.json(experiment)
    try:
        fields = found["items"][0]["data_fields"]
        own = str(fields.get("UID") or "")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise NotFoundError(f"{client.address.server} shows no such experiment") from None
    if own and studies - {own}:
        warn(
            f"{client.address.server}: the experiment is of another study (UID) than the images that are written to it"
        )


class _Scan:
    """A scan that is made by this call."""

    def __init__(
        self, client: Client, experiment: tuple[str, ...], address: XnatAddress, images: Sequence[Image]
    ) -> None:
        self.client, self.experiment, self.at, self.images = client, experiment, address, images
        self.label = address.resource or _RESOURCE
        self.number = ""
        self.asked = self.ours = False

    @property
    def path(self) -> tuple[str, ...]:
        """Path of the scan below ``/data``."""
        return (*self.experiment, "scans", self.number)

    @property
    def files(self) -> tuple[str, ...]:
        """Path of its files."""
        return (*self.path, "resources", self.label, "files")

    def address(self, name: str) -> str:
        """Address of a file of the scan."""
        return self.at.below(self.at.project, self.at.subject, self.at.experiment, self.number, self.label, name)

    def write(self, meter: Meter) -> None:
        """Make the scan, send the images, and compare what is listed then."""
        self._make()
        wanted = {listed.name: listed for listed in (image.listed for image in self.images)}
        self._send_all(meter)
        if wrong := self._wrong(wanted):
            # a server that does not unpack, or lost some: the rest one by one
            self._send_each([image for image in self.images if image.name in wrong], meter)
            wrong = self._wrong(wanted)
        if wrong:
            raise SourceError(
                f"{self.at.server}: {len(wrong)} of {len(wanted)} files are not stored as they were sent, though the "
                "server reports no failure: this user may not be allowed to write there. Nothing is left of them"
            )
        meter.add(len(self.images))

    def _make(self) -> None:
        """Make scan and resource, under a number that nobody uses."""
        for _ in range(_RACES):
            self.number = self._free()
            self.asked = True
            described = self._described()
            # only its type at first: where somebody else makes the same scan meanwhile, nothing of theirs is changed
            bare = {k: v for k, v in described.items() if "/" not in k}
            with self.client.request("PUT", self.path, bare, again=True, accept=(409,)):
                pass
            with self.client.request(
                "PUT", (*self.path, "resources", self.label), {"format": "DICOM", "content": "RAW"}, accept=(409,)
            ) as answer:
                self.ours = answer.status_code != 409
            if self.ours:
                with self.client.request("PUT", self.path, described, again=True):
                    return
            self.asked = False  # of somebody who was quicker with this number
            if self.at.scan:
                break
        raise SourceError(f"{self.at.server}: scan {self.number} was made by somebody else meanwhile: write again")

    def _free(self) -> str:
        taken = {row["ID"] for row in scans_of(self.client, self.experiment)}
        if self.at.scan:
            if self.at.scan in taken:
                raise SourceError(
                    f"{self.at.server}: scan {self.at.scan} is there already, and existing scans are never touched: "
                    "leave the scan out for a new number, or name another"
                )
            return self.at.scan
        number = int(self.images[0].number) if self.images[0].number.isdigit() else 1
        while str(number) in taken:
            number += 1
        return str(number)

    def _described(self) -> dict[str, str]:
        first = self.images[0]
        kind = f"xnat:{_TYPES.get(first.modality, 'otherDicom')}ScanData"
        fields = {
            "type": first.description or first.modality or "unknown", "series_description": first.description,
            "quality": "usable", "modality": first.modality, "UID": first.series, "frames": str(len(self.images)),
        }  # fmt: skip
        return {"xsiType": kind, "req_format": "qs", **{f"{kind}/{k}": v for k, v in fields.items() if v}}

    def _send_all(self, meter: Meter) -> None:
        """Send all images as one tar, which the server unpacks."""
        with tempfile.TemporaryFile(dir=self.images[0].path.parent) as pack:
            with tarfile.open(fileobj=pack, mode="w") as archive:
                for image in self.images:
                    archive.add(image.path, image.name, filter=_anonymous)

            def body() -> Metered:
                return Metered(pack, meter)

            query = {"extract": "true", "overwrite": "true", "format": "DICOM", "content": "RAW"}
            headers = {"Content-Type": "application/x-tar"}
            with self.client.request("PUT", (*self.files, _TAR), query, again=True, body=body, headers=headers):
                pass

    def _send_each(self, images: Sequence[Image], meter: Meter) -> None:
        for image in images:
            query = {"overwrite": "true", "format": "DICOM", "content": "RAW"}
            headers = {"Content-Type": "application/octet-stream"}
            with self.client.request(
                "PUT", (*self.files, image.name), query, again=True, body=image.path.read_bytes, headers=headers
            ):
                meter.add(0, image.path.stat().st_size)

    def _wrong(self, wanted: dict[str, Remote]) -> set[str]:
        """Names of files that the server does not list as they were sent."""
        there = {f.name: f for f in files_of(self.client, self.files[:-1])}
        if _TAR in there and _TAR not in wanted:  # kept as it is, in place of being unpacked
            with self.client.request("DELETE", (*self.files, _TAR), again=True, accept=(404,)):
                pass
        if strange := set(there) - set(wanted) - {_TAR}:
            raise SourceError(
                f"{self.at.server}: somebody else writes {len(strange)} files into scan {self.number} too"
            )
        return {
            name
            for name, file in wanted.items()
            if name not in there
            or there[name].size != file.size
            or (there[name].digest and there[name].digest != file.digest)
        }

    def undo(self) -> bool:
        """Remove the scan if this call has made it; tells whether nothing of it is left."""
        if not self.asked:
            return True
        try:
            if not self.ours and self.client.rows((*self.path, "resources")):
                return True  # what is there is of somebody else
            with self.client.request("DELETE", self.path, {"removeFiles": "true"}, again=True, accept=(404,)):
                return True
        except NotFoundError:
            return True
        except SourceError:
            return False


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Entry of a tar without the user of this computer."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry
