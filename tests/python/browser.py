"""A real browser without a window, and the web that it sees."""

import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from gateway import PATIENCE
from relay import Relay, copy

PAGE = Path(__file__).with_name("hostile.html")
NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
# A name that an attacker may point anywhere, here at this machine.
EVIL = "evil.example"


def program() -> str:
    """The browser of this machine."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    assert found, "no Chromium here: run `make browser` as root, or install chromium"
    return found


class Site:
    """Serves the hostile page, sends on who asks for that, and takes reports."""

    def __enter__(self) -> "Site":
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._server.daemon_threads = True
        self._server.reports = queue.Queue()
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._server.server_close()

    def page(self, origin: str, targets: list[str], token: str, then: str = "") -> str:
        """The address of the page, at an origin that leads here, and of the one after it."""
        report = f"http://127.0.0.1:{self.port}/report"
        asked = {"targets": ",".join(targets), "token": token, "report": report}
        asked |= {"next": then} if then else {}
        return f"{origin}/page?{urllib.parse.urlencode(asked)}"

    def report(self) -> list[dict]:
        """What the next page says that it could read."""
        return self._server.reports.get(timeout=PATIENCE)


class Answer(BaseHTTPRequestHandler):
    """One connection, one answer: the next may go elsewhere (see Rebinding)."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = urllib.parse.urlsplit(self.path)
        match path.path:
            case "/page":
                self._say(200, PAGE.read_bytes())
            case "/redirect":
                self._send_on(path.query)
            case _:
                self._say(404, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urllib.parse.urlsplit(self.path)
        if path.path == "/report":
            self.server.reports.put(json.loads(body))
            self._say(200, b"")
        else:
            self._send_on(path.query)

    def _send_on(self, query: str) -> None:
        # 307 keeps the method, the body and its type.
        self._say(307, b"", Location=urllib.parse.parse_qs(query)["to"][0])

    def _say(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        common = {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Length": str(len(body)),
            "Connection": "close",
        }
        for name, value in (common | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_) -> None:
        pass


class Rebinding(Relay):
    """What DNS rebinding looks like to a browser: one origin whose page comes from the
    site, and whose further connections reach the gateway."""

    def __init__(self, site: int, gateway: str):
        self._site = ("127.0.0.1", site)
        host, port = gateway.split(":")
        self._gateway = (host, int(port))
        super().__init__()
        self.origin = f"http://{EVIL}:{self.port}"

    def __enter__(self) -> "Rebinding":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def forward(self, taken: socket.socket) -> None:
        with taken:
            head = taken.recv(4096)
            of_site = head.startswith((b"GET /page", b"GET /redirect", b"POST /redirect"))
            with socket.create_connection(self._site if of_site else self._gateway) as other:
                other.sendall(head)
                back = threading.Thread(target=_copy, args=(other, taken), daemon=True)
                back.start()
                _copy(taken, other)
                back.join()


def _copy(source: socket.socket, to: socket.socket) -> None:
    copy(source, to)
    try:
        to.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # It went away.


class Browser:
    """Chromium, which finds this machine under an evil name, and nothing else."""

    def __init__(self, folder: Path, *flags: str):
        self._folder = folder
        # Beside those that every visit has.
        self._flags = flags

    def visit(self, url: str) -> "Visit":
        """Opens a page for as long as it is entered."""
        rules = f"MAP {EVIL} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"
        flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            "--no-proxy-server",
            f"--user-data-dir={self._folder}",
            f"--host-resolver-rules={rules}",
        ]
        command = [program(), *flags, *self._flags, url]
        return Visit(command, self._folder.with_suffix(".log"))


class Visit:
    """A browser that looks at one page."""

    def __init__(self, command: list[str], log: Path):
        self._command = command
        self._log = log

    def __enter__(self) -> "Visit":
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_) -> None:
        # With all the processes that it is made of.
        os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
