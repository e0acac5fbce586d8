"""A Discourse server as small as the plugin needs to be set up, and its webhooks."""

import hashlib
import hmac
import json
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = "the secret of the hook"

ANSWERS = {
    "/about.json": {"about": {"title": "The garden"}},
    "/admin/users/list/active.json": [],
    "/directory_items.json": {"directory_items": [], "meta": {"total_rows_directory_items": 0}},
}


class FakeDiscourse:
    """Listens on the loopback while it is entered."""

    def __enter__(self) -> "FakeDiscourse":
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._server.server_close()

    def config(self) -> dict:
        """What a community configures to use this server."""
        return {"server_url": self.url, "api_key": "a key", "webhook_secret": SECRET}

    def post_created(self, webhook_url: str, post: dict) -> int:
        """Tells a gateway that a post was created, signed; returns the HTTP status."""
        body = json.dumps({"post": post}).encode()
        signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "application/json",
            "X-Discourse-Instance": self.url,
            "X-Discourse-Event-Type": "post",
            "X-Discourse-Event": "post_created",
            "X-Discourse-Event-Signature": f"sha256={signature}",
        }
        request = urllib.request.Request(webhook_url, body, headers)
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=10) as reply:
            return reply.status


class Answer(BaseHTTPRequestHandler):
    """Answers what is known, and anything else with an empty object."""

    def do_GET(self) -> None:
        body = json.dumps(ANSWERS.get(self.path.partition("?")[0], {})).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def do_PUT(self) -> None:
        self.do_POST()

    def log_message(self, *_) -> None:
        """Says nothing."""
