"""The files of server/deploy/: their own tools have nothing to say, they name what there is,
and streams go through the balancer. No engine for containers is needed, and no image is
built. tests/operations/deploy.rs compares alerts and dashboard with the metrics."""

import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
import yaml

from gateway import BINARY, PATIENCE, ROOT, Bearer, Gateway, connect, environment, free_port
from metagov.v1 import (
    community_pb2,
    community_pb2_grpc,
    event_pb2,
    event_pb2_grpc,
)
from watcher import Watcher

DEPLOY = ROOT / "server" / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
GATEWAYS = {name: s for name, s in COMPOSE["services"].items() if s["image"] == "metagov"}


def needs(tool: str):
    """Debian's packages are systemd, prometheus and haproxy; make test installs the two."""
    return pytest.mark.skipif(not shutil.which(tool), reason=f"{tool} is not installed")


def run(*command) -> str:
    """What a tool says; it must be content."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def text(name: str) -> str:
    return (DEPLOY / name).read_text()


def settings() -> set[str]:
    """The variables that the binary knows."""
    told = subprocess.check_output([BINARY, "serve", "--help"], env=environment(), text=True)
    return set(re.findall(r"\[env: (\w+)", told))


@needs("systemd-analyze")
def test_systemd_takes_the_unit_and_finds_it_hardened(tmp_path):
    unit = tmp_path / "metagov.service"
    unit.write_text(text("metagov.service").replace("/usr/local/bin/metagov", str(BINARY)))
    said = run("systemd-analyze", "verify", unit)
    assert "metagov.service" not in said, said
    said = run("systemd-analyze", "security", "--offline=true", "--threshold=20", unit)
    assert "OK" in said.splitlines()[-1], said


@needs("promtool")
def test_prometheus_takes_its_configuration_and_the_alerts(tmp_path):
    for name in ("alerts.yaml", "prometheus.yaml"):
        config = text(name).replace("/run/secrets/metrics_token", "/dev/null")
        (tmp_path / name).write_text(config)
    run("promtool", "check", "config", tmp_path / "prometheus.yaml")


@needs("promtool")
def test_alerts_come_when_they_should(tmp_path):
    for name in ("alerts.yaml", "alerts_test.yaml"):
        source = DEPLOY if name == "alerts.yaml" else ROOT / "tests" / "python"
        (tmp_path / name).write_text((source / name).read_text())
    run("promtool", "test", "rules", tmp_path / "alerts_test.yaml")


@needs("promtool")
def test_the_metrics_are_in_the_format_of_prometheus(gateway):
    request = urllib.request.Request(f"http://{gateway.address}/metrics")
    request.add_header("Authorization", f"Bearer {gateway.token}")
    scraped = urllib.request.urlopen(request).read()
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=scraped, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_alerts_say_how_bad_it_is():
    rules = [rule for group in yaml.safe_load(text("alerts.yaml"))["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) > 10
    for rule in rules:
        assert rule["labels"]["severity"] in ("page", "ticket"), rule
        assert rule["annotations"]["summary"], rule


def test_compose_names_what_there_is():
    services = COMPOSE["services"]
    assert len(GATEWAYS) == 2
    known = settings()
    for name, service in services.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            there = (DEPLOY / source).exists() if source[0] == "." else source in COMPOSE["volumes"]
            assert there, f"{name}: {volume}"
        for secret in service.get("secrets", []):
            assert secret in COMPOSE["secrets"], f"{name}: {secret}"
        for other, when in service.get("depends_on", {}).items():
            assert when == {"condition": "service_healthy"}
            assert "healthcheck" in services[other] or other in GATEWAYS, other
        # Nothing is open to the network before somebody wants that.
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        assert ":latest" not in service["image"]
    for service in GATEWAYS.values():
        assert set(service["environment"]) <= known
        assert service["read_only"] and service["cap_drop"] == ["ALL"]
        build = service["build"]
        root = (DEPLOY / build["context"]).resolve()
        assert root == ROOT and (root / build["dockerfile"]).exists()
    # Its secrets are in files that are not in the repository, nor in the image.
    assert "server/deploy/secrets" in text("Containerfile.dockerignore")


def test_balancer_and_prometheus_know_the_replicas_of_compose():
    for port in ("50051", "8080"):
        servers = re.findall(rf"^ +server (\S+) (\S+):{port}\b", text("haproxy.cfg"), re.MULTILINE)
        assert servers and {name for name, _ in servers} == set(GATEWAYS)
        assert all(name == host for name, host in servers)
    config = yaml.safe_load(text("prometheus.yaml"))
    targets = config["scrape_configs"][0]["static_configs"][0]["targets"]
    assert targets == [f"{name}:50051" for name in GATEWAYS]
    secret = config["scrape_configs"][0]["authorization"]["credentials_file"]
    assert Path(secret).name in COMPOSE["services"]["prometheus"]["secrets"]


def instructions() -> list[tuple[str, str]]:
    """Those of the Containerfile, each on one line."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text("Containerfile"), flags=re.MULTILINE))
    lines = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(word, " ".join(rest.split())) for word, rest in lines]


