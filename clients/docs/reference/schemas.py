"""JSON Schemas as rows of a table: one for each property, the nested ones by their path."""

from typing import Iterator

# Formats that say how large a number may be; the others are worth a word.
SIZES = {"int64", "uint32", "double"}

LIMITS = {
    "minimum": "at least {:,}",
    "maximum": "at most {:,}",
    "maxLength": "at most {:,} characters",
    "pattern": "fits `{}`",
    "format": "format `{}`",
}


def rows(schema: dict, path: str = "") -> Iterator[dict]:
    """A row for each property: those that must be there first, then the others by name."""
    if "items" in schema and not path:
        yield from rows(schema["items"], "[].")
        return
    required = schema.get("required", [])
    properties = schema.get("properties", {})
    for name in [*required, *sorted(properties.keys() - set(required))]:
        value = _without_null(properties[name])
        optional = "" if name in required else ", optional"
        yield {
            "name": f"{path}{name}",
            "type": _type(value) + optional,
            "about": _about(value),
        }
        yield from rows(value, f"{path}{name}.")
        yield from rows(value.get("items", {}), f"{path}{name}[].")


def _without_null(schema: dict) -> dict:
    """The schema of what is given, if it is."""
    for choice in schema.get("anyOf", []):
        if choice != {"type": "null"}:
            return choice | {k: v for k, v in schema.items() if k != "anyOf"}
    return schema


def _types(schema: dict) -> list[str]:
    kinds = schema.get("type", "string" if "oneOf" in schema else "any value")
    return [kind for kind in ([kinds] if isinstance(kinds, str) else kinds) if kind != "null"]


def _type(schema: dict) -> str:
    return " or ".join(_one_type(kind, schema) for kind in _types(schema))


def _one_type(kind: str, schema: dict) -> str:
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    values = schema.get("additionalProperties")
    if kind == "object" and isinstance(values, dict):
        return f"object of {_type(values)}"
    return kind


def _about(schema: dict) -> str:
    """The description, what may be chosen, and the limits."""
    said = [schema.get("description", "")]
    values = [f"`{value}`" for value in schema.get("enum", [])]
    if not all(value in said[0] for value in values):
        said.append(f"One of {', '.join(values)}.")
    said += [f"`{one['const']}`: {one['description']}" for one in schema.get("oneOf", [])]
    limits = ", ".join(_limits(schema))
    if limits:
        said.append(f"*{limits[0].upper()}{limits[1:]}.*")
    return " ".join(said).strip()


def _limits(schema: dict) -> Iterator[str]:
    if schema.get("writeOnly"):
        yield "secret: never returned"
    if schema.get("minLength", 0) > 0:
        yield "not empty"
    fewest, most = schema.get("minItems", 0), schema.get("maxItems")
    if fewest and most:
        yield f"{fewest} to {most:,} of them"
    elif fewest or most:
        yield f"at least {fewest} of them" if fewest else f"at most {most:,} of them"
    if schema.get("uniqueItems"):
        yield "no two alike"
    for keyword, words in LIMITS.items():
        if keyword in schema and schema[keyword] not in SIZES:
            yield words.format(schema[keyword])
    if schema.get("default") not in (None, []):
        yield f"`{schema['default']}` if absent".replace("False", "false")
