"""Archives of images to test against: Orthanc and DCMTK's dcmqrscp, each on a free port of the loopback."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import phantoms
import pydicom
from phantoms import ANNA_LATER, BERT, make

ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}  # DCMTK waits for 40 ms after each message without it


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@dataclass(frozen=True)
class Server:
    """A running archive."""

    name: str
    aet: str
    port: int
    web: int = 0

    @property
    def url(self) -> str:
        return f"dicom://127.0.0.1:{self.port}/{self.aet}"


def wait_for(port: int, process: subprocess.Popen[bytes], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        try:
            with socket.create_connection(("127.0.0.1", port), 0.5):
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"nothing answers on port {port}")


@contextmanager
def running(command: list[str], port: int, folder: Path) -> Iterator[None]:
    with open(folder / "server.log", "ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=ENVIRONMENT, cwd=folder)
    try:
        wait_for(port, process)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


@contextmanager
def dcmqrscp(folder: Path, *options: str, move_to: int = 0, quota: str = "1024mb") -> Iterator[Server]:
    """DCMTK's archive; `move_to` is the port of IMAGEDATA_XR, to which it may send, `quota` the most of a study."""
    program = shutil.which("dcmqrscp")
    assert program
    (folder / "db").mkdir(parents=True)
    port = free_port()
    hosts = f"us = (IMAGEDATA_XR, 127.0.0.1, {move_to})" if move_to else ""
    (folder / "dcmqrscp.cfg").write_text(
        f"""NetworkTCPPort = {port}
MaxPDUSize = 131072
MaxAssociations = 16
HostTable BEGIN
{hosts}
HostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
ARCHIVE {folder / "db"} RW (200, {quota}) ANY
AETable END
"""
    )
    with running([program, "-c", str(folder / "dcmqrscp.cfg"), *options], port, folder):
        yield Server("dcmqrscp", "ARCHIVE", port)


@contextmanager
def storescp(folder: Path) -> Iterator[Server]:
    """DCMTK's receiver, which keeps what it takes in a folder ``taken``, in the transfer syntax that it came in."""
    # pynetdicom has a program of this name, with other options
    program = shutil.which("storescp", path=os.path.dirname(shutil.which("dcmdump") or ""))
    assert program
    (folder / "taken").mkdir(parents=True)
    port = free_port()
    with running([program, "-od", str(folder / "taken"), "+xa", "-aet", "RECEIVER", str(port)], port, folder):
        yield Server("storescp", "RECEIVER", port)


@contextmanager
def orthanc(folder: Path, tls: Path | None = None, move_to: int = 0, **changes: object) -> Iterator[Server]:
    """Orthanc, with DICOMweb where the plugin is installed; `tls` is a folder with cert.pem, key.pem and ca.pem."""
    program = shutil.which("Orthanc")
    assert program
    folder.mkdir(parents=True, exist_ok=True)
    port, web = free_port(), free_port()
    plugins = [p for p in ("/usr/share/orthanc/plugins", "/usr/lib/orthanc/plugins") if os.path.isdir(p)]
    found = [str(p) for d in plugins for p in Path(d).glob("*OrthancDicomWeb*")]
    config: dict[str, object] = {
        "Name": "test", "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"),
        "DicomAet": "ARCHIVE", "DicomPort": port, "HttpPort": web, "RemoteAccessAllowed": False,
        "DicomCheckCalledAet": True, "DicomAlwaysAllowGet": True, "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowMove": True, "DicomAlwaysAllowStore": True, "AuthenticationEnabled": False,
        "DicomModalities": {"us": ["IMAGEDATA_XR", "127.0.0.1", move_to or 4242]}, "Plugins": found,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": True, "Ssl": False},
        "OverwriteInstances": False, "StableAge": 1,
    }  # fmt: skip
    if tls is not None:
        config |= {
            "DicomTlsEnabled": True, "DicomTlsCertificate": str(tls / "cert.pem"),
            "DicomTlsPrivateKey": str(tls / "key.pem"), "DicomTlsTrustedCertificates": str(tls / "ca.pem"),
        }  # fmt: skip
    config |= changes
    (folder / "orthanc.json").write_text(json.dumps(config))
    with running([program, str(folder / "orthanc.json")], port, folder):
        wait_for_port(web)
        yield Server("orthanc", "ARCHIVE", port, web)


SERVERS: dict[str, tuple[Any, str]] = {"orthanc": (orthanc, "Orthanc"), "dcmqrscp": (dcmqrscp, "dcmqrscp")}
"""Archives, by name: what starts them, and the program that it needs."""


def certificates_in(folder: Path, trustme: Any) -> dict[str, Path]:
    """Authority, a server for 127.0.0.1, one of another name, a client, and an authority that nobody knows."""
    folder.mkdir(exist_ok=True)
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    stranger.cert_pem.write_to_path(str(folder / "stranger.pem"))
    for name, host in (("right", "127.0.0.1"), ("wrong", "archive.example"), ("client", "imagedata.example")):
        (folder / name).mkdir()
        issued = authority.issue_cert(host)
        issued.private_key_pem.write_to_path(str(folder / name / "key.pem"))
        issued.cert_chain_pems[0].write_to_path(str(folder / name / "cert.pem"))
        authority.cert_pem.write_to_path(str(folder / name / "ca.pem"))
    return {name: folder / name for name in ("ca.pem", "stranger.pem", "right", "wrong", "client")}


def wait_for_port(port: int, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), 0.5):
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"nothing answers on port {port}")


def fill(server: Server, folder: Path) -> None:
    """Let dcmtk send what lies in a folder, with accession numbers."""
    files = sorted(str(p) for p in folder.rglob("*") if p.is_file())
    for file in files:
        ds = pydicom.dcmread(file)
        ds.AccessionNumber = ds.StudyInstanceUID.rpartition(".")[2]
        ds.save_as(file)
    command = ["dcmsend", "-aet", "FILLER", "-aec", server.aet, "127.0.0.1", str(server.port), *files]
    subprocess.run(command, check=True, env=ENVIRONMENT)


def fill_with_two_patients(server: Server, folder: Path) -> None:
    """Fill an archive with two patients, of whom one has two studies, and four series; they are made in a folder."""
    make(folder / "a", phantoms.mr(shape=(2, 3, 6, 8), uid="1.2.826.0.1.3680043.8.498.50", number=5))
    make(folder / "b", phantoms.ct(uid="1.2.826.0.1.3680043.8.498.51", number=6))
    make(folder / "c", phantoms.mr(who=ANNA_LATER, uid="1.2.826.0.1.3680043.8.498.52", number=5))
    make(folder / "d", phantoms.pet(who=BERT, uid="1.2.826.0.1.3680043.8.498.53", number=7))
    fill(server, folder)