def test_the_image_is_sound_as_far_as_can_be_told_without_building_it():
    said = instructions()
    known = {
        "FROM", "WORKDIR", "COPY", "RUN", "USER", "VOLUME", "ENV", "EXPOSE", "STOPSIGNAL",
        "HEALTHCHECK", "ENTRYPOINT", "CMD",
    }
    assert {word for word, _ in said} <= known
    stages = [rest for word, rest in said if word == "FROM"]
    assert len(stages) == 2 and all(":" in stage for stage in stages)
    rust = re.search(r'rust-version = "([\d.]+)"', (ROOT / "Cargo.toml").read_text())[1]
    assert f"rust:{rust}-" in stages[0], "the compiler that the workspace asks for"
    last = said[[word for word, _ in said].index("FROM", 1):]
    copied = [rest for word, rest in last if word == "COPY"]
    assert copied == ["--from=build /out/metagov /usr/local/bin/metagov"]
    user = next(rest for word, rest in last if word == "USER")
    assert user.split(":")[0] not in ("0", "root")
    order = [word for word, _ in last]
    assert order.index("USER") < order.index("ENTRYPOINT")
    variables = re.findall(r"(METAGOV_\w+)=", " ".join(rest for word, rest in last if word == "ENV"))
    assert variables and set(variables) <= settings()
    # What others reach is plain text behind a proxy, or refuses to start.
    assert dict(said)["ENTRYPOINT"] == '["metagov"]' and dict(said)["CMD"] == '["serve"]'


def test_the_check_of_the_image_tells_a_gateway_that_lives(gateway):
    check = next(rest for word, rest in instructions() if word == "HEALTHCHECK")
    command = yaml.safe_load(check[check.index("["):])
    here = command[-1].replace("/127.0.0.1/50051", "/" + gateway.address.replace(":", "/"))
    assert here != command[-1]
    alive = [*command[:-1], here]
    assert subprocess.run(alive, capture_output=True, check=False).returncode == 0
    gateway.kill()
    assert subprocess.run(alive, capture_output=True, check=False).returncode != 0


@contextmanager
def balancer(tmp_path: Path, one: Gateway, two: Gateway):
    """haproxy with the configuration of compose, before these two; where it serves."""
    api, public = (f"127.0.0.1:{free_port()}" for _ in range(2))
    config = text("haproxy.cfg")
    for name, gateway in (("metagov-1", one), ("metagov-2", two)):
        config = config.replace(f"{name}:50051", gateway.address)
        config = config.replace(f"{name}:8080", gateway.public_address)
    config = config.replace("bind :50051", f"bind {api}").replace("bind :8080", f"bind {public}")
    # It refuses to start where it may not open as many files.
    config = config.replace("maxconn 20000", "maxconn 100")
    file = tmp_path / "haproxy.cfg"
    file.write_text(config)
    run("haproxy", "-c", "-f", file)
    with (tmp_path / "haproxy.log").open("wb") as log:
        child = subprocess.Popen(["haproxy", "-db", "-f", file], stdout=log, stderr=log)
    try:
        yield api, public
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()


def until(what, *expected):
    """Waits until it says one of these."""
    end = time.monotonic() + PATIENCE
    while (said := what()) not in expected:
        assert time.monotonic() < end, said
        time.sleep(0.1)
    return said


def hook(public: str) -> int:
    """What becomes of a hook for nobody: 404 from a gateway, 503 where there is none, 0
    where there is no balancer yet."""
    request = urllib.request.Request(f"http://{public}/api/hooks/a/b/c", data=b"{}")
    try:
        return urllib.request.urlopen(request, timeout=PATIENCE).status
    except urllib.error.HTTPError as error:
        return error.code
    except urllib.error.URLError:
        return 0


@needs("haproxy")
def test_calls_and_streams_go_through_the_balancer_and_on_when_a_replica_drains(tmp_path):
    # Two databases instead of one: what is tried is the way, and a token for both.
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    one, two = (Gateway(folder, settings={"METAGOV_INSECURE_NO_AUTH": "true"}) for folder in folders)
    for gateway in (one, two):
        # Without tokens none is made.
        gateway.data.mkdir()
        (gateway.data / "admin.token").write_text("none")
    with balancer(tmp_path, one, two) as (api, public), one:
        until(lambda: hook(public), 404)
        with connect(api) as channel:
            communities = community_pb2_grpc.CommunityServiceStub(channel)
            events = event_pb2_grpc.EventServiceStub(channel)
            watcher = Watcher(events.WatchEvents(event_pb2.WatchEventsRequest()))
            create(communities, "garden")
            # A balancer that gathers what it is sent would hold this back.
            assert watcher.next().community_id == "garden"
            with two:
                time.sleep(3)
                one.terminate()
                assert watcher.end().code() == grpc.StatusCode.UNAVAILABLE
                assert one.exit_code() == 0
                create(communities, "orchard")
                assert hook(public) == 404
                found = two.communities.GetCommunity(
                    community_pb2.GetCommunityRequest(community_id="orchard")
                )
                assert found.community.community_id == "orchard"


def create(communities, community_id: str) -> None:
    """Creates a community through the balancer, trying again as clients are told to."""

    def attempt():
        community = community_pb2.Community(community_id=community_id)
        request = community_pb2.CreateCommunityRequest(community=community)
        try:
            communities.CreateCommunity(request, timeout=PATIENCE)
        except grpc.RpcError as error:
            return error.code()
        return None

    until(attempt, None)
