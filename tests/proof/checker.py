"""The checker: in go what clients recorded and what the database holds, out come
properties, each with how much was checked and how much of it was violated.

It knows the contract and the tables, and nothing of the server. A history is checked as
it grows: `Checker.check` takes the lines that are new and a dump that is younger than
they are; `Checker.finish` takes a dump at rest and looks at everything once more.

Of a log: positions have no holes, `ends` marks the last event of a change, and a row
without a payload is of a community that was deleted since. Of a
cursor: its bytes 9 to 17 are the position that it stands after.
"""

import base64
import bisect
import json
from collections import defaultdict
from typing import Any, Iterator

from .dump import Dump
from .harness import Finding, Tally

# More events than this need not fit in one batch.
MOST_IN_A_BATCH = 500


def position(cursor: str) -> int:
    """The place that a cursor stands after."""
    padded = cursor + "=" * (-len(cursor) % 4)
    return int.from_bytes(base64.urlsafe_b64decode(padded)[9:17], "big")


class Log:
    """The rows of the log, with what a filter needs of them."""

    def __init__(self, dump: Dump):
        self.rows = dump.events
        self.positions = [row["position"] for row in self.rows]
        self.ids = {row["event_id"]: row["position"] for row in self.rows}
        self.ends = [row["position"] for row in self.rows if row["ends"]]

    @property
    def first(self) -> int:
        return self.positions[0] if self.positions else 1

    @property
    def last(self) -> int:
        return self.positions[-1] if self.positions else 0

    def between(self, after: int, upto: int, wanted: dict[str, Any]) -> list[int]:
        """The positions in (after, upto] of the rows that match."""
        begin = bisect.bisect_right(self.positions, after)
        end = bisect.bisect_right(self.positions, upto)
        return [row["position"] for row in self.rows[begin:end] if matches(row, wanted)]

    def blank(self, position: int) -> bool:
        """Whether the community of an event is gone: then it is delivered no more."""
        index = bisect.bisect_left(self.positions, position)
        return self.rows[index]["payload"] is None

    def change(self, at: int) -> tuple[int, int]:
        """Where the change of a position begins (exclusive) and ends."""
        index = bisect.bisect_left(self.ends, at)
        before = self.ends[index - 1] if index else self.first - 1
        return before, self.ends[index] if index < len(self.ends) else at


