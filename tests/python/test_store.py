"""What the gateway keeps, seen from outside."""

import sqlite3
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor

import grpc

from calls import create_community, enable, start_vote
from gateway import BINARY, Gateway, environment
from metagov.v1 import event_pb2


def test_sqlite_is_recent_and_durable(tmp_path):
    with Gateway(tmp_path, kind="sqlite") as gateway:
        said = next(line for line in gateway.log_lines() if line["message"] == "SQLite")
        assert tuple(map(int, said["version"].split("."))) >= (3, 51, 3)
        assert (said["journal"], said["synchronous"]) == ("wal", 2)
        with sqlite3.connect(gateway.data / "metagov.db") as database:
            assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_database_that_would_forget_is_refused():
    serve = [BINARY, "serve", "--listen=127.0.0.1:0", "--public-listen=127.0.0.1:0"]
    serve.append("--database-url=sqlite::memory:")
    refused = subprocess.run(serve, env=environment(), capture_output=True, text=True)
    assert refused.returncode == 1
    assert "--database-url (METAGOV_DATABASE_URL)" in refused.stderr.splitlines()[-1]


def test_ids_are_uuids_in_the_order_of_time(gateway):
    create_community(gateway, "garden")
    first = enable(gateway, "ballot").installation_id
    vote = start_vote(gateway, "What shall we plant?", ["Beans", "Tomatoes"]).process_id
    events = gateway.events.ListEvents(event_pb2.ListEventsRequest()).events
    ids = [first, vote, *(event.event_id for event in events)]
    assert {uuid.UUID(each).version for each in ids} == {7}
    assert first < vote
    assert ids[2:] == sorted(ids[2:])


def test_changes_that_fail_do_not_harm_those_that_wait_with_them(gateway):
    create_community(gateway, "garden")

    def create(number: int) -> bool:
        taken = number % 3 == 0
        try:
            create_community(gateway, "garden" if taken else f"plot-{number}")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.ALREADY_EXISTS
            return taken
        return not taken

    with ThreadPoolExecutor(max_workers=32) as callers:
        assert all(callers.map(create, range(200)))
    everything = event_pb2.ListEventsRequest(page_size=1000)
    created = [event.community_id for event in gateway.events.ListEvents(everything).events]
    plots = [f"plot-{number}" for number in range(200) if number % 3 != 0]
    assert sorted(created) == sorted(["garden", *plots])
