"""Which pages may call: those of the origins that the operator has named, and no others."""

import json


def test_another_origin_may_not_call(browser, pages, gateway):
    origin = f"http://127.0.0.1:{pages.port}"
    with browser.visit(pages.url(gateway, "call", origin=origin)):
        [report] = pages.until(len)
    # All that a browser tells a page, so the advice has to name it.
    assert report["error"]["code"] == "UNKNOWN"
    assert "METAGOV_CORS_ORIGINS" in report["error"]["advice"]
    said = [line["message"] for line in gateway.log_lines() if line["level"] == "WARN"]
    assert [text for text in said if text.startswith("a call of a web page was refused")], said


def test_a_watch_of_another_origin_says_why_it_waits(browser, pages, gateway):
    origin = f"http://127.0.0.1:{pages.port}"
    with browser.visit(pages.url(gateway, "watch", origin=origin)):
        reports = pages.until(lambda reports: len(reports) == 2)
    assert ["METAGOV_CORS_ORIGINS" in report["retry"]["advice"] for report in reports] == [True, True]


def test_both_origins_may_call_if_both_are_named(browser, pages, gateway):
    other = f"http://127.0.0.1:{pages.port}"
    gateway.kill()
    gateway.settings["METAGOV_CORS_ORIGINS"] = f"{pages.origin},{other}"
    gateway.start()
    parameters = json.dumps({"low": 3, "high": 4})
    for tab, origin in (("one", pages.origin), ("two", other)):
        with browser.visit(pages.url(gateway, "call", tab, origin, parameters=parameters)):
            assert pages.until(len, tab) == [{"name": "", "result": {"value": 3}}]
