"""The whole story, from Python, with nothing but stubs generated from `proto/`."""

import grpc
import pytest

from calls import close, create_community, enable, perform, start_vote
from metagov.v1 import event_pb2, process_pb2
from watcher import Watcher


def test_a_driver_in_python_sees_a_vote_from_its_start_to_its_outcome(gateway):
    only_garden = event_pb2.EventFilter(community_ids=["garden"])
    request = event_pb2.WatchEventsRequest(filter=only_garden)
    watcher = Watcher(gateway.events.WatchEvents(request))

    create_community(gateway, "garden")
    enable(gateway, "randomness", {"default_low": 1, "default_high": 7})
    enable(gateway, "ballot")
    number = perform(gateway, "randomness.random-int", low=3, high=4)
    assert number.struct_value["value"] == 3

    vote = start_vote(gateway, "What shall we plant?", ["Beans", "Tomatoes"])
    assert vote.state == process_pb2.PROCESS_STATE_OPEN
    for voter, choice in [("ann", "Beans"), ("bob", "Tomatoes"), ("ann", "Tomatoes")]:
        perform(
            gateway, "ballot.cast", process_id=vote.process_id, voter=voter, choices=[choice]
        )
    closed = close(gateway, vote)

    assert closed.state == process_pb2.PROCESS_STATE_COMPLETED
    assert list(closed.outcome["winners"]) == ["Tomatoes"]
    counts = {option.option: option.count for option in closed.tally.options}
    assert counts == {"Beans": 0, "Tomatoes": 2}
    assert closed.tally.voter_count == 2
    assert list(closed.tally.leading_options) == ["Tomatoes"]

    assert watcher.next().community_changed.community.community_id == "garden"
    assert watcher.next().installation_changed.installation.plugin == "randomness"
    assert watcher.next().installation_changed.installation.plugin == "ballot"
    changes = [watcher.next().process_changed.process]
    assert changes[0].state == process_pb2.PROCESS_STATE_OPEN
    while changes[-1].state == process_pb2.PROCESS_STATE_OPEN:
        changes.append(watcher.next().process_changed.process)
    first, last = changes[0].revision, closed.revision
    assert [change.revision for change in changes] == list(range(first, last + 1))
    assert changes[-1].outcome == closed.outcome
    assert not changes[-1].HasField("parameters")


def test_a_wrong_parameter_is_named_by_its_place(gateway):
    create_community(gateway, "garden")
    enable(gateway, "ballot")
    with pytest.raises(grpc.RpcError) as refused:
        perform(gateway, "ballot.cast", process_id=7)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    details = dict(refused.value.trailing_metadata())["grpc-status-details-bin"]
    assert b"parameters/process_id" in details
    assert b"ERROR_REASON_SCHEMA_MISMATCH" in details
