"""TLS: on both sides, on one, and with somebody who is not trusted."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from garden import ids, log, plant, rename
from secure import Authority, SecureGateway


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    """A gateway that does TLS."""
    folder = tmp_path_factory.mktemp("secure")
    authority = Authority(folder, "right")
    with SecureGateway(folder, authority) as running:
        plant(running)
        running.authority = authority
        yield running


def over_tls(crowd, secure, ca):
    port = secure.address.split(":")[1]
    crowd.at(secure, METAGOV_ENDPOINT=f"https://localhost:{port}", METAGOV_CA=str(ca))


def advises_tls(error):
    assert error["code"] in ("UNAVAILABLE", "UNKNOWN", "INTERNAL"), error
    assert "https://" in error["advice"] and "METAGOV_CA" in error["advice"], error


def test_tls(crowd, secure):
    """TLS works with METAGOV_CA, for calls and for watches"""
    over_tls(crowd, secure, secure.authority.ca)
    crowd.each(lambda client: client.start("get-community", "garden").end())
    watches = crowd.each(lambda client: client.start("watch", "--community", "tls"))
    crowd.each(lambda client: watches[client].until_ready())
    rename(secure, "tls", ["a"])
    expected = ids(log(secure, "tls"))
    crowd.each(lambda client: watches[client].until_event(expected[-1]))


def test_tls_by_number(crowd, secure):
    """TLS works with the number of a machine in METAGOV_ENDPOINT"""
    over_tls(crowd, secure, secure.authority.ca)
    get, endpoint = ("get-community", "garden"), f"https://{secure.address}"
    crowd.each(lambda client: client.start(*get, METAGOV_ENDPOINT=endpoint).end())


def test_untrusted(crowd, secure, tmp_path):
    """A certificate that nobody vouches for is refused, with advice"""
    over_tls(crowd, secure, Authority(tmp_path, "wrong").ca)

    def refuse(client):
        advises_tls(client.start("get-community", "garden").error())
        advises_tls(client.start("get-community", "garden", METAGOV_CA=None).error())

    crowd.each(refuse)


def test_untrusted_watch(crowd, secure, tmp_path):
    """A watch of such a gateway stops, or tells of each retry"""
    over_tls(crowd, secure, Authority(tmp_path, "wrong").ca)
    watches = crowd.each(lambda client: client.start("watch"))
    tells = lambda it: it.retries or any("error" in line for line in it.said)  # noqa: E731
    crowd.each(lambda client: watches[client].until(tells))


def test_out_of_date(crowd, gateway, tmp_path):
    """A certificate that is out of date, or a clock that is wrong: advice"""
    # Of two clocks that differ one is wrong, and no client knows whose.
    authority = Authority(tmp_path, "old")
    cert, key = (file.read_bytes() for file in authority.certificate(days=-1))
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, cert)]))
    server.start()
    endpoint = f"https://localhost:{port}"

    def refuse(client):
        error = client.start("get-community", "garden").error()
        assert "clock" in error["advice"], error

    crowd.at(gateway, METAGOV_ENDPOINT=endpoint, METAGOV_CA=str(authority.ca)).each(refuse)
    server.stop(None)


def test_tls_at_the_gateway_only(crowd, secure):
    """TLS at the gateway only: advice"""
    crowd.at(secure).each(advises)


def test_tls_at_the_client_only(crowd, gateway):
    """TLS at the client only: advice"""
    crowd.at(gateway, METAGOV_ENDPOINT=f"https://{gateway.address}").each(advises)


def advises(client):
    """Not every library tells that it was TLS."""
    error = client.start("get-community", "garden").error()
    assert "METAGOV_ENDPOINT" in error["advice"], error
