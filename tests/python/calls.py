"""The calls of the contract that several tests make."""

from google.protobuf.struct_pb2 import Struct

from metagov.v1 import action_pb2, community_pb2, plugin_pb2, process_pb2


def struct(**fields) -> Struct:
    """A Struct with these fields."""
    result = Struct()
    result.update(fields)
    return result


def create_community(gateway, community_id):
    community = community_pb2.Community(community_id=community_id)
    request = community_pb2.CreateCommunityRequest(community=community)
    return gateway.communities.CreateCommunity(request).community


def enable(gateway, plugin, config=None):
    request = plugin_pb2.EnablePluginRequest(community_id="garden", plugin=plugin)
    request.config.update(config or {})
    return gateway.plugins.EnablePlugin(request).installation


def perform(gateway, action, **parameters):
    request = action_pb2.PerformActionRequest(
        community_id="garden", action=action, parameters=struct(**parameters)
    )
    return gateway.actions.PerformAction(request).result


def start_vote(gateway, title, options):
    request = process_pb2.StartProcessRequest(
        community_id="garden",
        process_type="ballot.vote",
        parameters=struct(title=title, options=options),
    )
    return gateway.processes.StartProcess(request).process


def close(gateway, process):
    request = process_pb2.CloseProcessRequest(process_id=process.process_id)
    return gateway.processes.CloseProcess(request).process
