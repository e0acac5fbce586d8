"""What is taken from the environment."""

import pytest
from metagov.settings import Settings, settle


def of(**environment: str) -> Settings:
    """What these variables say."""
    named = {f"METAGOV_{name.upper()}": value for name, value in environment.items()}
    return settle(None, None, None, None, named)


def test_defaults() -> None:
    assert of().target == "dns:///127.0.0.1:50051"
    assert of().metadata == () and of().loopback
    assert of(endpoint="", token="", ca="") == of()


@pytest.mark.parametrize(
    ("endpoint", "target"),
    [
        ("http://localhost:1/", "dns:///localhost:1"),
        ("HTTP://[::1]:50051", "dns:///[::1]:50051"),
        ("http://example.org", "dns:///example.org:80"),
        ("https://example.org", "dns:///example.org:443"),
    ],
)
def test_endpoints(endpoint: str, target: str) -> None:
    assert of(endpoint=endpoint).target == target


@pytest.mark.parametrize(
    "endpoint",
    ["localhost:1", "ftp://a", "http://me@a", "http://a/b", "http://a?b", "http://a:0",
     "http://a:99999", "http://", "http://[::1", "http://a\n"],
)  # fmt: skip
def test_no_endpoints(endpoint: str) -> None:
    with pytest.raises(ValueError, match="^METAGOV_ENDPOINT: is no address such as http://127"):
        of(endpoint=endpoint)


def test_the_token_goes_nowhere_from_where_it_could_be_read() -> None:
    with pytest.raises(ValueError, match="METAGOV_INSECURE_PLAINTEXT") as refused:
        of(endpoint="http://example.org", token="secret")
    assert "secret" not in str(refused.value)
    sent = (("authorization", "Bearer secret"),)
    assert of(endpoint="http://[::ffff:127.0.0.1]:1", token="secret").metadata == sent
    assert of(endpoint="https://example.org", token="secret").metadata == sent
    asked = of(endpoint="http://example.org", token="secret", insecure_plaintext="true")
    assert asked.metadata == sent
    assert "secret" not in repr(asked)


def test_no_token_and_no_ca() -> None:
    with pytest.raises(ValueError, match="^METAGOV_TOKEN: is no token") as refused:
        of(token="se\ncret")
    assert "cret" not in str(refused.value)
    with pytest.raises(ValueError, match="^METAGOV_CA: /nowhere: No such file"):
        of(endpoint="https://example.org", ca="/nowhere")
