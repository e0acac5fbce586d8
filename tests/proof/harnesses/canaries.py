"""H12: what a token of one community gets to see of another, which must be nothing.

Two communities hold the same kinds of things; all that only B has is a canary. Every
call of the contract is made with tokens of A in each role, with each id, cursor and page
token replaced by each of B's. No answer, no error and no line of the log may hold a
canary; an id of B's is answered as one that nobody has; nothing of B's may change.

The calls come from the descriptors: one that is new is tried without a line here.
"""

import copy
import importlib
import json
import pkgutil
import random
import re
import uuid
from dataclasses import dataclass, field
from typing import Iterator

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

import metagov.v1
from discourse import FakeDiscourse
from metagov.v1 import access_pb2, event_pb2, identity_pb2, plugin_pb2

from .. import drive, runner
from ..harness import HARNESSES, Context, Finding, Tally, World, harness
from ..server import Client

ROLES = [access_pb2.ROLE_READER, access_pb2.ROLE_DRIVER, access_pb2.ROLE_ADMIN]
A, B = "alder", "birch-canary-c0mmunity"
CANARY = "c4n4ry"
# What a stream has to say it says at once.
STREAM_SECONDS = 0.25
# Fields that name something, or a place.
NAMES = re.compile(r"(_id|_ids|cursor|page_token|etag|webhook_url)$")
# Calls that are made on nothing of A's own, since the others need it.
ENDS = re.compile("Delete|Disable|Merge|Revoke|Cancel|Close|Unlink")
# Calls after which A may have something that is named as what B has: they come last.
NAMES_ALIKE = {"CreateSubscription", "LinkAccount"}
# How many ids at least each call is tried with.
IDS = 20


def _services():
    """Those of the contract, from its descriptors."""
    for found in pkgutil.iter_modules(metagov.v1.__path__):
        if found.name.endswith("_pb2"):
            module = importlib.import_module(f"metagov.v1.{found.name}")
            yield from module.DESCRIPTOR.services_by_name.values()


METHODS = [(service, method) for service in _services() for method in service.methods]


@dataclass
class Side:
    """What a community has, by the name of the field that names it."""

    community: str
    ids: dict[str, list[str]] = field(default_factory=dict)
    # What can be chosen in its first process.
    option: str = ""
    # Strings that nobody else has.
    secrets: list[str] = field(default_factory=list)
    # Those of them that A has written into something of its own, and so may see there.
    written: set[str] = field(default_factory=set)
    # What A has since named so itself: the field, and what stands in it.
    alike: set[tuple[str, str]] = field(default_factory=set)

    def add(self, name: str, value: str) -> str:
        self.ids.setdefault(name, []).append(value)
        return value


def _places_in(message, path: tuple[str, ...] = (), depth: int = 0) -> Iterator[tuple[str, ...]]:
    """The paths of all fields that name something."""
    for kind in message.DESCRIPTOR.fields:
        here = (*path, kind.name)
        if kind.message_type is not None:
            if kind.message_type.full_name == "google.protobuf.Struct" and path == ():
                if kind.name == "parameters" and "process_id" in message.parameters:
                    yield (*here, "process_id")
            elif kind.message_type.full_name.startswith("metagov.") and depth < 3:
                yield from _places_in(GetMessageClass(kind.message_type)(), here, depth + 1)
        elif kind.type == FieldDescriptor.TYPE_STRING and (
            NAMES.search(kind.name) or kind.name in ("user_id", "provider")
        ):
            yield here


def _wanted(method) -> int:
    """With how many ids a call is to be tried: one that names nothing is made once."""
    request = GetMessageClass(method.input_type)()
    return IDS if any(_places_in(request)) else 1


REQUIRED = len(ROLES) * sum(_wanted(method) for _, method in METHODS)


