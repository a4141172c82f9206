"""Put a file into a resource of XNAT, and see that it is there."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from hashlib import md5
from typing import IO

from ....errors import SourceError
from .client import Client
from .contents import files_of

_PIECE = 1 << 20


def put_file(client: Client, resource: Sequence[str], name: str, file: IO[bytes], overwrite: bool) -> None:
    """Put a file, and compare what is listed then.

    Parameters
    ----------
    client : Client
    resource : sequence of str
        Path of the resource below ``/data``.
    name : str
        Path in the resource.
    file : binary file
        That can be read from its beginning several times.
    overwrite : bool
        Whether a file that is there is replaced.

    Raises
    ------
    FileExistsError
        It is there, and `overwrite` is false.
    SourceError
        The server refuses it, or does not have it afterwards as it was sent.
    """
    server = client.address.server
    digest, size = md5(usedforsecurity=False), 0
    while piece := file.read(_PIECE):
        digest.update(piece)
        size += len(piece)
    if not size:
        raise SourceError(f"{server}: XNAT stores no empty files")

    def body() -> IO[bytes]:
        file.seek(0)
        return file

    path = (*resource, "files", *name.split("/"))
    query = {"overwrite": "true"} if overwrite else {}
    headers = {"Content-Type": "application/octet-stream"}
    # without overwriting not again: the first try would be what is there already
    with client.request("PUT", path, query, again=overwrite, body=body, headers=headers) as answer:
        said = None
        with contextlib.suppress(ValueError):
            said = answer.json()
    if isinstance(said, dict) and said.get("duplicates"):
        raise FileExistsError(17, "a file of this name is there already", name)
    there = next((f for f in files_of(client, tuple(resource)) if f.name == name), None)
    if there is None or there.size != size or there.digest not in ("", digest.hexdigest()):
        raise SourceError(
            f"{server}: the file is not stored as it was sent, though the server reports no failure: this user may not "
            "be allowed to write there"
        )
