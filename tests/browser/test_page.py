"""The TypeScript client in a real browser, at the real server, over grpc-web."""

import json
import time

from browser import Browser
from calls import close, perform, start_vote
from garden import log, rename, streams
from gateway import PATIENCE


def test_a_page_calls(browser, pages, gateway):
    rename(gateway, "Our garden")
    parameters = json.dumps({"low": 2**53 - 2, "high": 2**53 - 1})
    with browser.visit(pages.url(gateway, "call", parameters=parameters)):
        reports = pages.until(len)
    assert reports == [{"name": "Our garden", "result": {"value": 2**53 - 2}}]


def test_an_error_has_its_details(browser, pages, gateway):
    parameters = json.dumps({"low": "three", "hihg": 4})
    with browser.visit(pages.url(gateway, "call", parameters=parameters)):
        [report] = pages.until(len)
    error = report["error"]
    assert error["code"] == "INVALID_ARGUMENT"
    assert error["reason"] == "ERROR_REASON_SCHEMA_MISMATCH"
    assert set(error["fields"]) == {"parameters/low", "parameters/hihg"}
    assert error["metadata"] == {"schema_of": "randomness.random-int"}


def test_a_wrong_token_is_said(browser, pages, gateway):
    with browser.visit(pages.url(gateway, "watch", token="wrong")):
        [report] = pages.until(len)
    assert report["error"]["reason"] == "ERROR_REASON_TOKEN_INVALID"
    assert "metagov token create" in report["error"]["advice"]


def test_a_page_waits_for_a_process(browser, pages, gateway):
    vote = start_vote(gateway, "Lunch?", ["soup", "bread"])
    perform(gateway, "ballot.cast", process_id=vote.process_id, voter="ada", choices=["soup"])
    with browser.visit(pages.url(gateway, "wait", process=vote.process_id)):
        until(lambda: "WatchProcess" in gateway.log.read_text())
        close(gateway, vote)
        assert pages.until(len) == [{"state": "COMPLETED", "leading": ["soup"]}]


def test_the_feed_goes_on_after_a_restart(browser, pages, gateway):
    with browser.visit(pages.url(gateway, "watch")):
        pages.until_ready()
        before = len(log(gateway))
        for end in (gateway.kill, gateway.terminate):
            rename(gateway, "a", "b")
            end()
            gateway.exit_code()
            gateway.start()
            rename(gateway, "c", "d")
        expected = log(gateway)[before:]
        assert len(expected) == 8
        assert pages.events(expected[-1]) == expected, "none is lost, none comes twice"
    assert [report for report in pages.reports() if "retry" in report], "the server was away"


def test_a_cancelled_feed_ends_on_both_sides(browser, pages, gateway):
    with browser.visit(pages.url(gateway, "cancel")):
        assert pages.until(len) == [{"cancelled": True, "answered": True}]
        until(lambda: streams(gateway) == 0)


def test_two_tabs_both_see_everything(tmp_path, pages, gateway):
    tabs = ("one", "two")
    other = pages.url(gateway, "watch", tab="two")
    browser = Browser(tmp_path / "browser", "--disable-popup-blocking")
    with browser.visit(pages.url(gateway, "watch", tab="one", other=other)):
        for tab in tabs:
            pages.until_ready(tab)
        before = len(log(gateway))
        rename(gateway, "a")
        gateway.kill()
        gateway.start()
        for tab in tabs:
            pages.until_ready(tab, times=2)
        assert streams(gateway) == 2
        rename(gateway, "b")
        expected = log(gateway)[before:]
        for tab in tabs:
            assert pages.events(expected[-1], tab) == expected


def until(enough) -> None:
    """Waits until that holds."""
    deadline = time.monotonic() + PATIENCE
    while not enough():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)
