"""Events without faults: from the start, live, filtered, and from where another left off."""

from garden import ids, log, rename, vote


def test_live(crowd, gateway):
    """Watching begins with what happens from then on"""
    rename(gateway, "live", ["before"])
    watches = crowd.each(lambda client: client.start("watch", "--community", "live"))
    crowd.each(lambda client: watches[client].until_ready())
    rename(gateway, "live", ["one", "two"])
    expected = log(gateway, "live")[1:]

    def both(client):
        assert watches[client].until_event(expected[-1].event_id) == ids(expected)
        assert [event["cursor"] for event in watches[client].events] == [e.cursor for e in expected]
        assert {event["kind"] for event in watches[client].events} == {"community_changed"}

    crowd.each(both)


def test_earliest(crowd, gateway):
    """Watching from the earliest event goes over into what happens"""
    rename(gateway, "earliest", [str(n) for n in range(20)])
    watch = ("watch", "--community", "earliest", "--earliest")
    watches = crowd.each(lambda client: client.start(*watch))
    last = log(gateway, "earliest")[-1].event_id
    crowd.each(lambda client: watches[client].until_event(last))
    rename(gateway, "earliest", ["live"])
    expected = ids(log(gateway, "earliest"))
    crowd.each(lambda client: same(watches[client].until_event(expected[-1]), expected))


def same(had, expected):
    assert had == expected


def test_count(crowd, gateway):
    """A watch that is left after some events ends by itself"""
    rename(gateway, "count", ["a", "b", "c"])
    watch = ("watch", "--community", "count", "--earliest", "--count", "2")
    said = crowd.each(lambda client: client.start(*watch).end())
    expected = ids(log(gateway, "count")[:2])
    crowd.each(lambda c: same([e["event_id"] for e in said[c] if "event_id" in e], expected))


def test_resume(crowd, gateway):
    """The cursor that one process kept is where another goes on"""
    rename(gateway, "resume", ["a", "b", "c"])
    watch = ("watch", "--community", "resume")
    first = crowd.each(lambda c: c.start(*watch, "--earliest", "--count", "2").end()[-1])
    rename(gateway, "resume", ["d"])
    expected = ids(log(gateway, "resume")[2:])

    def go_on(client):
        second = client.start(*watch, "--after", first[client]["cursor"])
        same(second.until_event(expected[-1]), expected)

    crowd.each(go_on)


def test_quiet_cursor(crowd, gateway):
    """A heartbeat's cursor is kept when nothing matches"""
    rename(gateway, "quiet", ["a"])
    watches = crowd.each(lambda client: client.start("watch", "--community", "quiet"))
    crowd.each(lambda client: watches[client].until_ready())
    place = {client: watch.said[0]["cursor"] for client, watch in watches.items()}
    crowd.each(lambda client: watches[client].stop())
    rename(gateway, "quiet", ["b"])
    expected = ids(log(gateway, "quiet")[1:])

    def go_on(client):
        second = client.start("watch", "--community", "quiet", "--after", place[client])
        same(second.until_event(expected[-1]), expected)

    crowd.each(go_on)


def test_cancel(crowd):
    """Cancelling ends a watch at once"""
    said = crowd.each(lambda client: client.start("cancel").end(patience=20))
    crowd.each(lambda client: same(said[client], [{"cancelled": True}]))


def test_stop(crowd):
    """A watch ends at once on SIGTERM, without a fault"""
    watches = crowd.each(lambda client: client.start("watch"))
    crowd.each(lambda client: watches[client].until_ready())
    crowd.each(lambda client: watches[client].stop())


def test_process_kinds(crowd, gateway):
    """Other kinds of events have their names"""
    watches = crowd.each(lambda client: client.start("watch", "--community", "garden"))
    crowd.each(lambda client: watches[client].until_ready())
    vote(gateway, "Which kind?")
    kinds = lambda it: any(event["kind"] == "process_changed" for event in it.events)  # noqa: E731
    crowd.each(lambda client: watches[client].until(kinds))
