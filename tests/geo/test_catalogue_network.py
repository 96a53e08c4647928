"""Requests to servers that misbehave, and addresses that are refused."""

from __future__ import annotations

import logging
import socket

import pytest
from range_server import range_server

from geo.catalogue.network import Network, Policy, RequestTally, redacted
from geo.errors import NetworkError, UnavailableError


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    (folder / "a.json").write_text('{"a": 1}')
    with range_server(folder) as running:
        yield running


@pytest.fixture
def network(server):
    return Network(Policy(frozenset({server.host})), backoff_s=0.001, read_s=0.4, attempts=3)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.org/x",
        "s3://bucket/key",
        "/etc/passwd",
        "../../x",
        "http://example.org/x",
        "https://user:word@example.org/x",
        "https://127.0.0.1/x",
        "https://localhost/x",
        "https://yard.internal/x",
        "https://169.254.169.254/latest/meta-data",
        "https://10.1.2.3/x",
        "https://[::1]/x",
        "https://[fe80::1]/x",
        "https://[::ffff:127.0.0.1]/x",
        "https://[64:ff9b::7f00:1]/x",
        "https://2130706433/x",
        "https://127.1/x",
        "https://0/x",
        "https://224.0.0.1/x",
        "https://exa mple.org:port/x",
        "https:///x",
    ],
)
def test_addresses_that_are_refused(url):
    with pytest.raises(NetworkError):
        Policy().check(url)


def test_addresses_that_are_followed():
    Policy().check("https://earth-search.aws.element84.com/v1")
    Policy(frozenset({"10.1.2.3"})).check("http://10.1.2.3:8080/x")
    Policy(frozenset({"yard.internal:8080"})).check("http://yard.internal:8080/x")
    with pytest.raises(NetworkError, match="--allow-host"):
        Policy(frozenset({"yard.internal:8080"})).check("http://yard.internal:81/x")


def test_a_public_name_with_a_private_address_is_refused(monkeypatch):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.168.0.1", 443))]
    for name in ("https_proxy", "HTTPS_PROXY"):  # a proxy would resolve the name itself
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(NetworkError, match=r"its address 192.168.0.1 is a private one"):
        Network(attempts=1).ask("https://rebound.example.org/x?sig=secret")


def test_a_link_is_shown_without_its_tokens():
    shown = redacted("https://user:word@a.example/b/c.tif?sig=SECRET&x=1#SECRET")
    assert shown == "https://a.example/b/c.tif"
    assert redacted("https://a/\x1b[31mred") == "https://a/?[31mred"


@pytest.mark.parametrize("fault", ["busy2", "fails2", "hang1"])
def test_a_passing_fault_is_tried_again(server, network, fault):
    traffic = RequestTally()
    answer = network.ask(f"{server.url}/fault/{fault}/a.json", traffic=traffic)
    assert answer.content == b'{"a": 1}'
    assert traffic.requests == int(fault[-1]) + 1
    assert traffic.retries == int(fault[-1])


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        ("status404", NetworkError, "it isn't there"),
        ("status401", NetworkError, "it asks for a login"),
        ("status500", UnavailableError, "fails with status 500"),
        ("status429", UnavailableError, "too many requests"),
        ("hang", UnavailableError, "doesn't answer in time"),
        ("loop", NetworkError, "redirects in a loop"),
        ("private", NetworkError, "169.254.169.254.*is refused"),
        ("local-file", NetworkError, "only https links"),
        ("bomb", NetworkError, "isn't read"),
    ],
)
def test_a_fault_that_stays_is_one_sentence_without_tokens(server, network, caplog, fault, kind, said):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(kind, match=said) as caught:
        network.ask(f"{server.url}/fault/{fault}/a.json?sig=SECRET", limit=1_000_000)
    assert type(caught.value) is kind
    assert "SECRET" not in str(caught.value)
    ours = [one.getMessage() for one in caplog.records if one.name.startswith(("geo", "railwatch"))]
    assert not [text for text in ours if "SECRET" in text]


def test_rights_stay_with_the_host_they_were_given_for(server, network, tmp_path):
    with range_server(tmp_path) as other:
        (tmp_path / "b.json").write_text("{}")
        elsewhere = Network(Policy(frozenset({server.host, other.host})))
        elsewhere.ask(f"{server.url}/a.json", headers={"Authorization": "Bearer x"})
        assert server.asked()[-1]["authorization"] == "Bearer x"
        elsewhere.ask(f"{server.url}/fault/onward/a.json", headers={"Authorization": "Bearer x"})
        assert server.asked()[-1]["authorization"] == "Bearer x"
        port = other.host.partition(":")[2]
        elsewhere.ask(f"{server.url}/fault/port{port}/b.json", headers={"Authorization": "Bearer x"})
        assert other.asked()[-1]["authorization"] is None


def test_a_server_that_is_gone(network):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    gone = Network(Policy(frozenset({"127.0.0.1"})), backoff_s=0.001, attempts=2)
    with pytest.raises(UnavailableError, match=r"can't be reached \(tried 2 times\)"):
        gone.ask(f"http://127.0.0.1:{port}/x")


def test_requests_say_who_asks(server, network):
    network.ask(f"{server.url}/a.json")
    assert server.asked()[-1]["agent"].startswith("railwatch")