def matches(row: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether a row is for a reader that wants these communities, kinds and types."""
    if wanted.get("communities") and row["community_id"] not in wanted["communities"]:
        return False
    if not wanted.get("kinds") and not wanted.get("types"):
        return True
    payload = json.loads(row["payload"] or "{}")
    kind = next(iter(payload), "")
    if wanted.get("kinds") and kind not in wanted["kinds"]:
        return False
    return not wanted.get("types") or (
        kind == "platform" and payload["platform"]["event_type"] in wanted["types"]
    )


class Stream:
    """One reader's joined history: what it got, over any number of resumes."""

    def __init__(self, name: str, wanted: dict[str, Any]):
        self.name = name
        self.wanted = wanted
        # Everything up to here was delivered or passed by a bookmark; unset at first.
        self.reached: int | None = None
        self.seen: set[str] = set()
        # The highest bookmark of an empty batch, and how many of them there were.
        self.bookmark = 0
        self.bookmarks = 0
        # Whether it has just asked to go on after a cursor.
        self.resumed = False

    def take(self, line: dict[str, Any], log: Log, tally: dict[str, Tally]) -> None:
        """Checks one batch against the log."""
        cursor = position(line["cursor"])
        got = [log.ids.get(id) for id in line["events"]]
        if self.reached is None:
            # The place that it was told to start at.
            self.reached = line.get("start", log.first - 1)
        where = f"{self.name}: batch to {cursor}"
        tally["R8"].expect(
            cursor >= self.reached, f"{where} stands before {self.reached}, which was reached"
        )
        for id, at in zip(line["events"], got):
            tally["R6"].expect(id not in self.seen, f"{where}: {at} came twice")
            self.seen.add(id)
        known = [at for at in got if at is not None]
        tally["R5"].expect(len(known) == len(got), f"{where}: events that no row has")
        for earlier, later in zip([self.reached, *known], known):
            tally["R4"].expect(later > earlier, f"{where}: {later} came after {earlier}")
        for at in known:
            tally["R8"].expect(at > self.bookmark, f"{where}: {at}, after the bookmark {self.bookmark}")
        expected = log.between(self.reached, cursor, self.wanted)
        missing = sorted(at for at in set(expected) - set(known) if not log.blank(at))
        tally["R5"].expect(not missing, f"{where} from {self.reached}: {missing[:5]} are missing")
        extra = sorted(set(known) - set(expected) - set(range(self.reached + 1)))
        tally["R5"].expect(not extra, f"{where} from {self.reached}: {extra[:5]} do not belong there")
        if known:
            self._whole(known, log, tally["R7"], where)
        else:
            self.bookmark = max(self.bookmark, cursor)
            self.bookmarks += 1
        self.reached = max(self.reached, cursor)

    def _whole(self, known: list[int], log: Log, tally: Tally, where: str) -> None:
        """The change of the first and of the last event is in the batch with all that
        matches of it and was not had before, unless it alone is too large."""
        for at in {known[0], known[-1]}:
            begins, ends = log.change(at)
            # Whoever starts in the midst of a change has its rest.
            all_of_it = log.between(max(begins, self.reached), ends, self.wanted)
            if len(all_of_it) <= MOST_IN_A_BATCH:
                there = set(known)
                tally.expect(
                    all(one in there or log.blank(one) for one in all_of_it),
                    f"{where}: of the change ({begins}, {ends}] only a part",
                )


class Checker:
    """What is known of one world so far."""

    def __init__(self) -> None:
        self.streams: dict[str, Stream] = {}
        self.resumes = 0
        # What was delivered: the number in a post, and how often it was sent and acked.
        self.sent: dict[int, int] = defaultdict(int)
        self.acked: set[int] = set()
        self.hashes: dict[int, str] = {}
        # Request ids, with every answer to them.
        self.asked: dict[str, int] = defaultdict(int)
        self.answers: dict[str, set[str]] = defaultdict(set)
        self.reused: list[str] = []
        self._new_acks: set[int] = set()
        self._new_answers: set[str] = set()
        self._told = {"R3": 0, "R9": 0, "R15": 0}

    def check(self, lines: list[dict[str, Any]], dump: Dump) -> list[Finding]:
        """Checks what is new. `done` counts resumes for R9, deliveries that were sent
        more than once for R3, and ids that were asked for more than once for R15."""
        tally = {name: Tally(name) for name in ["R4", "R5", "R6", "R7", "R8"]}
        log = Log(dump)
        contiguous(log, tally["R5"])
        for line in lines:
            self._take(line, log, tally)
        found = [of.finding() for of in tally.values()]
        found += self._hooks(dump, self._new_acks) + self._requests(dump, self._new_answers)
        self._new_acks, self._new_answers = set(), set()
        # Over the joined history all of these have to hold.
        joined = [f for f in found if f.property in tally]
        examples = [example for f in joined for example in f.examples]
        found.append(
            Finding("R9", self._since("R9", self.resumes), sum(f.checked for f in joined),
                    sum(f.violated for f in joined), examples[:5])
        )
        return found

    def finish(self, lines: list[dict[str, Any]], dump: Dump) -> list[Finding]:
        """Checks everything, at rest: nobody writes any more, every reader has had the
        time to reach the end."""
        found = self.check(lines, dump)
        log = Log(dump)
        reached = Tally("R8", done=0)
        for stream in self.streams.values():
            # With nothing to deliver, a bookmark still gets to the end of the log.
            reached.expect(
                stream.reached == log.last,
                f"{stream.name} stands at {stream.reached}, and the log ends at {log.last}",
            )
        found.append(reached.finding())
        found += self._hooks(dump, self.acked, done=0) + self._requests(dump, set(self.answers), done=0)
        return found

    def _since(self, property: str, now: int) -> int:
        before, self._told[property] = self._told[property], now
        return now - before

    def _take(self, line: dict[str, Any], log: Log, tally: dict[str, Tally]) -> None:
        call, phase = line["call"], line["phase"]
        if call == "watch" and phase in ("intent", "got"):
            self._take_watch(line, log, tally)
        elif call == "hook":
            self._take_hook(line)
        elif call == "start":
            self._take_start(line)
        elif call == "reuse" and phase == "ack":
            self.reused.append(line["request"])

    def _take_watch(self, line: dict[str, Any], log: Log, tally: dict[str, Tally]) -> None:
        name = line["stream"]
        if name not in self.streams:
            # From the intent on: one that never gets anything is to be missed at the end.
            self.streams[name] = Stream(name, line["wanted"])
        stream = self.streams[name]
        if line["phase"] == "got":
            stream.take(line, log, tally)
            # A resume counts once the gateway has answered it.
            self.resumes += stream.resumed
            stream.resumed = False
        elif line.get("after"):
            stream.resumed = True

    def _take_hook(self, line: dict[str, Any]) -> None:
        number = line["number"]
        if line["phase"] == "intent":
            self.sent[number] += 1
            self.hashes[number] = line["sha256"]
        elif line["phase"] == "ack":
            self.acked.add(number)
            self._new_acks.add(number)

    def _take_start(self, line: dict[str, Any]) -> None:
        request = line["request"]
        if line["phase"] == "intent":
            self.asked[request] += 1
        elif line["phase"] == "ack":
            self.answers[request].add(line["answer"])
            self._new_answers.add(request)

    def _hooks(self, dump: Dump, acks: set[int], done: int | None = None) -> list[Finding]:
        """R1: what was acknowledged is there. R3: nothing is there twice."""
        stored, once = Tally("R1", 1 if done is None else done), Tally("R3")
        times: dict[int, int] = defaultdict(int)
        for number in posts(dump):
            times[number] += 1
        kept = {str(row["repeat_key"]) for row in dump.rows("delivery") if row["state"] != "done"}
        for number in acks:
            is_kept = any(self.hashes[number] in key for key in kept) if kept else False
            stored.expect(
                times[number] > 0 or is_kept, f"post {number} was acknowledged and is not there"
            )
        for number in acks | {n for n in times if times[n] > 1}:
            once.expect(times[number] <= 1, f"post {number} is there {times[number]} times")
        twice = sum(self.sent[number] > 1 for number in self.acked)
        once.done = self._since("R3", twice) if done is None else 0
        return [stored.finding(), once.finding()]

    def _requests(self, dump: Dump, requests: set[str], done: int | None = None) -> list[Finding]:
        """R15: one id has one answer and one effect, and another body is refused."""
        tally = Tally("R15")
        titles: dict[str, list[str]] = defaultdict(list)
        for row in dump.rows("process"):
            titles[row["title"]].append(row["id"])
        for request in requests:
            answers = self.answers[request]
            tally.expect(len(answers) == 1, f"{request} was answered {sorted(answers)}")
            tally.expect(
                set(titles[request]) == answers, f"{request} began {titles[request]}, said {sorted(answers)}"
            )
        for request in self.reused:
            tally.expect(False, f"{request} was taken with another body")
        self.reused = []
        again = sum(self.asked[request] > 1 for request in self.answers)
        tally.done = self._since("R15", again) if done is None else 0
        return [tally.finding()]


def contiguous(log: Log, tally: Tally) -> None:
    """Positions have no holes for a reader to fall into."""
    holes = [later for earlier, later in zip(log.positions, log.positions[1:]) if later != earlier + 1]
    tally.expect(not holes, f"the log has holes before {holes[:5]}")


def posts(dump: Dump) -> Iterator[int]:
    """The number of each post whose event stands in the log."""
    for row in dump.events:
        platform = json.loads(row["payload"] or "{}").get("platform")
        if platform and platform["event_type"] == "discourse.post_created":
            yield int(platform["data"]["id"])
