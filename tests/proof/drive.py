"""Calls that several harnesses make, and a Discourse that is sound."""

import hashlib
import hmac
import http.client
import json
import re
import time
from typing import Any

import grpc
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from discourse import SECRET
from metagov.v1 import action_pb2, community_pb2, event_pb2, plugin_pb2, process_pb2

from .server import Client, Gateway

SECONDS = 20.0
COMMUNITY = "garden"


def struct(**fields: Any) -> Struct:
    result = Struct()
    result.update(fields)
    return result


def community(client: Client, name: str = COMMUNITY) -> str:
    made = community_pb2.Community(community_id=name)
    client.communities.CreateCommunity(
        community_pb2.CreateCommunityRequest(community=made), timeout=SECONDS
    )
    return name


def enable(client: Client, plugin: str, config: dict | None = None, community: str = COMMUNITY):
    request = plugin_pb2.EnablePluginRequest(community_id=community, plugin=plugin)
    request.config.update(config or {})
    return client.plugins.EnablePlugin(request, timeout=SECONDS).installation


def stage(client: Client, *plugins: str) -> None:
    """A community with plugins that need no configuration."""
    community(client)
    for plugin in plugins:
        enable(client, plugin)


def vote(client: Client, close_time: float | None = None, **more: Any):
    """Starts a ballot.vote; `close_time` in seconds of the epoch."""
    parameters = {"title": "Which?", "options": ["a", "b", "c"]} | more
    request = process_pb2.StartProcessRequest(
        community_id=COMMUNITY, process_type="ballot.vote", parameters=struct(**parameters)
    )
    if close_time is not None:
        request.close_time.CopyFrom(Timestamp(nanos=round(close_time * 1e6) % 1_000_000 * 1000,
                                              seconds=round(close_time * 1e6) // 1_000_000))
    return client.processes.StartProcess(request, timeout=SECONDS).process


def cast(client: Client, process_id: str, voter: str, choices: list[str], request_id: str = ""):
    return perform(
        client, "ballot.cast", request_id, process_id=process_id, voter=voter, choices=choices
    )


def perform(client: Client, action: str, request_id: str = "", timeout: float = SECONDS, **parameters):
    request = action_pb2.PerformActionRequest(
        community_id=COMMUNITY, action=action, request_id=request_id, parameters=struct(**parameters)
    )
    return client.actions.PerformAction(request, timeout=timeout).result


def close(client: Client, process_id: str):
    request = process_pb2.CloseProcessRequest(process_id=process_id)
    return client.processes.CloseProcess(request, timeout=SECONDS).process


def cancel(client: Client, process_id: str):
    request = process_pb2.CancelProcessRequest(process_id=process_id, reason="as you like it")
    return client.processes.CancelProcess(request, timeout=SECONDS).process


def events(client: Client) -> list[event_pb2.Event]:
    """The whole log, page by page."""
    found: list[event_pb2.Event] = []
    request = event_pb2.ListEventsRequest(start_at=event_pb2.START_AT_EARLIEST, page_size=1000)
    while True:
        page = client.events.ListEvents(request, timeout=60)
        found.extend(page.events)
        if page.caught_up:
            return found
        request = event_pb2.ListEventsRequest(after_cursor=page.cursor, page_size=1000)


def deliver(gateway: Gateway, installation, forum: str, number: int, text: str = "") -> int:
    """Delivers a signed hook that says that a post was created; the HTTP status."""
    return deliver_answer(gateway, installation, forum, number, text).status


def deliver_answer(gateway: Gateway, installation, forum: str, number: int, text: str = ""):
    """The same, with the whole answer."""
    path, body, headers = hook(installation, forum, number, text)
    line = http.client.HTTPConnection(gateway.public_address, timeout=SECONDS)
    try:
        line.request("POST", path, body, headers)
        answer = line.getresponse()
        answer.read()
        return answer
    finally:
        line.close()


def hook(installation, forum: str, number: int, text: str = "") -> tuple[str, bytes, dict]:
    """The path, body and head of a signed hook that says that a post was created. The
    path is the same at every gateway, whichever wrote the address."""
    post = {
        "id": number,
        "topic_id": 1,
        "topic_slug": "a",
        "post_number": 1,
        "raw": text or f"post {number}",
        "username": "ada",
    }
    body = json.dumps({"post": post}).encode()
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "X-Discourse-Instance": forum,
        "X-Discourse-Event-Type": "post",
        "X-Discourse-Event": "post_created",
        "X-Discourse-Event-Signature": f"sha256={signature}",
    }
    return "/" + installation.webhook_url.split("/", 3)[3], body, headers


def delivered(dump) -> set[int]:
    """The numbers of the posts that stand in the log."""
    found = set()
    for row in dump.events:
        payload = json.loads(row["payload"] or "{}")
        platform = payload.get("platform") or {}
        if platform.get("event_type") == "discourse.post_created":
            found.add(int(platform["data"]["id"]))
    return found


def reason(error: grpc.RpcError) -> str:
    """The reason in the error's details, without its prefix; empty if it has none, as
    those that the client's own library makes."""
    details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    found = re.search(rb"ERROR_REASON_([A-Z_]+)", details)
    return found[1].decode() if found else ""


def wait_until(done, seconds: float = SECONDS, pause: float = 0.05) -> bool:
    """Asks again and again; whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


def process_events(dump) -> list[tuple[dict, dict]]:
    """The events of processes in the log, each with the process as it then stood."""
    found = []
    for row in dump.events:
        payload = json.loads(row["payload"] or "{}")
        if (process := payload.get("process")) is not None:
            found.append((row, process))
    return found
