"""A driver: makes a community, draws a lucky number, and has a vote decide on lunch."""

import sys
import time
from collections.abc import Callable
from functools import partial

import grpc
import metagov
from google.protobuf.timestamp_pb2 import Timestamp
from metagov.v1 import action_pb2, community_pb2, event_pb2, plugin_pb2, process_pb2


def unless_there(call: Callable[[], object]) -> None:
    """Makes a call that creates something; it may have been there before."""
    try:
        call()
    except grpc.RpcError as refused:
        if metagov.error(refused).code != "ALREADY_EXISTS":
            raise


def main(client: metagov.Client, name: str) -> None:
    """Does what a driver does, in the community of this name."""
    community = community_pb2.CreateCommunityRequest()
    community.community.community_id = name
    unless_there(partial(client.communities.CreateCommunity, community))
    for plugin, config in ("randomness", {"default_low": 0, "default_high": 10}), ("ballot", {}):
        enabling = plugin_pb2.EnablePluginRequest(community_id=name, plugin=plugin)
        enabling.config.CopyFrom(metagov.to_struct(config))
        unless_there(partial(client.plugins.EnablePlugin, enabling))

    def perform(action: str, **parameters: object) -> metagov.Json:
        request = action_pb2.PerformActionRequest(community_id=name, action=action)
        request.parameters.CopyFrom(metagov.to_struct(parameters))
        return metagov.from_value(client.actions.PerformAction(request).result)

    print("lucky number:", perform("randomness.random-int", low=1, high=7)["value"])  # type: ignore

    vote = process_pb2.StartProcessRequest(community_id=name, process_type="ballot.vote")
    vote.parameters.CopyFrom(metagov.to_struct({"title": "Lunch?", "options": ["soup", "bread"]}))
    vote.close_time.CopyFrom(Timestamp(seconds=int(time.time()) + 5))
    process_id = client.processes.StartProcess(vote).process.process_id
    perform("ballot.cast", process_id=process_id, voter="ada", choices=["soup"])

    for event in client.watch(event_pb2.EventFilter(process_ids=[process_id]), earliest=True):
        process = event.process_changed.process
        if process.state == process_pb2.PROCESS_STATE_COMPLETED:
            print("decided:", *process.tally.leading_options)
            return


if __name__ == "__main__":
    with metagov.connect() as gateway:
        main(gateway, sys.argv[1] if len(sys.argv) > 1 else "example")