@harness("H12", "canaries", required={"R24": REQUIRED}, weight=1.0)
def canaries(cx: Context) -> Iterator[list[Finding]]:
    """Tokens of A obtain nothing of B, over every call and every id."""
    with FakeDiscourse() as forum, cx.world(log="info,metagov=debug") as world:
        with world.client() as admin:
            a, b = _populate(world, admin, forum, A), _populate(world, admin, forum, B)
            tokens = {role: _token(admin, role, A) for role in ROLES}
            b_token = _token(admin, access_pb2.ROLE_DRIVER, B)
        # Subscriptions are of whoever created them.
        for _, secret in tokens.values():
            _subscribe(world, secret, a)
        _subscribe(world, b_token[1], b)
        b.add("token_id", b_token[0])
        b.secrets += b_token
        untouched = _of_b(world, b)
        for role, service, method in _todo(cx):
            tally = Tally("R24", done=0)
            skip = world.gateway.log.stat().st_size
            with world.client(token=tokens[role][1]) as client:
                own = _try_method(client, tally, (service, method), (a, b))
            if own is not None:
                cx.measure("calls of A on its own that are OK, share", float(own))
            now = _of_b(world, b)
            for table, rows in untouched.items():
                tally.expect(now[table] == rows, f"rows of B in {table}: changed by {method.name}")
            untouched = now
            with world.gateway.log.open("rb") as log:
                log.seek(skip)
                lines = log.read().decode(errors="replace")
            for secret in b.secrets:
                if CANARY in secret:
                    tally.expect(secret not in lines, f"the log of {method.name} holds {secret!r}")
            if tally.faults:
                world.keep()
            yield [tally.finding()]


def _todo(cx: Context) -> list[tuple]:
    """What is to be tried, always in the same order. Whoever goes on begins after what is
    kept as done, so that all of it is tried in the end; a sample begins anywhere."""
    todo = [(role, service, method) for role in ROLES for service, method in METHODS]
    random.Random(0).shuffle(todo)
    todo.sort(key=lambda it: it[2].name in NAMES_ALIKE)
    if cx.is_brief or cx.bug:
        begin = cx.random.randrange(len(todo))
        return todo[begin:] + todo[:begin]
    kept = runner.State.load(runner.state_file(HARNESSES["canaries"], cx.database))
    done = kept.done("R24") % REQUIRED
    begin = 0
    while done >= _wanted(todo[begin][2]):
        done -= _wanted(todo[begin][2])
        begin += 1
    return todo[begin:] + todo[:begin]


def _populate(world: World, admin: Client, forum, community: str) -> Side:
    """One of everything. What B has is full of canaries."""
    side = Side(community)
    mark = f"{CANARY}-{community}"
    number = 0

    def text(what: str) -> str:
        nonlocal number
        number += 1
        made = f"{mark}-{what}-{number}"
        side.secrets.append(made)
        return made

    drive.community(admin, community)
    side.add("community_id", community)
    got = admin.communities.UpdateCommunity(
        _message("UpdateCommunityRequest", community={"communityId": community, "displayName": text("name")},
                 update_mask="displayName")
    ).community  # fmt: skip
    side.add("etag", got.etag)
    config = forum.config() | {"api_key": text("key"), "api_username": text("user")}
    installed = drive.enable(admin, "discourse", config, community)
    ballots = drive.enable(admin, "ballot", None, community)
    for it in (installed, ballots):
        side.add("installation_id", it.installation_id)
        side.add("etag", it.etag)
    if installed.webhook_url:
        side.secrets.append(installed.webhook_url.rsplit("/", 1)[1])
    for index in range(2):
        process = admin.processes.StartProcess(
            _message("StartProcessRequest", community_id=community, process_type="ballot.vote",
                     parameters={"title": text("title"), "options": [text("yes"), text("no")]})
        ).process  # fmt: skip
        side.add("process_id", process.process_id)
        side.option = side.option or process.parameters["options"][0]
        voter = text("voter")
        admin.actions.PerformAction(
            _message("PerformActionRequest", community_id=community, action="ballot.cast",
                     request_id=side.add("request_id", text("request")),
                     parameters={"process_id": process.process_id, "voter": voter,
                                 "choices": [process.parameters["options"][0]]})
        )  # fmt: skip
        made = admin.identities.CreateIdentity(
            identity_pb2.CreateIdentityRequest(community_id=community)
        ).identity
        side.add("identity_id", made.identity_id)
        account = {"provider": "discourse", "userId": side.add("user_id", text("account")),
                   "customData": {"note": text("note")}}  # fmt: skip
        admin.identities.LinkAccount(
            _message("LinkAccountRequest", identity_id=made.identity_id, account=account)
        )
        status = drive.deliver(world.gateway, installed, forum.url, index, text("post"))
        assert status == 200, status
        token = admin.access.CreateToken(
            _message("CreateTokenRequest", token={"displayName": text("token"), "role": "ROLE_READER",
                                                  "communityIds": [community]})
        )  # fmt: skip
        side.add("token_id", token.token.token_id)
        side.secrets.append(token.secret)
    deliveries = admin.plugins.ListDeliveries(plugin_pb2.ListDeliveriesRequest(community_id=community))
    for delivery in deliveries.deliveries:
        side.add("delivery_id", delivery.delivery_id)
    side.add("subscription_id", text("sub"))
    _places(admin, side)
    # An id says nothing by itself, but its presence in an answer says that it exists.
    for name in ("installation_id", "process_id", "identity_id", "delivery_id", "token_id", "subscription_id"):
        side.secrets += side.ids.get(name, [])
    side.secrets.append(community)
    return side


