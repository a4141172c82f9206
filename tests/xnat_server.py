"""A stand-in XNAT to test against: HTTP or HTTPS on the loopback, with answers and failures of the real one."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import ssl
import tarfile
import threading
import time
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

PAGE = b"<!DOCTYPE html><html><h3>Login</h3></html>"


@dataclass
class Scan:
    """A scan: its fields, and files by resource."""

    fields: dict[str, str]
    resources: dict[str, dict[str, bytes]] = field(default_factory=dict)


@dataclass
class Standin:
    """What the server holds, what was asked, and how it fails."""

    users: dict[str, tuple[str, str]] = field(
        default_factory=lambda: {"anna": ("sesame", "owner"), "carl": ("pass", "collaborator")}
    )
    experiments: dict[tuple[str, str, str, str, str], dict[str, Scan]] = field(default_factory=dict)
    """Scans by (project, subject ID, subject label, experiment ID, experiment label)."""
    study: str = ""
    digests: bool = True
    unpacks: bool = True
    delay: float = 0.0
    log: list[str] = field(default_factory=list)
    sessions: dict[str, str] = field(default_factory=dict)
    faults: list[tuple[str, str, int]] = field(default_factory=list)
    """(text in the request line, what happens, how often)."""
    port: int = 0
    busiest: int = 0

    def fail(self, where: str, how: str, times: int = 1) -> None:
        self.faults.append((where, how, times))

    def fault(self, line: str) -> str:
        for k, (where, how, times) in enumerate(self.faults):
            if where in line and times:
                self.faults[k] = (where, how, times - 1)
                return how
        return ""

    def count(self, text: str = "") -> int:
        return sum(text in line for line in self.log)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Standin
    running = 0

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        type(self).running += 1
        self.state.busiest = max(self.state.busiest, type(self).running)
        try:
            self._do()
        finally:
            type(self).running -= 1

    do_PUT = do_DELETE = do_POST = do_GET  # noqa: N815

    # --- answers ---

    def reply(self, code: int, content: bytes = b"", kind: str = "text/plain", **headers: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def listing(self, rows: list[dict[str, Any]]) -> None:
        found = {"ResultSet": {"Result": [{k: str(v) for k, v in r.items()} for r in rows], "totalRecords": len(rows)}}
        content = json.dumps(found).encode()
        if self.how == "cut":
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        self.reply(200, content, "application/json")

    def session(self) -> str:
        for part in self.headers.get("Cookie", "").split(";"):
            key, _, value = part.strip().partition("=")
            if key == "JSESSIONID":
                return value
        return ""

    def user(self) -> str | None:
        basic = self.headers.get("Authorization", "")
        if basic.startswith("Basic "):
            name, _, password = base64.b64decode(basic[6:]).decode().partition(":")
            return name if self.state.users.get(name, ("",))[0] == password else None
        return self.state.sessions.get(self.session(), "")

    def begin(self, user: str) -> None:
        key = uuid.uuid4().hex.upper()
        self.state.sessions[key] = user
        self.reply(200, key.encode(), Set_Cookie=f"JSESSIONID={key}; Path=/")

    def _do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = urlsplit(self.path)
        self.parts = [unquote(p) for p in found.path.strip("/").split("/")]
        self.query = dict(parse_qsl(found.query))
        line = f"{self.command} {self.path}"
        self.state.log.append(line)
        time.sleep(self.state.delay)
        how = self.state.fault(line)
        if how.isdigit():
            return self.reply(int(how), b"Mueller", Retry_After="0")
        if how == "html":
            return self.reply(200, PAGE, "text/html")
        if how == "redirect":
            return self.reply(302, b"", Location="/app/template/Login.vm")
        if how == "drop":
            self.close_connection = True
            return None
        if how == "expire":
            self.state.sessions.clear()
        self.how = how
        return self.route(body)

    def route(self, body: bytes) -> None:
        if self.parts == ["data", "services", "auth"]:
            form = dict(parse_qsl(body.decode()))
            known = self.state.users.get(form.get("username", ""), ("",))[0] == form.get("password")
            return self.begin(form["username"]) if known else self.reply(401, PAGE, "text/html")
        user = self.user()
        if user is None:
            return self.reply(401, PAGE, "text/html")
        if self.parts == ["data", "JSESSION"]:
            if self.command == "DELETE":
                self.state.sessions.pop(self.session(), None)
                return self.reply(200)
            key = self.session()
            return self.reply(200, key.encode()) if key in self.state.sessions else self.begin(user)
        if self.parts == ["data", "auth"]:
            return self.reply(200, f"User '{user or 'guest'}' is logged in".encode())
        if self.parts == ["data", "version"]:
            return self.reply(404)
        if self.parts[0] == "xapi":
            return self.reply(200, b'{"version": "1.8.10"}', "application/json")
        if self.parts == [""]:
            return self.reply(200, b"")
        if not user:
            return self.reply(401, PAGE, "text/html")
        parts = [p for p in self.parts[1:] if p != "archive"]
        return self.below(parts, body, self.state.users[user][1])

    def below(self, parts: list[str], body: bytes, role: str) -> None:
        keys = list(self.state.experiments)
        if parts == ["projects"]:
            return self.listing([{"ID": p, "name": p} for p in dict.fromkeys(k[0] for k in keys)])
        if parts[0] == "projects":
            keys = [k for k in keys if k[0] == parts[1]]
            parts = parts[2:]
        if not keys:
            return self.reply(404, PAGE, "text/html")
        if parts == ["subjects"]:
            return self.listing([{"ID": i, "label": n} for i, n in dict.fromkeys((k[1], k[2]) for k in keys)])
        if parts[:1] == ["subjects"]:
            keys = [k for k in keys if parts[1] in k[1:3]]
            parts = parts[2:]
        if parts == ["experiments"] and keys:
            kind = "xnat:mrSessionData"
            return self.listing([{"ID": k[3], "label": k[4], "xsiType": kind, "date": "2020-01-02"} for k in keys])
        keys = [k for k in keys if len(parts) > 1 and parts[1] in k[3:5]]
        if not keys:
            return self.reply(404, PAGE, "text/html")
        if len(parts) == 2:
            item = {"items": [{"data_fields": {"ID": keys[0][3], "UID": self.state.study}, "children": []}]}
            return self.reply(200, json.dumps(item).encode(), "application/json")
        return self.scans(self.state.experiments[keys[0]], parts[3:], body, role)

    def scans(self, scans: dict[str, Scan], parts: list[str], body: bytes, role: str) -> None:
        if not parts:
            return self.listing([{"ID": n, **scan.fields} for n, scan in scans.items()])
        if self.command != "GET" and role == "collaborator" and len(parts) < 4:
            return self.reply(403, PAGE, "text/html")
        number = parts[0]
        if len(parts) == 1 and self.command == "PUT":
            kind = self.query["xsiType"]
            fields = {k.partition("/")[2]: v for k, v in self.query.items() if k.startswith(kind)}
            scans.setdefault(number, Scan({})).fields.update(fields, xsiType=kind)
            return self.reply(200)
        if number not in scans:
            return self.reply(404, PAGE, "text/html")
        scan = scans[number]
        if len(parts) == 1 and self.command == "DELETE":
            del scans[number]
            return self.reply(200)
        if len(parts) == 2:
            rows = [
                {"xnat_abstractresource_id": f"{k + 11}", "label": n, "file_count": len(f), "format": n}
                for k, (n, f) in enumerate(scan.resources.items())
            ]
            return self.listing(rows)
        label = parts[2]
        label = list(scan.resources)[int(label) - 11] if label.isdigit() else label
        if len(parts) == 3:
            if self.command == "DELETE":
                return self.reply(200 if scan.resources.pop(label, None) is not None else 404)
            if label in scan.resources:
                return self.reply(409)
            scan.resources[label] = {}
            return self.reply(200)
        if label not in scan.resources:
            return self.reply(404, PAGE, "text/html")
        return self.files(number, label, scan.resources[label], parts[4:], body, role)

    def files(self, number: str, label: str, files: dict[str, bytes], parts: list[str], body: bytes, role: str) -> None:
        name = "/".join(parts)
        if self.command == "PUT":
            if role == "collaborator" or self.how == "lose":
                return self.reply(200)  # as the real one does: nothing is stored, and nothing is said
            if self.query.get("extract") == "true" and self.state.unpacks:
                with tarfile.open(fileobj=io.BytesIO(body)) as archive:
                    for entry in archive:
                        data = archive.extractfile(entry)
                        assert data is not None
                        files[entry.name] = data.read()
            elif name in files and self.query.get("overwrite") != "true":
                return self.reply(200, json.dumps({"duplicates": [name]}).encode())
            else:
                files[name] = body[:-1] if self.how == "corrupt" else body
            return self.reply(200)
        if self.command == "DELETE":
            return self.reply(200 if files.pop(name, None) is not None else 404)
        if not name and self.query.get("format") == "zip":
            out = io.BytesIO()
            with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as pack:
                for n, content in files.items():
                    pack.writestr(f"E1/scans/{number}-T1/resources/{label}/files/{n}", content)
            return self.data(out.getvalue(), chunked=True)
        if not name:
            return self.listing([self.row(number, n, data) for n, data in files.items()])
        return self.data(files[name], chunked=False) if name in files else self.reply(404, PAGE, "text/html")

    def row(self, number: str, name: str, data: bytes) -> dict[str, Any]:
        digest = hashlib.md5(data).hexdigest() if self.state.digests else ""
        return {
            "Name": name.rpartition("/")[2], "Size": len(data), "digest": digest, "collection": "DICOM",
            "URI": f"/data/experiments/X_E1/scans/{number}/resources/11/files/{name}",
        }  # fmt: skip

    def data(self, content: bytes, chunked: bool) -> None:
        if self.how == "corrupt":
            at = len(content) // 2
            content = content[:at] + b"\xff" * 200 + content[at + 200 :]
        if self.how == "short":
            content = content[: len(content) // 2]
        cut = self.how == "cut"
        if not chunked and not cut:
            return self.reply(200, content, "application/octet-stream")
        self.send_response(200)
        self.send_header("Content-Type", "application/zip")
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        half = content[: len(content) // 2] if cut else content
        self.wfile.write(b"%x\r\n%s\r\n" % (len(half), half) if chunked else half)
        if cut:
            self.close_connection = True
            return None
        self.wfile.write(b"0\r\n\r\n")
        return None


@contextmanager
def standin(context: ssl.SSLContext | None = None) -> Iterator[Standin]:
    """Start a server; `context` makes it one of HTTPS."""
    state = Standin()
    handler = type("Bound", (Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    state.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
