"""What both programs of the behaviour table read and print: one JSON object a line."""

import argparse
import json

import metagov
from metagov.v1 import action_pb2, event_pb2, process_pb2


def say(**line: object) -> None:
    """Prints a line."""
    print(json.dumps(line), flush=True)


def say_error(fault: metagov.Fault) -> None:
    """Prints the error that ends the program."""
    parts = ("code", "reason", "message", "fields", "metadata", "retry_delay", "advice")
    say(error={part: getattr(fault, part) for part in parts})


def say_retry(fault: metagov.Fault, delay: float) -> None:
    """Prints a retry."""
    say(retry={"code": fault.code, "message": fault.message, "delay": delay})


def say_event(event: event_pb2.Event) -> None:
    """Prints an event."""
    kind = event.WhichOneof("payload") or ""
    say(event_id=event.event_id, cursor=event.cursor, kind=kind)


def say_process(process: process_pb2.Process) -> None:
    """Prints what was decided."""
    say(
        state=process_pb2.ProcessState.Name(process.state).removeprefix("PROCESS_STATE_"),
        leading=list(process.tally.leading_options),
        outcome=metagov.from_struct(process.outcome),
    )


def performing(options: argparse.Namespace) -> action_pb2.PerformActionRequest:
    """The action that is to be performed."""
    return action_pb2.PerformActionRequest(
        community_id=options.community,
        action=options.action,
        parameters=metagov.to_struct(json.loads(options.json)),
    )


def start(options: argparse.Namespace) -> dict[str, object]:
    """What `watch` is given."""
    if options.verb == "watch-subscription":
        return {"subscription": options.id, "heartbeat": options.heartbeat}
    communities = [options.community] if options.community else []
    return {
        "filter": event_pb2.EventFilter(community_ids=communities),
        "after": options.after,
        "earliest": options.earliest,
        "heartbeat": options.heartbeat,
    }


class Ready:
    """Prints, once, that the gateway has answered."""

    def __init__(self) -> None:
        """Nothing was printed yet."""
        self._said = False

    def __call__(self, cursor: str) -> None:
        """Is told of each answer."""
        if not self._said:
            say(ready=True, cursor=cursor)
            self._said = True


def parsed() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="behaviour")
    verbs = parser.add_subparsers(dest="verb", required=True)
    watch = verbs.add_parser("watch")
    watch.add_argument("--after")
    watch.add_argument("--earliest", action="store_true")
    watch.add_argument("--community")
    subscription = verbs.add_parser("watch-subscription")
    subscription.add_argument("id")
    for verb in (watch, subscription):
        verb.add_argument("--heartbeat", type=float, default=15.0)
        verb.add_argument("--count", type=int)
    wait = verbs.add_parser("wait")
    wait.add_argument("process_id")
    wait.add_argument("--timeout", type=float)
    perform = verbs.add_parser("perform")
    perform.add_argument("community")
    perform.add_argument("action")
    perform.add_argument("json")
    verbs.add_parser("get-community").add_argument("id")
    verbs.add_parser("struct").add_argument("json")
    verbs.add_parser("cancel")
    return parser.parse_args()