def _subscribe(world: World, token: str, side: Side) -> None:
    with world.client(token=token) as client:
        client.subscriptions.CreateSubscription(
            _message("CreateSubscriptionRequest",
                     subscription={"subscriptionId": side.ids["subscription_id"][0],
                                   "filter": {"communityIds": [side.community]}})
        )  # fmt: skip


def _places(admin: Client, side: Side) -> None:
    """Cursors and page tokens that were given out for this community."""
    only = event_pb2.EventFilter(community_ids=[side.community])
    request = event_pb2.ListEventsRequest(filter=only, start_at=event_pb2.START_AT_EARLIEST, page_size=1)
    page = admin.events.ListEvents(request)
    side.add("cursor", page.cursor)
    for event in page.events:
        side.add("event_id", event.event_id)
    lists = [
        (admin.processes.ListProcesses, "ListProcessesRequest", {"communityIds": [side.community]}),
        (admin.identities.ListIdentities, "ListIdentitiesRequest", {"communityId": side.community}),
        (admin.plugins.ListInstallations, "ListInstallationsRequest", {"communityId": side.community}),
        (admin.plugins.ListDeliveries, "ListDeliveriesRequest", {"communityId": side.community}),
        (admin.access.ListAuditEntries, "ListAuditEntriesRequest", {"communityId": side.community}),
    ]
    for call, name, body in lists:
        got = call(json_format.ParseDict(body | {"pageSize": 1}, _type(name)()))
        if got.next_page_token:
            side.add("page_token", got.next_page_token)


def _token(admin: Client, role: int, community: str) -> tuple[str, str]:
    token = access_pb2.Token(role=role, community_ids=[community], display_name=community)
    made = admin.access.CreateToken(access_pb2.CreateTokenRequest(token=token))
    return made.token.token_id, made.secret


def _type(name: str):
    for found in pkgutil.iter_modules(metagov.v1.__path__):
        if found.name.endswith("_pb2"):
            module = importlib.import_module(f"metagov.v1.{found.name}")
            if hasattr(module, name):
                return getattr(module, name)
    return None


def _message(name: str, **fields):
    """A message of the contract from its JSON."""
    return json_format.ParseDict(fields, _type(name)())


# What a request of A's own says, where its field is no id.
WORDS = {
    "plugin": "discourse",
    "action": "ballot.cast",
    "process_type": "ballot.vote",
    "provider": "discourse",
    "redirect_uri": "https://drivers.example.org/back",
    "display_name": "alder",
    "reason": "as you like it",
}


