"""A certificate of this machine, and a gateway that has it."""

import base64
import hashlib
import subprocess
from pathlib import Path

import grpc

from gateway import Gateway


class Certificate:
    """Vouched for by nobody but itself."""

    def __init__(self, folder: Path):
        self.file, self.key = folder / "gateway.pem", folder / "gateway.key"
        kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
        names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
        openssl("req", "-x509", *kind, *names, "-keyout", self.key, "-out", self.file)

    def trusted(self) -> str:
        """The flag by which a browser trusts its key, and no other."""
        public = openssl("pkey", "-in", self.key, "-pubout", "-outform", "DER")
        pin = base64.b64encode(hashlib.sha256(public).digest()).decode()
        return f"--ignore-certificate-errors-spki-list={pin}"


class SecureGateway(Gateway):
    """A gateway whose API does TLS."""

    def __init__(self, folder: Path, certificate: Certificate, settings: dict[str, str]):
        tls = {"METAGOV_TLS_CERT": str(certificate.file), "METAGOV_TLS_KEY": str(certificate.key)}
        super().__init__(folder, settings=settings | tls)
        self._roots = certificate.file.read_bytes()

    def dial(self) -> grpc.Channel:
        credentials = grpc.ssl_channel_credentials(self._roots)
        return grpc.secure_channel(self.address, credentials, [("grpc.enable_http_proxy", 0)])


def openssl(*arguments: str | Path) -> bytes:
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True).stdout
