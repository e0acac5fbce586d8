"""What the clients take from the environment."""

NO_ADDRESSES = (
    "127.0.0.1:50051",
    "ftp://127.0.0.1:50051",
    "http://me@127.0.0.1:50051",
    "http://127.0.0.1:50051/api",
)


def test_no_address(crowd):
    """METAGOV_ENDPOINT that is no address is refused, and an example is given"""

    def refuse(client):
        for endpoint in NO_ADDRESSES:
            error = client.start("get-community", "garden", METAGOV_ENDPOINT=endpoint).error()
            says = "METAGOV_ENDPOINT: is no address such as http://127.0.0.1:50051"
            assert says in error["message"], (endpoint, error)

    crowd.each(refuse)


def test_plaintext(crowd, gateway):
    """A token is not sent over http to another machine, unless that is asked for"""
    # A network for documentation: nobody is there.
    away = "http://192.0.2.1:50051"

    def refuse(client):
        program = client.start("get-community", "garden", METAGOV_ENDPOINT=away)
        error = program.error(patience=20)
        assert "METAGOV_INSECURE_PLAINTEXT" in error["message"], error
        assert gateway.token not in str(program)
        # This machine's name is as good as its number.
        port = gateway.address.split(":")[1]
        client.start("get-community", "garden", METAGOV_ENDPOINT=f"http://localhost:{port}").end()

    crowd.each(refuse)


def test_slash(crowd, gateway):
    """METAGOV_ENDPOINT may end with a slash"""
    endpoint = f"http://{gateway.address}/"
    get = ("get-community", "garden")
    crowd.each(lambda client: client.start(*get, METAGOV_ENDPOINT=endpoint).end())


def test_proxy(crowd):
    """A proxy of the environment is not used for this machine"""
    names = ("http_proxy", "https_proxy", "grpc_proxy", "HTTP_PROXY", "HTTPS_PROXY")
    # Nobody listens there.
    proxy = dict.fromkeys(names, "http://127.0.0.1:9")
    crowd.each(lambda client: client.start("get-community", "garden", **proxy).end())


def test_no_ca(crowd, gateway, tmp_path):
    """METAGOV_CA that is no PEM file is named"""
    missing, empty = tmp_path / "missing.pem", tmp_path / "empty.pem"
    empty.write_text("no certificate")

    def refuse(client):
        for file in (missing, empty):
            settings = {"METAGOV_ENDPOINT": f"https://{gateway.address}", "METAGOV_CA": str(file)}
            error = client.start("get-community", "garden", **settings).error()
            assert "METAGOV_CA" in error["message"], error

    crowd.each(refuse)
