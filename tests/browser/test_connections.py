"""What a page may have open at once, and TLS, which changes that."""

import pytest

from browser import Browser
from certificate import Certificate, SecureGateway
from garden import log, plant, rename


@pytest.fixture
def certificate(tmp_path) -> Certificate:
    return Certificate(tmp_path)


@pytest.fixture
def secure(tmp_path, pages, certificate):
    """A gateway that does TLS."""
    with SecureGateway(tmp_path, certificate, {"METAGOV_CORS_ORIGINS": pages.origin}) as running:
        plant(running)
        yield running


@pytest.fixture
def trusting(tmp_path, certificate) -> Browser:
    """A browser that trusts its certificate."""
    return Browser(tmp_path / "browser", certificate.trusted())


def test_six_streams_leave_no_connection_for_a_call(browser, pages, gateway):
    """Over HTTP/1.1 a browser has six connections an origin: hence one stream a page."""
    with browser.visit(pages.url(gateway, "crowd", streams=6)):
        assert pages.until(len) == [{"beside": False, "after": True}]


def test_five_streams_leave_one(browser, pages, gateway):
    with browser.visit(pages.url(gateway, "crowd", streams=5)):
        assert pages.until(len) == [{"beside": True, "after": True}]


def test_over_tls_streams_share_a_connection(trusting, pages, secure):
    url = pages.url(secure, "crowd", streams=20, endpoint=f"https://{secure.address}")
    with trusting.visit(url):
        assert pages.until(len) == [{"beside": True, "after": True}]


def test_the_feed_goes_on_over_tls(trusting, pages, secure):
    with trusting.visit(pages.url(secure, "watch", endpoint=f"https://{secure.address}")):
        pages.until_ready()
        before = len(log(secure))
        rename(secure, "a")
        secure.kill()
        secure.start()
        rename(secure, "b")
        expected = log(secure)[before:]
        assert pages.events(expected[-1]) == expected


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_a_certificate_that_is_not_trusted_is_said(browser, pages, secure, scheme):
    """As far as a browser tells; and the same for plaintext to a port of TLS."""
    with browser.visit(pages.url(secure, "call", endpoint=f"{scheme}://{secure.address}")):
        [report] = pages.until(len)
    assert "certificate" in report["error"]["advice"]