def _own(kind: FieldDescriptor, side: Side):
    """The value of A's own for a field, if it has one."""
    name = kind.name.removeprefix("primary_").removeprefix("secondary_").removeprefix("old_")
    if name in ("after_cursor", "page_token", "etag", "request_id", "webhook_url"):
        return None
    if name.endswith("_ids"):
        name = name[:-1]
    if name in side.ids:
        return side.ids[name][1 if kind.name.startswith("secondary_") else 0]
    return WORDS.get(kind.name)


def _fill(message, side: Side, depth: int = 0) -> None:
    """A request as A would make it."""
    for kind in message.DESCRIPTOR.fields:
        if kind.message_type is not None:
            own = kind.message_type.full_name.startswith("metagov.")
            if own and not kind.is_repeated and depth < 3 and kind.containing_oneof is None:
                _fill(getattr(message, kind.name), side, depth + 1)
            continue
        if kind.type != FieldDescriptor.TYPE_STRING:
            continue
        value = _own(kind, side)
        if value is None:
            continue
        if kind.is_repeated:
            getattr(message, kind.name).append(value)
        else:
            setattr(message, kind.name, value)
    name = message.DESCRIPTOR.name
    if name == "PerformActionRequest":
        process = side.ids["process_id"][0]
        message.parameters.update({"process_id": process, "voter": "ada", "choices": [side.option]})
        message.ClearField("installation_id")
    elif name == "StartProcessRequest":
        message.parameters.update({"title": "Which?", "options": ["x", "y"]})
        message.ClearField("installation_id")
    elif name == "Token":
        message.role = access_pb2.ROLE_READER
        message.ClearField("token_id")
    elif name in ("WatchEventsRequest", "ListEventsRequest"):
        message.start_at = event_pb2.START_AT_EARLIEST
        for kind in ("process_ids", "installation_ids"):
            message.filter.ClearField(kind)
    elif name == "CreateCommunityRequest":
        message.community.community_id = f"new-{uuid.uuid4().hex[:8]}"
    elif name == "CreateSubscriptionRequest":
        message.subscription.subscription_id = f"new-{uuid.uuid4().hex[:8]}"
    elif name == "SeekSubscriptionRequest":
        message.start_at = event_pb2.START_AT_EARLIEST


def _with(message, path: tuple[str, ...], value: str):
    """The request with another value at a place."""
    changed = copy.deepcopy(message)
    it = changed
    for name in path[:-1]:
        kind = it.DESCRIPTOR.fields_by_name[name]
        it = getattr(it, name)
        if kind.is_repeated:
            if len(it) == 0:
                it.add()
            it = it[0]
    last = path[-1]
    if it.DESCRIPTOR.full_name == "google.protobuf.Struct":
        it[last] = value
        return changed
    if it.DESCRIPTOR.fields_by_name[last].is_repeated:
        del getattr(it, last)[:]
        getattr(it, last).append(value)
    else:
        setattr(it, last, value)
    return changed


def _try_method(client: Client, tally: Tally, called, sides: tuple[Side, Side]) -> bool | None:
    """Whether the call as A would make it is answered well, so that not all is refused
    for another reason; nothing if it would end what A has."""
    service, method = called
    a, b = sides
    base = GetMessageClass(method.input_type)()
    _fill(base, a)
    name = f"/{service.full_name}/{method.name}"
    call = _caller(client, name, method)
    own = None if ENDS.match(method.name) else call(base).startswith("OK")
    values = [(kind, value) for kind, all in b.ids.items() for value in all]
    places = list(_places_in(base))
    tally.done = min(_wanted(method), len(values) if places else 1)
    for path in places or [()]:
        for kind, value in values if path else [("", "")]:
            request = _with(base, path, value) if path else base
            said = call(request)
            is_request_id = path[-1:] == ("request_id",)
            is_kept = bool(value) and said.startswith("OK") and not _only_reads(method)
            # A request id is shown nowhere.
            if is_kept and not is_request_id:
                b.written.add(value)
            # What was asked for may be named again.
            shown = _without(said, {value, *b.written})
            for secret in b.secrets:
                if secret not in value and secret not in b.written:
                    tally.expect(
                        secret not in shown, f"{name} with {'.'.join(path)}={value}: shows {secret!r}"
                    )
            if kind.endswith("_id") and not is_request_id and (path[-1], value) not in b.alike:
                nobody = _made_up(value)
                nobodys = call(_with(base, path, nobody))
                tally.expect(
                    _without_chance(said, value) == _without_chance(nobodys, nobody),
                    f"{name} with {'.'.join(path)}: B's {kind} is told from none: "
                    f"{_without_chance(said, value)[:150]!r}, {_without_chance(nobodys, nobody)[:150]!r}",
                )
            if is_kept and method.name in NAMES_ALIKE:
                b.alike.add((path[-1], value))
    return own


