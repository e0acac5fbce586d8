"""A webhook of Discourse, on its way to a driver in another process."""

import urllib.error

import pytest

from calls import create_community, enable
from driver import Driver
from metagov.v1 import event_pb2, plugin_pb2
from watcher import Watcher

POST = {
    "id": 11,
    "raw": "Shall we plant beans?",
    "topic_id": 8,
    "topic_slug": "beans",
    "post_number": 1,
    "username": "alice",
}


def list_events(gateway, cursor):
    platform = event_pb2.EventFilter(kinds=[event_pb2.EVENT_KIND_PLATFORM])
    request = event_pb2.ListEventsRequest(filter=platform, after_cursor=cursor)
    return gateway.events.ListEvents(request).events


def test_a_signed_post_reaches_another_process_and_survives_sigkill(gateway, discourse):
    create_community(gateway, "garden")
    hook = enable(gateway, "discourse", discourse.config()).webhook_url
    with Driver(gateway, "garden") as driver:
        watcher = Watcher(driver)
        before = watcher.cursor
        assert 200 <= discourse.post_created(hook, POST) < 300
        seen = watcher.next()
    assert seen.platform.event_type == "discourse.post_created"
    assert seen.platform.initiator.user_id == "alice"
    assert seen.platform.data["url"] == f"{discourse.url}/t/beans/8/1"

    gateway.kill()
    gateway.start()
    with Driver(gateway, "garden", before) as driver:
        assert Watcher(driver).next() == seen
    assert list(list_events(gateway, before)) == [seen]
    assert list(list_events(gateway, seen.cursor)) == []


def test_a_forged_post_makes_no_event(gateway, discourse):
    create_community(gateway, "garden")
    installation = enable(gateway, "discourse", discourse.config())
    everything = event_pb2.WatchEventsRequest()
    watcher = Watcher(gateway.events.WatchEvents(everything))
    # The server knows another secret than the platform: no signature fits.
    patch = plugin_pb2.UpdateInstallationRequest(installation_id=installation.installation_id)
    patch.config_patch.update({"webhook_secret": "another"})
    gateway.plugins.UpdateInstallation(patch)
    with pytest.raises(urllib.error.HTTPError) as refused:
        discourse.post_created(installation.webhook_url, POST)
    assert 400 <= refused.value.code < 500
    create_community(gateway, "after")

    assert watcher.next().installation_changed.change_kind == event_pb2.CHANGE_KIND_UPDATED
    assert watcher.next().community_changed.community.community_id == "after"
