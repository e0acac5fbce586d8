"""Where the gateway is, and who calls: the arguments of `connect`, or the environment."""

import ipaddress
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

DEFAULT_ENDPOINT = "http://127.0.0.1:50051"

# The largest message that is taken, in bytes.
MAX_MESSAGE = 64 * 1024 * 1024


@dataclass(frozen=True)
class Settings:
    """What is needed to open a connection. The token is never shown."""

    # As grpc names it.
    target: str
    # Whether it is this machine.
    loopback: bool
    # Who vouches for the gateway's certificate, as PEM; None where there is no TLS.
    roots: bytes | None = field(repr=False)
    # Sent with every call.
    metadata: tuple[tuple[str, str], ...] = field(repr=False)

    @property
    def options(self) -> list[tuple[str, int]]:
        """What grpc is told of a channel."""
        options = [
            ("grpc.max_receive_message_length", MAX_MESSAGE),
            # A channel has a connection of its own: a new one is not led into a dead one.
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_reconnect_backoff_ms", 10_000),
        ]
        # A proxy of the environment is not meant for the loopback.
        return [*options, ("grpc.enable_http_proxy", 0)] if self.loopback else options


def settle(
    endpoint: str | None,
    token: str | None,
    ca: str | os.PathLike[str] | None,
    insecure_plaintext: bool | None,
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """Takes what is not given from the environment. ValueError says what does not fit."""
    url = _parsed(endpoint or environment.get("METAGOV_ENDPOINT") or DEFAULT_ENDPOINT)
    token = token or environment.get("METAGOV_TOKEN") or None
    ca = ca or environment.get("METAGOV_CA") or None
    if insecure_plaintext is None:
        insecure_plaintext = environment.get("METAGOV_INSECURE_PLAINTEXT") == "true"
    secure, host = url.scheme == "https", url.hostname or ""
    loopback = _is_loopback(host)
    if token and not (secure or loopback or insecure_plaintext):
        raise ValueError(
            "METAGOV_TOKEN: is not sent over http to another machine, since it could be read on "
            "the way; use https://, or a tunnel, or say METAGOV_INSECURE_PLAINTEXT=true"
        )
    bare = f"[{host}]" if ":" in host else host
    return Settings(
        target=f"dns:///{bare}:{url.port or (443 if secure else 80)}",
        loopback=loopback,
        roots=_roots(ca) if secure else None,
        metadata=(("authorization", f"Bearer {_visible(token)}"),) if token else (),
    )


def _parsed(endpoint: str) -> SplitResult:
    wrong = ValueError("METAGOV_ENDPOINT: is no address such as http://127.0.0.1:50051")
    try:
        url = urlsplit(endpoint)
        named = url.hostname and url.port != 0
    except ValueError:
        raise wrong from None
    bare = url.path in ("", "/") and not url.query and not url.fragment and "@" not in url.netloc
    if url.scheme not in ("http", "https") or not named or not bare or not endpoint.isprintable():
        raise wrong
    return url


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _visible(token: str) -> str:
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise ValueError("METAGOV_TOKEN: is no token: it has a character that none has")
    return token


def _roots(ca: str | os.PathLike[str] | None) -> bytes:
    if ca is None:
        return _system_roots()
    try:
        pem = Path(ca).read_bytes()
        ssl.create_default_context(cadata=pem.decode())
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "no PEM file"
        raise ValueError(f"METAGOV_CA: {os.fspath(ca)}: {why}") from None
    return pem


def _system_roots() -> bytes:
    # grpc would take the list that it brings along.
    known = ssl.create_default_context().get_ca_certs(binary_form=True)
    pem = "".join(ssl.DER_cert_to_PEM_cert(certificate) for certificate in known).encode()
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    return pem or (bundle.read_bytes() if bundle.exists() else b"")
