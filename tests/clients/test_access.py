"""No gateway, another server, and tokens that do not hold."""

import time

from google.protobuf.timestamp_pb2 import Timestamp

from garden import ids, log, rename
from gateway import free_port
from metagov.v1 import access_pb2


# The id of no process.
NOTHING = "01900000-0000-7000-8000-000000000000"


def refused(error):
    assert error["code"] == "UNAUTHENTICATED", error
    assert error["reason"] == "ERROR_REASON_TOKEN_INVALID", error
    assert "METAGOV_TOKEN" in error["advice"], error


def new_token(gateway, seconds=None):
    """A token that holds for so long, and its id."""
    token = access_pb2.Token(display_name="row", role=access_pb2.ROLE_READER)
    if seconds:
        token.expire_time.FromNanoseconds(time.time_ns() + int(seconds * 1e9))
    made = gateway.access.CreateToken(access_pb2.CreateTokenRequest(token=token))
    return made.secret, made.token.token_id


def test_nobody(crowd):
    """No gateway: a call fails, with advice"""

    def fail(client):
        endpoint = f"http://127.0.0.1:{free_port()}"
        error = client.start("get-community", "garden", METAGOV_ENDPOINT=endpoint).error()
        assert error["code"] == "UNAVAILABLE", error
        assert error["reason"] == "", error
        assert "METAGOV_ENDPOINT" in error["advice"], error

    crowd.each(fail)


def test_wrong_port(crowd, gateway):
    """Another server's port: a call fails, with advice"""
    endpoint = f"http://{gateway.public_address}"

    def fail(client):
        error = client.start("get-community", "garden", METAGOV_ENDPOINT=endpoint).error()
        assert error["reason"] == "", error
        assert "METAGOV_ENDPOINT" in error["advice"], error

    crowd.each(fail)


def test_wrong_token(crowd):
    """A wrong token stops calls, watches and waits at once, and is not repeated"""
    wrong = "mgv_wrong_0123456789"

    def fail(client):
        for verb in (("get-community", "garden"), ("watch",), ("wait", NOTHING)):
            program = client.start(*verb, METAGOV_TOKEN=wrong)
            refused(program.error())
            assert not program.retries
            assert wrong not in str(program)

    crowd.each(fail)


def test_no_token(crowd):
    """Without a token calls go without one"""

    def fail(client):
        refused(client.start("get-community", "garden", METAGOV_TOKEN=None).error())

    crowd.each(fail)


def test_revoked(crowd, gateway):
    """A token that is revoked in the middle of a watch stops it"""
    secret, token_id = new_token(gateway)
    watches = crowd.each(lambda client: client.start("watch", METAGOV_TOKEN=secret))
    crowd.each(lambda client: watches[client].until_ready())
    gateway.access.RevokeToken(access_pb2.RevokeTokenRequest(token_id=token_id))
    crowd.each(lambda client: refused(watches[client].error()))


def test_expired(crowd, gateway):
    """A token that expires in the middle of a watch stops it"""
    rename(gateway, "expiry", ["a"])
    watch = ("watch", "--community", "expiry", "--earliest")

    def both(client):
        # Long enough for the slowest to begin.
        secret, _ = new_token(gateway, seconds=8)
        program = client.start(*watch, METAGOV_TOKEN=secret)
        refused(program.error())
        assert [event["event_id"] for event in program.events] == ids(log(gateway, "expiry"))

    crowd.each(both)
