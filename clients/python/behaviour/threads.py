"""What the behaviour table asks of the client for threads: `behaviour VERB ARG…`."""

import argparse
import json
import signal
import sys
import threading

import metagov
from google.protobuf.struct_pb2 import Struct
from lines import (
    Ready,
    parsed,
    performing,
    say,
    say_error,
    say_event,
    say_process,
    say_retry,
    start,
)
from metagov.v1 import community_pb2


def watch(client: metagov.Client, options: argparse.Namespace) -> None:
    """Prints events until SIGTERM, or so many of them."""
    ready, left = Ready(), options.count
    events = client.watch(**start(options), on_position=ready, on_retry=say_retry)  # type: ignore[arg-type]
    signal.signal(signal.SIGTERM, lambda *_: events.close())
    for event in events:
        ready(event.cursor)
        say_event(event)
        left = None if left is None else left - 1
        if left == 0:
            return


def wait(client: metagov.Client, options: argparse.Namespace) -> None:
    """Prints the process once it is done."""
    say_process(client.wait_for_process(options.process_id, options.timeout))


def perform(client: metagov.Client, options: argparse.Namespace) -> None:
    """Prints an action's result."""
    response = client.actions.PerformAction(performing(options))
    say(result=metagov.from_value(response.result))


def get_community(client: metagov.Client, options: argparse.Namespace) -> None:
    """Prints a community."""
    request = community_pb2.GetCommunityRequest(community_id=options.id)
    community = client.communities.GetCommunity(request).community
    say(community_id=community.community_id, display_name=community.display_name)


def struct(_: metagov.Client, options: argparse.Namespace) -> None:
    """Prints what is left of JSON that went over the wire."""
    wire = metagov.to_struct(json.loads(options.json)).SerializeToString()
    say(struct=metagov.from_struct(Struct.FromString(wire)))


def cancel(client: metagov.Client, _: argparse.Namespace) -> None:
    """Ends a watch from another thread, once the gateway has answered."""
    answered = threading.Event()
    events = client.watch(on_position=lambda _: answered.set())
    reader = threading.Thread(target=lambda: list(events))
    reader.start()
    answered.wait()
    events.close()
    reader.join()
    say(cancelled=True)


VERBS = {
    "watch": watch,
    "watch-subscription": watch,
    "wait": wait,
    "perform": perform,
    "get-community": get_community,
    "struct": struct,
    "cancel": cancel,
}


def main() -> int:
    """Does what is asked, and prints what went wrong."""
    options = parsed()
    try:
        with metagov.connect() as client:
            VERBS[options.verb](client, options)
    except Exception as failure:
        say_error(metagov.error(failure))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
