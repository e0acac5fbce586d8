"""The plugins as the page `catalogue.md` tells them.

They are read from `tests/golden/catalogue.json`, which a test keeps equal to what
PluginService answers: the page needs no server, and a change of it shows in the same
review. The examples are written by hand, and a test holds them against the schemas.
"""

import json
from pathlib import Path

import yaml

from reference.links import anchor
from reference.schemas import rows

CREDENTIALS = {
    "AUTH_KIND_NONE": "none",
    "AUTH_KIND_API_KEY": "a key in the configuration",
    "AUTH_KIND_OAUTH": "OAuth: [AuthorizePlugin](api.md#authorizeplugin)",
}

CLOSE_TIME = {
    "CLOSE_TIME_SUPPORT_NONE": "takes no `close_time`",
    "CLOSE_TIME_SUPPORT_OPTIONAL": "may be given a `close_time`",
    "CLOSE_TIME_SUPPORT_REQUIRED": "must be given a `close_time`",
}


def read(root: Path) -> dict:
    """What the template is given."""
    examples = read_examples()
    return {
        "plugins": [_plugin(plugin, examples) for plugin in read_golden(root)],
        "anchor": anchor,
    }


def read_golden(root: Path) -> list[dict]:
    """The plugins as PluginService/ListPlugins answers, in JSON with the proto's names."""
    return json.loads((root / "tests" / "golden" / "catalogue.json").read_text())


def read_examples() -> dict:
    """The examples, by the name of a plugin, an action, a process or an event."""
    return yaml.safe_load((Path(__file__).parent / "examples.yaml").read_text())


def inputs_and_outputs(plugin: dict) -> list[tuple[str, str, dict]]:
    """The name, what is meant, and the schema of all that has one, in order."""
    found = [(plugin["name"], "configuration", plugin["config_schema"])]
    for action in plugin["actions"]:
        found.append((action["action"], "parameters", action["parameters_schema"]))
        found.append((action["action"], "result", action["result_schema"]))
    for process in plugin["processes"]:
        found.append((process["process_type"], "parameters", process["parameters_schema"]))
        found.append((process["process_type"], "outcome", process["outcome_schema"]))
    for event in plugin["events"]:
        found.append((event["event_type"], "data", event["data_schema"]))
    return found


def _plugin(plugin: dict, examples: dict) -> dict:
    shapes: dict[str, list[dict]] = {}
    for name, part, schema in inputs_and_outputs(plugin):
        shapes.setdefault(name, []).append(_shape(name, part, schema, examples))
    return {
        **{key: plugin[key] for key in ("name", "description", "setup_help", "uses_webhook")},
        "credentials": CREDENTIALS[plugin["auth_kind"]],
        "config": shapes[plugin["name"]][0],
        "actions": [
            _offer("Action", one["action"], one, _action(one), shapes) for one in plugin["actions"]
        ],
        "processes": [
            _offer("Process", one["process_type"], one, _process(one), shapes)
            for one in plugin["processes"]
        ],
        "events": [_offer("Event", one["event_type"], one, [], shapes) for one in plugin["events"]],
    }


def _offer(kind: str, name: str, one: dict, traits: list[str], shapes: dict) -> dict:
    """An action, a process or an event."""
    about = one["description"]
    return {"name": name, "about": about, "traits": [kind, *traits], "shapes": shapes[name]}


def _action(action: dict) -> list[str]:
    anonymous = ["needs no token"] if action["allow_anonymous"] else []
    return (["reads only"] if action["read_only"] else []) + anonymous


def _process(process: dict) -> list[str]:
    return [
        "a vote" if process["is_vote"] else "not a vote",
        "can be closed" if process["closable"] else "closes by itself",
        CLOSE_TIME[process["close_time_support"]],
        *(["a cancelled one is withdrawn from the platform"] if process["cancellable"] else []),
    ]


def _shape(name: str, part: str, schema: dict, examples: dict) -> dict:
    """A table of properties with its example."""
    try:
        example = examples[name][part]
    except KeyError:
        raise KeyError(f"examples.yaml has no {part} of {name}: write one") from None
    return {
        "title": part.capitalize(),
        "rows": list(rows(schema)),
        "is_list": schema.get("type") == "array",
        "example": _json(example),
    }


def _json(value: object, indent: int = 0) -> str:
    """JSON in which all that fits on a line is on one."""
    line = json.dumps(value, ensure_ascii=False)
    if indent + len(line) <= 80 or not isinstance(value, (dict, list)):
        return line
    within = indent + 2
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {_json(one, within)}" for key, one in value.items()]
    else:
        parts = [_json(one, within) for one in value]
    left, right = "{}" if isinstance(value, dict) else "[]"
    margin = "\n" + " " * within
    return f"{left}{margin}{f',{margin}'.join(parts)}\n{' ' * indent}{right}"
