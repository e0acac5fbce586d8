"""A gateway that does TLS, and the certificates for it."""

import subprocess
from pathlib import Path

import grpc

from gateway import Gateway

NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"


class Authority:
    """Who vouches for certificates: `ca` is the file that says so."""

    def __init__(self, folder: Path, name: str):
        self._folder, self._name = folder, name
        self.ca = folder / f"{name}-ca.pem"
        self._key = folder / f"{name}-ca.key"
        subject = ("-subj", f"/CN={name}", "-days", "1")
        openssl("req", "-x509", *new_key(self._key), "-out", self.ca, *subject)

    def certificate(self, days: int = 1) -> tuple[Path, Path]:
        """A certificate for this machine, and its key."""
        cert, key, asked = (self._folder / f"{self._name}.{end}" for end in ("pem", "key", "csr"))
        openssl("req", *new_key(key), "-out", asked, "-subj", "/CN=localhost", "-addext", NAMES)
        openssl("x509", "-req", "-in", asked, "-CA", self.ca, "-CAkey", self._key, "-CAcreateserial",
                "-out", cert, "-days", str(days), "-copy_extensions", "copy")  # fmt: skip
        return cert, key


class SecureGateway(Gateway):
    """A gateway whose API does TLS, with a certificate of this authority."""

    def __init__(self, folder: Path, authority: Authority):
        cert, key = authority.certificate()
        settings = {"METAGOV_TLS_CERT": str(cert), "METAGOV_TLS_KEY": str(key)}
        super().__init__(folder, settings=settings)
        self._roots = authority.ca.read_bytes()

    def dial(self) -> grpc.Channel:
        credentials = grpc.ssl_channel_credentials(self._roots)
        return grpc.secure_channel(self.address, credentials, [("grpc.enable_http_proxy", 0)])


def new_key(file: Path) -> list[str | Path]:
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", file]


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
