"""The page for any other language, word for word: its commands make code from the contract
and compile it, and its drivers print every event once, through a SIGKILL of the gateway.

Each needs the tools of its language; what is missing is skipped, and named. Debian has
those of C++ and Ruby: see tests/tools/install.
"""

import subprocess
import threading

import pytest

from calls import create_community
from gateway import PATIENCE, ROOT
from metagov.v1 import community_pb2, event_pb2
from page import Section, missing

# What protoc itself knows, with a file that it makes of event.proto.
MESSAGES = {
    "cpp": "metagov/v1/event.pb.h",
    "csharp": "Event.cs",
    "java": "org/metagov/v1/Event.java",
    "kotlin": "org/metagov/v1/EventKt.kt",
    "objc": "metagov/v1/Event.pbobjc.h",
    "php": "Metagov/V1/Event.php",
    "ruby": "metagov/v1/event_pb.rb",
}


@pytest.mark.parametrize("language", MESSAGES)
def test_messages(language, tmp_path):
    need("protoc")
    contract = ROOT / "proto"
    files = sorted(contract.glob("metagov/v1/*.proto"))
    out = f"--{language}_out={tmp_path}"
    subprocess.run(["protoc", f"--proto_path={contract}", out, *files], check=True)
    assert (tmp_path / MESSAGES[language]).stat().st_size > 0


def test_buf(tmp_path):
    need("buf", "protoc", "grpc_ruby_plugin")
    section = Section("Code from the contract", tmp_path / "buf")
    section.write("yaml", "buf.gen.yaml")
    for command in section.commands:
        section.run(command)
    made = {path.name for path in (tmp_path / "buf/generated/metagov/v1").iterdir()}
    assert {"event_pb.rb", "event_services_pb.rb", "error_pb.rb"} <= made


def test_ruby(gateway, tmp_path):
    need("protoc", "grpc_ruby_plugin", "ruby")
    if subprocess.run(["ruby", "-e", "require 'grpc'"], capture_output=True).returncode:
        pytest.skip("the Ruby gem grpc is not installed")
    section = Section("Ruby", tmp_path / "ruby")
    section.write("ruby", "driver.rb")
    watch(section, gateway)


def test_cpp(gateway, tmp_path):
    need("protoc", "grpc_cpp_plugin", "g++", "pkg-config")
    for library in ("protobuf", "grpc++"):
        if subprocess.run(["pkg-config", "--exists", library]).returncode:
            pytest.skip(f"the C++ library {library} is not installed")
    section = Section("C++", tmp_path / "cpp")
    section.write("cpp", "driver.cpp")
    watch(section, gateway)


def test_csharp(gateway, tmp_path):
    need("dotnet")
    section = Section("C#", tmp_path / "csharp")
    section.write("xml", "driver.csproj")
    section.write("csharp", "Program.cs")
    watch(section, gateway)


def need(*tools):
    if absent := missing(*tools):
        pytest.skip(f"not installed: {absent}")


def watch(section, gateway):
    """Runs a section, and kills the gateway under its driver."""
    *build, run = section.commands
    for command in build:
        section.run(command)
    create_community(gateway, "garden")
    with section.start(run, gateway.address, METAGOV_TOKEN=gateway.token) as driver:
        try:
            seen = Lines(driver)
            seen.until(log(gateway))
            gateway.kill()
            gateway.start()
            for name in ("one", "two", "three"):
                rename(gateway, name)
            seen.until(log(gateway))
        finally:
            driver.kill()
    # A token that is none stops it.
    with section.start(run, gateway.address, METAGOV_TOKEN="none") as driver:
        assert driver.wait(PATIENCE) != 0


class Lines:
    """What a driver prints, as it comes."""

    def __init__(self, driver):
        self._lines = []
        self._news = threading.Condition()
        threading.Thread(target=self._read, args=(driver,), daemon=True).start()

    def until(self, expected):
        """Waits for these lines, each once and no other."""
        with self._news:
            self._news.wait_for(lambda: expected[-1] in self._lines, PATIENCE)
            assert self._lines == expected

    def _read(self, driver):
        for line in driver.stdout:
            with self._news:
                self._lines.append(line.strip())
                self._news.notify_all()


def rename(gateway, name):
    changed = community_pb2.Community(community_id="garden", display_name=name)
    gateway.communities.UpdateCommunity(community_pb2.UpdateCommunityRequest(community=changed))


def log(gateway):
    """The ids of all events."""
    request = event_pb2.ListEventsRequest(start_at=event_pb2.START_AT_EARLIEST, page_size=1000)
    return [event.event_id for event in gateway.events.ListEvents(request).events]
