"""What the behaviour table asks of the client for asyncio: `behaviour VERB ARG…`."""

import argparse
import asyncio
import json
import signal
import sys

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


async def watch(client: metagov.aio.Client, options: argparse.Namespace) -> None:
    """Prints events until SIGTERM, or so many of them."""
    ready, left = Ready(), options.count
    events = client.watch(**start(options), on_position=ready, on_retry=say_retry)  # type: ignore[arg-type]
    loop, closing = asyncio.get_running_loop(), set()
    loop.add_signal_handler(signal.SIGTERM, lambda: closing.add(loop.create_task(events.close())))
    async with events:
        async for event in events:
            ready(event.cursor)
            say_event(event)
            left = None if left is None else left - 1
            if left == 0:
                return


async def wait(client: metagov.aio.Client, options: argparse.Namespace) -> None:
    """Prints the process once it is done."""
    say_process(await client.wait_for_process(options.process_id, options.timeout))


async def perform(client: metagov.aio.Client, options: argparse.Namespace) -> None:
    """Prints an action's result."""
    response = await client.actions.PerformAction(performing(options))
    say(result=metagov.from_value(response.result))


async def get_community(client: metagov.aio.Client, options: argparse.Namespace) -> None:
    """Prints a community."""
    request = community_pb2.GetCommunityRequest(community_id=options.id)
    community = (await client.communities.GetCommunity(request)).community
    say(community_id=community.community_id, display_name=community.display_name)


async def struct(_: metagov.aio.Client, options: argparse.Namespace) -> None:
    """Prints what is left of JSON that went over the wire."""
    wire = metagov.to_struct(json.loads(options.json)).SerializeToString()
    say(struct=metagov.from_struct(Struct.FromString(wire)))


async def cancel(client: metagov.aio.Client, _: argparse.Namespace) -> None:
    """Cancels the task that watches, once the gateway has answered."""
    answered = asyncio.Event()
    events = client.watch(on_position=lambda _: answered.set())
    reader = asyncio.ensure_future(anext(events))
    await answered.wait()
    reader.cancel()
    await asyncio.wait([reader])
    say(cancelled=reader.cancelled())


VERBS = {
    "watch": watch,
    "watch-subscription": watch,
    "wait": wait,
    "perform": perform,
    "get-community": get_community,
    "struct": struct,
    "cancel": cancel,
}


async def main() -> int:
    """Does what is asked, and prints what went wrong."""
    options = parsed()
    try:
        async with metagov.aio.connect() as client:
            await VERBS[options.verb](client, options)
    except Exception as failure:
        say_error(metagov.error(failure))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
