"""Waiting for a process."""

from calls import perform
from garden import vote


def cast(gateway, process_id):
    perform(gateway, "ballot.cast", process_id=process_id, voter="ada", choices=["soup"])


def decided(said):
    [line] = said
    assert line["state"] == "COMPLETED", line
    assert line["leading"] == ["soup"], line
    assert line["outcome"]["winners"] == ["soup"], line


def test_wait(crowd, gateway):
    """Waiting ends once the process is done, with its outcome"""
    process_id = vote(gateway, "Lunch?", seconds=6)
    cast(gateway, process_id)
    waits = crowd.each(lambda client: client.start("wait", process_id))
    crowd.each(lambda client: decided(waits[client].end()))
    # It is done: that is told at once.
    waits = crowd.each(lambda client: client.start("wait", process_id))
    crowd.each(lambda client: decided(waits[client].end()))


def test_wait_too_long(crowd, gateway):
    """Waiting for longer than is allowed is DEADLINE_EXCEEDED"""
    process_id = vote(gateway, "Too long?")

    def wait(client):
        error = client.start("wait", process_id, "--timeout", "1.5").error()
        assert error["code"] == "DEADLINE_EXCEEDED", error

    crowd.each(wait)


def test_wait_for_nothing(crowd):
    """Waiting for a process that does not exist ends at once"""

    def wait(client):
        error = client.start("wait", "01900000-0000-7000-8000-000000000000").error()
        assert error["code"] == "NOT_FOUND", error
        assert error["reason"] == "ERROR_REASON_PROCESS_NOT_FOUND", error

    crowd.each(wait)


def test_wait_through_a_kill(crowd, fragile):
    """Waiting goes on through a SIGKILL of the gateway"""
    crowd.at(fragile)
    process_id = vote(fragile, "Still lunch?", seconds=10)
    cast(fragile, process_id)
    waits = crowd.each(lambda client: client.start("wait", process_id))
    fragile.kill()
    fragile.start()
    crowd.each(lambda client: decided(waits[client].end()))
