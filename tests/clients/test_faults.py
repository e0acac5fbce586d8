"""What a watch survives. Each time: no event is lost, none comes twice, all in order."""

import time

from garden import Busy, ids, log, rename
from gateway import Gateway
from ways import Breaking, Swallowing


def begin(crowd, community):
    """Starts a watch in each language, with the shortest heartbeat."""
    watch = ("watch", "--community", community, "--heartbeat", "1")
    watches = crowd.each(lambda client: client.start(*watch))
    crowd.each(lambda client: watches[client].until_ready())
    return watches


def whole(crowd, watches, expected):
    """Waits until each has had all events, and compares."""

    def had_all(client):
        assert watches[client].until_event(expected[-1]) == expected

    crowd.each(had_all)


def test_kill(crowd, fragile):
    """The gateway is killed (SIGKILL) in the middle of a stream, twice: no event lost, none twice"""
    watches = begin(crowd.at(fragile), "kill")
    with Busy(fragile, "kill") as busy:
        for _ in range(2):
            busy.until(more=50)
            fragile.kill()
            fragile.start()
        busy.until(more=50)
    whole(crowd, watches, ids(log(fragile, "kill")))


def test_drain(crowd, fragile):
    """The gateway drains (SIGTERM) and is started again: no event lost, none twice"""
    watches = begin(crowd.at(fragile), "drain")
    with Busy(fragile, "drain") as busy:
        busy.until(more=50)
        fragile.terminate()
        assert fragile.exit_code() == 0
        fragile.start()
        busy.until(more=50)
    whole(crowd, watches, ids(log(fragile, "drain")))


def test_cut(crowd, gateway):
    """A proxy cuts every connection after half a second: no event lost, none twice"""
    way = Breaking(gateway.address, seconds=0.5)
    watches = begin(crowd.at(gateway, METAGOV_ENDPOINT=f"http://{way.address}"), "cut")
    with Busy(gateway, "cut") as busy:
        crowd.each(lambda client: watches[client].until(lambda it: len(it.retries) >= 3))
        busy.until(more=10)
    whole(crowd, watches, ids(log(gateway, "cut")))
    way.close()


def test_swallowed(crowd, gateway):
    """A proxy swallows what is said, and cuts nothing: silence is noticed"""
    way = Swallowing(gateway.address)
    watches = begin(crowd.at(gateway, METAGOV_ENDPOINT=f"http://{way.address}"), "swallowed")
    rename(gateway, "swallowed", ["before"])
    first = ids(log(gateway, "swallowed"))
    whole(crowd, watches, first)
    way.forget()
    rename(gateway, "swallowed", ["meanwhile"])
    # Two heartbeats and five seconds, and some for the machine.
    noticed = time.monotonic()
    whole(crowd, watches, ids(log(gateway, "swallowed")))
    assert time.monotonic() - noticed < 25
    way.close()


def test_later(crowd, tmp_path):
    """The gateway is started only after the watch"""
    # Started once before, so that there is a token.
    with Gateway(tmp_path) as gateway:
        gateway.kill()
        watch = ("watch", "--community", "later")
        watches = crowd.at(gateway).each(lambda client: client.start(*watch))
        crowd.each(lambda client: watches[client].until_retry())
        gateway.start()
        crowd.each(lambda client: watches[client].until_ready())
        rename(gateway, "later", ["a", "b"])
        whole(crowd, watches, ids(log(gateway, "later")))


def test_backoff(crowd, gateway):
    """Pauses grow from a tenth of a second on, each by chance"""
    nowhere = "http://127.0.0.1:9"
    watches = crowd.each(lambda client: client.start("watch", METAGOV_ENDPOINT=nowhere))

    def growing(client):
        retries = watches[client].until(lambda it: len(it.retries) >= 5).retries
        delays = [retry["delay"] for retry in retries[:5]]
        for place, delay in enumerate(delays):
            longest = 0.1 * 2**place
            assert longest / 2 <= delay <= longest + 0.001, delays
        assert {retry["code"] for retry in retries} == {"UNAVAILABLE"}

    crowd.each(growing)
