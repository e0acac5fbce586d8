"""Cursors that no longer hold, or never did here."""

from garden import ids, log, rename


def test_foreign_cursor(crowd, fragile, gateway):
    """A cursor of another feed stops a watch, and says where to go on"""
    foreign = log(fragile, "garden")[0].cursor

    def stop(client):
        program = client.start("watch", "--after", foreign)
        error = program.error()
        assert error["code"] == "FAILED_PRECONDITION", error
        assert error["reason"] == "ERROR_REASON_CURSOR_FOREIGN", error
        assert error["metadata"]["earliest_cursor"], error
        assert not program.retries

    crowd.each(stop)


def test_damaged_cursor(crowd):
    """A damaged cursor stops a watch"""

    def stop(client):
        error = client.start("watch", "--after", "damaged").error()
        assert error["code"] == "INVALID_ARGUMENT", error
        assert error["reason"] == "ERROR_REASON_CURSOR_INVALID", error

    crowd.each(stop)


def test_expired_cursor(crowd, aging):
    """A cursor older than the log stops a watch, and says where to go on"""
    first = aging.first
    crowd.at(aging)
    aging.wait()
    rename(aging, "garden", ["new"])

    def stop(client):
        program = client.start("watch", "--community", "garden", "--after", first)
        error = program.error()
        assert error["code"] == "OUT_OF_RANGE", error
        assert error["reason"] == "ERROR_REASON_CURSOR_EXPIRED", error
        assert "earliest_cursor" in error["advice"], error
        assert not program.retries
        onward = client.start("watch", "--after", error["metadata"]["earliest_cursor"])
        last = ids(log(aging, "garden", after=error["metadata"]["earliest_cursor"]))[-1]
        onward.until_event(last)

    crowd.each(stop)
