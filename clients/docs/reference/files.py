"""One proto file as plain values for the template, each with its comment."""

import re
from typing import Callable, Iterator

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    MethodDescriptorProto,
    MethodOptions,
)

from reference.links import type_link

# The numbers of fields in descriptor.proto, by which a comment says what it is about.
MESSAGE, ENUM, SERVICE = 4, 5, 6
FIELD, METHOD, VALUE, ONEOF = 2, 2, 2, 8

# The comment of an error: its code, what is wrong, and the keys of its metadata.
REASON = re.compile(
    r"(?P<code>[A-Z_]{4,})(?:\.|, (?P<but>[^.]+)\.) ?"
    r"(?P<meaning>.*?) ?"
    r"(?:Metadata: (?P<keys>[^.]+)\.)?"
)


def shared(file: FileDescriptorProto) -> list[DescriptorProto]:
    """The messages that are not the request or the response of one RPC."""
    methods = [method for service in file.service for method in service.method]
    own = {_short(name) for method in methods for name in (method.input_type, method.output_type)}
    return [message for message in file.message_type if message.name not in own]


def _short(name: str) -> str:
    return name.rsplit(".", 1)[-1]


class File:
    """A proto file, and how a comment's names become links."""

    def __init__(self, file: FileDescriptorProto, link: Callable[[str], str]):
        self._file = file
        self._link = link
        self._comments = {
            tuple(place.path): place.leading_comments for place in file.source_code_info.location
        }
        self._messages = {message.name: i for i, message in enumerate(file.message_type)}

    def told(self) -> dict:
        enums = list(enumerate(self._file.enum_type))
        return {
            "services": [self._service(i) for i in range(len(self._file.service))],
            "messages": [self._message(message.name) for message in shared(self._file)],
            "enums": [self._enum(i, e) for i, e in enums if e.name != "ErrorReason"],
            "errors": [self._errors(i, e) for i, e in enums if e.name == "ErrorReason"],
        }

    def _service(self, i: int) -> dict:
        service = self._file.service[i]
        about = self._comment(SERVICE, i)
        return {
            "name": service.name,
            "about": about,
            "summary": about.split("\n\n")[0],
            "methods": [self._method(i, j, m) for j, m in enumerate(service.method)],
        }

    def _method(self, i: int, j: int, method: MethodDescriptorProto) -> dict:
        level = method.options.idempotency_level
        return {
            "name": method.name,
            "about": self._comment(SERVICE, i, METHOD, j),
            "streams": method.server_streaming,
            "reads_only": level == MethodOptions.NO_SIDE_EFFECTS,
            "request": self._message(_short(method.input_type)),
            "response": self._message(_short(method.output_type)),
        }

    def _message(self, name: str) -> dict:
        i = self._messages[name]
        message = self._file.message_type[i]
        return {
            "name": name,
            "about": self._comment(MESSAGE, i),
            "rows": list(self._rows(i, message)),
        }

    def _rows(self, i: int, message: DescriptorProto) -> Iterator[dict]:
        """A row for each field; before the first field of a oneof, one for the oneof."""
        told = set()
        for j, field in enumerate(message.field):
            within = field.HasField("oneof_index") and not field.proto3_optional
            if within and field.oneof_index not in told:
                told.add(field.oneof_index)
                name = message.oneof_decl[field.oneof_index].name
                about = self._comment(MESSAGE, i, ONEOF, field.oneof_index)
                yield {"name": name, "type": "one of:", "about": about, "within": False}
            about = self._comment(MESSAGE, i, FIELD, j)
            yield {"name": field.name, "type": _type(field), "about": about, "within": within}

    def _enum(self, i: int, enum: EnumDescriptorProto) -> dict:
        members = [
            {"name": value.name, "number": value.number, "about": self._comment(ENUM, i, VALUE, j)}
            for j, value in enumerate(enum.value)
        ]
        return {"name": enum.name, "about": self._comment(ENUM, i), "members": members}

    def _errors(self, i: int, enum: EnumDescriptorProto) -> dict:
        """The reasons of errors, by the code that they come with."""
        codes: dict[str, list[dict]] = {}
        for j, value in enumerate(enum.value):
            about = " ".join(self._comment(ENUM, i, VALUE, j).split())
            if value.number == 0:
                continue
            said = REASON.fullmatch(about)
            if not said:
                raise ValueError(f"{value.name}: its comment does not begin with a code: {about}")
            meaning = f"{said['meaning']} Comes {said['but']}." if said["but"] else said["meaning"]
            keys = [f"`{key}`" for key in (said["keys"] or "").split(", ") if key]
            reason = {"name": value.name, "about": meaning, "metadata": ", ".join(keys)}
            codes.setdefault(said["code"], []).append(reason)
        return {"name": enum.name, "about": self._comment(ENUM, i), "codes": codes}

    def _comment(self, *path: int) -> str:
        lines = [line.removeprefix(" ") for line in self._comments[path].splitlines()]
        return self._link("\n".join(lines).strip())


def _type(field: FieldDescriptorProto) -> str:
    kind = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    name = type_link(field.type_name) if field.type_name else f"`{kind}`"
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"list of {name}"
    return f"{name}, optional" if field.proto3_optional else name
