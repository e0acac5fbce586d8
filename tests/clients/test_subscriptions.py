"""Cursors that the gateway keeps."""

from garden import Busy, ids, log, rename
from metagov.v1 import event_pb2, subscription_pb2


def subscribe(gateway, client, community):
    """A subscription of this language's own."""
    subscription = subscription_pb2.Subscription(
        subscription_id=client.name, filter=event_pb2.EventFilter(community_ids=[community])
    )
    request = subscription_pb2.CreateSubscriptionRequest(
        subscription=subscription, start_at=event_pb2.START_AT_EARLIEST
    )
    gateway.subscriptions.CreateSubscription(request)


def test_subscription(crowd, gateway):
    """A subscription goes on after what was acknowledged"""
    rename(gateway, "kept", ["a", "b", "c"])
    crowd.each(lambda client: subscribe(gateway, client, "kept"))

    def go_on(client):
        first = client.start("watch-subscription", client.name, "--count", "2").end()
        second = client.start("watch-subscription", client.name)
        expected = ids(log(gateway, "kept"))
        had = [line["event_id"] for line in first if "event_id" in line]
        assert had == expected[:2]
        again = second.until_event(expected[-1])
        # What was in hand when the first ended may not be acknowledged.
        assert again in (expected[1:], expected[2:])

    crowd.each(go_on)


def test_subscription_through_a_kill(crowd, fragile):
    """A subscription through a SIGKILL of the gateway: none lost, none twice"""
    crowd.at(fragile)
    rename(fragile, "kill", ["a"])
    crowd.each(lambda client: subscribe(fragile, client, "kill"))
    watches = crowd.each(
        lambda c: c.start("watch-subscription", c.name, "--heartbeat", "1").until_ready()
    )
    with Busy(fragile, "kill", pause=0.03) as busy:
        busy.until(more=30)
        fragile.kill()
        fragile.start()
        busy.until(more=30)
    expected = ids(log(fragile, "kill"))

    def had_all(client):
        assert watches[client].until_event(expected[-1]) == expected

    crowd.each(had_all)


def test_no_subscription(crowd):
    """A subscription that does not exist is not tried again"""

    def fail(client):
        program = client.start("watch-subscription", "nothing")
        error = program.error()
        assert error["code"] == "NOT_FOUND", error
        assert error["reason"] == "ERROR_REASON_SUBSCRIPTION_NOT_FOUND", error
        assert not program.retries

    crowd.each(fail)
