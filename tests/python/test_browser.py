"""A page in somebody's browser cannot reach a gateway on that person's machine.

The page (`hostile.html`) tries whatever a page can, at other origins, as another name of
this machine, and as a page to whose own name this machine was given (DNS rebinding).
What an attempt creates bears its name. Where the operator allows the page's origin it
gets through, so the attempts are good ones."""

import pytest

from browser import EVIL, Browser, Rebinding, Site
from calls import create_community
from gateway import Gateway
from metagov.v1 import community_pb2

# What a page may do once its origin is allowed, and without a token if none is needed.
# The rest is no gRPC, or comes from "null".
HONEST = {
    "pwned-grpc-web-with-a-token",
    "pwned-grpc-web-text",
    "pwned-to-the-loopback",
    "pwned-xhr",
    "pwned-a-thread",
}
TOKENLESS = {"pwned-grpc-web", "pwned-grpc-web-of-cookies", "pwned-a-redirect"}
CANARY = "the name of the garden"


@pytest.fixture
def site():
    with Site() as running:
        yield running


@pytest.fixture
def browser(tmp_path):
    return Browser(tmp_path / "browser")


def token(gateway) -> str:
    """The token of an admin, which the page has got hold of."""
    file = gateway.folder / "data" / "admin.token"
    return file.read_text().strip() if file.exists() else "none"


def plant(gateway) -> None:
    """Something to be read."""
    create_community(gateway, "garden")
    community = community_pb2.Community(community_id="garden", display_name=CANARY)
    gateway.communities.UpdateCommunity(
        community_pb2.UpdateCommunityRequest(community=community)
    )


def made(gateway) -> set[str]:
    """What pages created."""
    request = community_pb2.ListCommunitiesRequest(page_size=1000)
    listed = gateway.communities.ListCommunities(request).communities
    return {community.community_id for community in listed} - {"garden"}


def calls(gateway) -> int:
    """How often a method that the page tries was logged as called."""
    log = gateway.log.read_text()
    return sum(log.count(f"CommunityService/{name}") for name in ("CreateCommunity", "GetCommunity"))


def visit(browser, site, gateway, pages) -> list[dict]:
    """Has each origin's page try its targets; what they could read."""
    url = ""
    for origin, targets in reversed(pages):
        url = site.page(origin, targets, token(gateway), then=url)
    with browser.visit(url):
        outcomes = [outcome for _ in pages for outcome in site.report()]
    assert {outcome["page"] for outcome in outcomes} == {origin for origin, _ in pages}
    return outcomes


def read(outcomes) -> list[dict]:
    """Those attempts whose answer the page could read."""
    return [outcome for outcome in outcomes if "read" in outcome]


def test_no_page_reaches_a_local_gateway(gateway, site, browser):
    plant(gateway)
    port = gateway.address.split(":")[1]
    named = {name: f"http://{name}:{port}" for name in ("localhost", "127.0.0.1", EVIL)}
    before = calls(gateway)
    with Rebinding(site.port, gateway.address) as rebinding:
        pages = [
            (f"http://localhost:{site.port}", [named["localhost"], named["127.0.0.1"]]),
            (f"http://127.0.0.1:{site.port}", [named["127.0.0.1"]]),
            (f"http://{EVIL}:{site.port}", [named[EVIL], named["127.0.0.1"]]),
            (rebinding.origin, [rebinding.origin]),
        ]
        outcomes = visit(browser, site, gateway, pages)
    assert made(gateway) == set()
    assert calls(gateway) == before, "no call came so far as to be one"
    for outcome in read(outcomes):
        # Its own origin can be read by whoever has the name: the refusal, and no more.
        assert outcome["page"] == rebinding.origin, outcome
        assert outcome.get("grpc") in (None, "7"), outcome
        assert CANARY not in outcome["read"], outcome
    # They were at the door.
    warned = [line["message"] for line in gateway.log_lines() if line["level"] == "WARN"]
    for refusal in ("a call to another host was refused", "a call of a web page was refused"):
        assert len([text for text in warned if text.startswith(refusal)]) == 1, warned


def test_a_page_of_an_allowed_origin_can_call(tmp_path, site, browser):
    page = f"http://localhost:{site.port}"
    with Gateway(tmp_path, settings={"METAGOV_CORS_ORIGINS": page}) as gateway:
        plant(gateway)
        outcomes = visit(browser, site, gateway, [(page, [f"http://{gateway.address}"])])
        assert made(gateway) - TOKENLESS == HONEST
        assert [o["name"] for o in read(outcomes) if CANARY in o["read"]] == ["a read"]


def test_a_page_under_an_allowed_name_can_call(tmp_path, site, browser):
    """The rebinding is real: the two settings that allow it let the same page through."""
    settings = {"METAGOV_HOSTS": f"127.0.0.1,{EVIL}"}
    gateway = Gateway(tmp_path, settings=settings)
    with Rebinding(site.port, gateway.address) as rebinding:
        settings["METAGOV_CORS_ORIGINS"] = rebinding.origin
        with gateway:
            plant(gateway)
            visit(browser, site, gateway, [(rebinding.origin, [rebinding.origin])])
            assert made(gateway) - TOKENLESS >= HONEST
