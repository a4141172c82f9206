"""A proxy before an archive: it encrypts, and cuts or aborts connections in the midst of a transfer."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

ABORT = bytes.fromhex("07000000000400000200")
"""A-ABORT of the service provider (PS3.8 section 9.3.8)."""


@dataclass
class Proxy:
    """Forwards connections.

    Attributes
    ----------
    target : int
        Port of the archive.
    how : str
        ``close``, ``reset`` or ``abort`` (of the association); empty for no fault.
    down : bool
        Whether what the archive sends is counted, not what it gets.
    after : int
        Bytes in one connection after which the fault happens.
    times : int
        How many connections it happens to.
    came : int
        Bytes that the archive has sent.
    """

    target: int
    context: ssl.SSLContext | None = None
    how: str = ""
    down: bool = True
    after: int = 60_000
    times: int = 99
    port: int = 0
    happened: int = 0
    came: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, how: str, down: bool, times: int = 99) -> None:
        self.how, self.down, self.times, self.happened = how, down, times, 0

    def serve(self, client: socket.socket) -> None:
        try:
            if self.context is not None:
                client = self.context.wrap_socket(client, server_side=True)
            server = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            client.close()
            return
        pair = (client, server)
        for down in (True, False):
            threading.Thread(target=self.pump, args=(*pair, down), daemon=True).start()

    def pump(self, client: socket.socket, server: socket.socket, down: bool) -> None:
        source, sink = (server, client) if down else (client, server)
        count = 0
        with contextlib.suppress(OSError):
            while pdu := _pdu(source):
                count += len(pdu)
                if self.how and down == self.down and count > self.after and self.strikes():
                    if self.how == "abort":
                        client.sendall(ABORT)
                    elif self.how == "reset":
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    else:
                        sink.sendall(pdu[: len(pdu) // 2])  # in the midst of a message
                    break
                sink.sendall(pdu)
                if down:
                    with self.lock:
                        self.came += len(pdu)
        for end in (client, server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR) if self.how != "reset" or end is server else None
            end.close()

    def strikes(self) -> bool:
        with self.lock:
            if self.happened >= self.times:
                return False
            self.happened += 1
            return True


def _pdu(source: socket.socket) -> bytes:
    """One PDU of the upper layer (PS3.8 section 9.3.1): type, length, content; empty at the end."""
    head = _exactly(source, 6)
    return head + _exactly(source, int.from_bytes(head[2:], "big")) if head else b""


def _exactly(source: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = source.recv(min(count - len(data), 1 << 16))
        if not piece:
            return b""
        data += piece
    return data


@contextmanager
def proxy(target: int, context: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    state = Proxy(target, context)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        state.port = listening.getsockname()[1]

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listening.accept()
                    threading.Thread(target=state.serve, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield state
        listening.shutdown(socket.SHUT_RDWR)
