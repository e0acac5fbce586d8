"""The server that the page comes from, which is another origin than the gateway."""

import json
import threading
import time
import urllib.parse
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Callable

from gateway import PATIENCE, Gateway

PAGE = b'<!doctype html><meta charset="utf-8"><script type="module" src="/bundle.js"></script>'


class Pages:
    """Serves the page, and takes what each of its tabs reports."""

    def __init__(self, bundle: Path):
        self._server = Server(("127.0.0.1", 0), Answer)
        self._server.bundle = bundle.read_bytes()
        self._server.reports = defaultdict(list)
        self._server.news = threading.Condition()
        self.port = self._server.server_port
        self.origin = f"http://localhost:{self.port}"

    def __enter__(self) -> "Pages":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._server.server_close()

    def url(self, gateway: Gateway, do: str, tab: str = "one", origin: str = "", **asked: object) -> str:
        """The address of a page that calls a gateway; `do` is one of its scenes."""
        told = {"do": do, "tab": tab, "endpoint": f"http://{gateway.address}", "token": gateway.token}
        told |= {"community": "garden"} | asked
        return f"{origin or self.origin}/?{urllib.parse.urlencode(told)}"

    def reports(self, tab: str = "one") -> list[dict]:
        """What a tab has reported so far."""
        return list(self._server.reports[tab])

    def until(self, enough: Callable[[list[dict]], object], tab: str = "one") -> list[dict]:
        """Waits until a tab has reported that, and returns all that it did."""
        deadline = time.monotonic() + PATIENCE
        with self._server.news:
            while not enough(self.reports(tab)):
                assert time.monotonic() < deadline, f"it did not come to that: {self.reports(tab)}"
                self._server.news.wait(1)
        return self.reports(tab)

    def until_ready(self, tab: str = "one", times: int = 1) -> None:
        """Waits until the gateway has answered a tab's watch, so often."""
        self.until(lambda reports: reports.count({"ready": True}) >= times, tab)

    def events(self, last: str, tab: str = "one") -> list[str]:
        """The ids of the events that a tab has seen, in order, once the last one is there."""
        reports = self.until(lambda reports: {"event_id": last} in reports, tab)
        return [report["event_id"] for report in reports if "event_id" in report]


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_) -> None:
        """Browsers are ended, they do not say goodbye."""


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        match urllib.parse.urlsplit(self.path).path:
            case "/":
                self._say(200, PAGE, "text/html; charset=utf-8")
            case "/bundle.js":
                self._say(200, self.server.bundle, "text/javascript; charset=utf-8")
            case _:
                self._say(404, b"", "text/plain")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        tab = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)["tab"][0]
        with self.server.news:
            self.server.reports[tab].append(json.loads(body))
            self.server.news.notify_all()
        self._say(200, b"", "text/plain")

    def _say(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        pass
