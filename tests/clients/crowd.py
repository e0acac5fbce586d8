"""The clients of all languages, which do the same at the same time."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, TypeVar

from gateway import Gateway
from languages import Language
from program import Program, Settings

T = TypeVar("T")


class Client:
    """One language's client, and the gateway that its programs are told of."""

    def __init__(self, language: Language, folder: Path):
        self.language = language
        self.settings: Settings = {}
        self._folder = folder
        self._started: list[Program] = []

    @property
    def name(self) -> str:
        return self.language.name

    def start(self, *arguments: str, **settings: str | None) -> Program:
        """Starts `behaviour VERB ARG…`; a setting that is None is left out."""
        return self._run([self.language.behaviour, *arguments], settings)

    def example(self, community: str) -> Program:
        """Starts the example driver."""
        return self._run([self.language.example, community], {})

    def kill(self) -> None:
        """Ends what still runs."""
        for program in self._started:
            program.kill()

    def _run(self, command: list[Any], settings: dict[str, str | None]) -> Program:
        told = {k: v for k, v in (self.settings | settings).items() if v is not None}
        log = self._folder / f"{self.name}-{len(self._started)}.log"
        program = Program(command, told, log)
        self._started.append(program)
        return program


class Crowd:
    """The clients of a row. One that fails a step takes no further part in the row."""

    def __init__(self, languages: list[Language], folder: Path, subtests):
        self.clients = [Client(language, folder) for language in languages]
        self.failed: set[str] = set()
        self._subtests = subtests

    def at(self, gateway: Gateway, **settings: str) -> "Crowd":
        """Has the clients call a gateway, with its first token."""
        own = {"METAGOV_ENDPOINT": f"http://{gateway.address}", "METAGOV_TOKEN": gateway.token}
        for client in self.clients:
            client.settings = own | settings
        return self

    def each(self, step: Callable[[Client], T]) -> dict[Client, T]:
        """Takes a step with every client at once, and returns what became of it."""
        active = [client for client in self.clients if client.name not in self.failed]
        with ThreadPoolExecutor(max(len(active), 1)) as threads:
            steps = {client: threads.submit(step, client) for client in active}
        return {client: done.result() for client, done in steps.items() if self._passed(client, done)}

    def kill(self) -> None:
        """Ends what still runs."""
        for client in self.clients:
            client.kill()

    def _passed(self, client: Client, done) -> bool:
        with self._subtests.test(language=client.name):
            if fault := done.exception():
                self.failed.add(client.name)
                raise fault
        return client.name not in self.failed