def _made_up(value: str) -> str:
    """An id of the same form that nobody has."""
    if re.fullmatch(r"[0-9a-f-]{36}", value):
        return str(uuid.uuid4())
    end = re.sub("[a-z]", lambda _: random.choice("abcdef"), value[-8:])
    return value[:-8] + re.sub("[0-9]", lambda _: random.choice("0123456789"), end)


def _without(said: str, known: set[str]) -> str:
    """The same without these, the longest first."""
    for text in sorted(filter(None, known), key=len, reverse=True):
        said = said.replace(text, "")
    return said


def _only_reads(method) -> bool:
    return method.GetOptions().idempotency_level == method.GetOptions().NO_SIDE_EFFECTS


def _without_chance(said: str, value: str) -> str:
    """An answer without what it repeats, and what is new in each."""
    said = said.replace(value, "ID")
    said = re.sub(r"new-[0-9a-f]{8}", "NEW", said)
    # Times, ids, cursors, secrets that are made anew each time: only the kind counts.
    return "OK" if said.startswith("OK") else said


def _caller(client: Client, name: str, method):
    """What the answer says, all of it, in one string."""
    answer = GetMessageClass(method.output_type)
    kinds = (method.input_type and (lambda message: message.SerializeToString()), answer.FromString)
    bearer = [("authorization", f"Bearer {client.token}")]
    many = method.server_streaming

    def call(request) -> str:
        said = ""
        try:
            if not many:
                unary = client.channel.unary_unary(name, *kinds)
                return "OK" + _text(unary(request, metadata=bearer, timeout=10))
            stream = client.channel.unary_stream(name, *kinds)
            for message in stream(request, metadata=bearer, timeout=STREAM_SECONDS):
                said += _text(message)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED and many:
                return "OK" + said
            details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
            details = re.sub(r"[^\x20-\x7e]+", " ", details.decode(errors="replace"))
            return f"{error.code().name} {error.details()} {details} {said}"
        return "OK" + said

    return call


def _text(message) -> str:
    return json_format.MessageToJson(message, indent=None, ensure_ascii=False)


# What changes by itself, as time goes by.
CLOCKS = re.compile("poll|claim|refresh|problem|last_use")


def _of_b(world: World, b: Side) -> dict[str, list[str]]:
    """What stands of B in the tables that A must not change."""
    found, kept = world.dump(), {}
    owned = {b.community, *b.ids["installation_id"], *b.ids["process_id"], *b.ids["identity_id"]}
    # A token stands for whoever calls with it.
    owned |= set(b.ids["token_id"])
    owners = ("id", "community_id", "installation_id", "process_id", "identity_id", "principal")
    tables = ("community", "installation", "process", "ballot", "identity", "account", "delivery")
    for table in (*tables, "token", "subscription"):
        rows = [row for row in found.rows(table) if owned & {row.get(owner) for owner in owners}]
        still = [{k: v for k, v in row.items() if not CLOCKS.search(k)} for row in rows]
        kept[table] = sorted(json.dumps(row, default=str, sort_keys=True) for row in still)
    return kept
