"""Nothing is sent to where it must not go, and nothing waits for ever."""

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import ParetrackError
from service.callouts import (
    Allowed,
    Answer,
    NotAllowed,
    NotReached,
    allowed_from_words,
    checked_addresses,
    is_public,
    post,
    target_of,
    tls_context,
)
from service.errors import Problem
from service.settings import read_settings
from service.webhooks import check_url
from tests.service.receiver import receiving


def send(url: str, addresses: Sequence[str], seconds: float = 60, **more: object) -> Answer:
    tls = more.pop("tls", None) or tls_context()
    return post(target_of(url), addresses, {}, b"{}", tls, seconds, **more)  # type: ignore[arg-type]


# --- which addresses ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254",
        "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.168.1.1",
        "198.18.0.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
        "168.63.129.16", "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "fe80::1", "fec0::1",
        "fc00::1", "fd00:ec2::254", "ff02::1", "2001::1", "2001:db8::1", "2002:7f00:1::",
        "100::1", "3fff::1", "5f00::1",
    ],
)  # fmt: skip
def test_an_address_that_is_not_for_everybody_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "8.8.8.8", "172.32.0.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::808:808"],
)
def test_an_address_of_the_public_network_is_public(address: str) -> None:
    assert is_public(ip_address(address))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_in_the_clothes_of_ipv6_stays_what_it_is(address: IPv4Address) -> None:
    mapped = IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)
    nat64 = IPv6Address(IPv6Address("64:ff9b::").packed[:12] + address.packed)
    assert is_public(mapped) == is_public(nat64) == is_public(address)


@given(st.ip_addresses())
def test_what_python_does_not_take_for_global_is_not_public(
    address: IPv4Address | IPv6Address,
) -> None:
    in_ipv6 = isinstance(address, IPv6Address) and (
        address.ipv4_mapped is not None or str(address).startswith("64:ff9b::")
    )
    if not in_ipv6 and (not address.is_global or address.is_multicast or address.is_reserved):
        assert not is_public(address)


# --- which URLs ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "", "hooks", "ftp://example.com/", "file:///etc/passwd", "gopher://127.0.0.1:6379/",
        "http://", "http:///path", "http://ann:secret@1.1.1.1/", "http://ann@1.1.1.1/",
        "http://1.1.1.1:0/", "http://1.1.1.1:99999/", "http://1.1.1.1:x/", "http://1.1.1.1/#a",
        "http://1.1.1.1\\@127.0.0.1/", "http://1.1.1.1/\r\nX-Evil: 1", "http://1.1.1.1/ a",
        "http://1.1.1.1/\t", "http://exämple.com/", "http://[::1", "http://[fe80::1%25eth0]/",
        "http://[1.1.1.1]/", "http://a_b,c/", "http://1.1.1.1/" + "a" * 2000,
    ],
)  # fmt: skip
def test_what_is_no_plain_url_is_refused(url: str) -> None:
    with pytest.raises(NotAllowed):
        target_of(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/", "http://LOCALHOST/", "http://127.0.0.1:8000/", "http://127.1/",
        "http://2130706433/", "http://0x7f.0.0.1/", "http://0177.0.0.1/", "http://0/",
        "http://[::1]:80/", "http://[::ffff:127.0.0.1]/", "http://[64:ff9b::7f00:1]/",
        "http://169.254.169.254/latest/meta-data/", "https://10.0.0.1/", "http://[fd00:ec2::254]/",
    ],
)  # fmt: skip
def test_a_url_that_leads_inside_is_refused_with_a_pointer_and_what_to_do(url: str) -> None:
    with pytest.raises(Problem) as caught:
        check_url(url, Allowed())
    assert caught.value.status == 422
    assert caught.value.faults[0].pointer == "/url"
    assert "PARETRACK_WEBHOOK_ALLOW" in caught.value.detail


def test_a_name_with_one_inner_address_among_public_ones_is_refused() -> None:
    target = target_of("https://hooks.example/")
    with pytest.raises(NotAllowed):
        checked_addresses(target, Allowed(), lambda *_: ["1.1.1.1", "10.0.0.1"])
    assert checked_addresses(target, Allowed(), lambda *_: ["1.1.1.1"]) == ["1.1.1.1"]


def test_a_refusal_does_not_tell_the_addresses_of_inner_names() -> None:
    with pytest.raises(NotAllowed) as caught:
        target = target_of("https://hooks.example/")
        checked_addresses(target, Allowed(), lambda *_: ["10.11.12.13"])
    assert "10.11" not in str(caught.value)


def test_an_operator_allows_names_addresses_and_networks() -> None:
    allowed = allowed_from_words(["Hooks.internal", "10.1.0.0/16", "::1"])
    inner = target_of("http://hooks.internal:9/x?y")
    assert checked_addresses(inner, allowed, lambda *_: ["192.168.0.9"]) == ["192.168.0.9"]
    other = target_of("http://other.internal/")
    assert checked_addresses(other, allowed, lambda *_: ["10.1.2.3", "::1"])
    with pytest.raises(NotAllowed):
        checked_addresses(other, allowed, lambda *_: ["10.2.0.1"])


def test_a_name_that_nobody_knows_is_said_to_be_unknown() -> None:
    def unknown(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(NotReached, match=r"hooks\.example was not found: Name or service"):
        checked_addresses(target_of("https://hooks.example/"), Allowed(), unknown)
    with pytest.raises(NotReached, match="not found"):  # longer than any name may be
        checked_addresses(target_of(f"https://{'a' * 100}.example/"), Allowed())


def test_the_setting_is_read_once_and_a_word_that_means_nothing_is_named() -> None:
    settings = read_settings({"PARETRACK_WEBHOOK_ALLOW": " hooks.internal, 10.0.0.0/8,, "})
    assert settings.webhook_allow == ("hooks.internal", "10.0.0.0/8")
    assert read_settings({}).webhook_allow == ()
    with pytest.raises(ParetrackError, match=r"10\.0\.0\.1/8"):  # an address is no network
        read_settings({"PARETRACK_WEBHOOK_ALLOW": "10.0.0.1/8"})


# --- the connection -----------------------------------------------------------------------------


def test_the_connection_goes_to_the_checked_address_and_says_the_name() -> None:
    with receiving() as receiver:
        answer = send(f"http://hooks.example:{receiver.port}/a?b=%20", ["127.0.0.1"])
    assert answer == Answer(204, "")
    assert receiver.heard[0].headers["Host"] == f"hooks.example:{receiver.port}"
    assert receiver.heard[0].path == "/a?b=%20"


def test_the_next_address_is_tried_where_one_does_not_answer() -> None:
    with receiving() as receiver:
        send(f"http://hooks.example:{receiver.port}/", ["127.0.0.9", "127.0.0.1"])
    assert len(receiver.heard) == 1


def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as proxy, receiving() as receiver:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        send(f"http://hooks.example:{receiver.port}/", ["127.0.0.1"])
    assert (len(proxy.heard), len(receiver.heard)) == (0, 1)


def test_of_an_answer_only_a_short_printable_beginning_is_read() -> None:
    with receiving(status=500, answer="ä\0\x1b[31m\n".encode() + b"x" * 1_000_000) as receiver:
        answer = send(receiver.url, ["127.0.0.1"])
    assert answer.status == 500
    assert answer.excerpt.startswith("ä  [31m xxx")
    assert len(answer.excerpt) <= 200 and answer.excerpt.isprintable()


@contextmanager
def dripping(every: float) -> Iterator[int]:
    """A server that begins an answer and never ends it."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                while not over.wait(every):
                    try:
                        connection.sendall(b"H")
                    except OSError:
                        return

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            thread.join()


def test_who_answers_a_byte_at_a_time_is_left_after_the_whole_time() -> None:
    with dripping(0.05) as port, pytest.raises(NotReached, match=r"no whole answer within 0\.5 s"):
        send(f"http://127.0.0.1:{port}/", ["127.0.0.1"], 0.5)


def test_who_says_nothing_is_left_after_the_whole_time() -> None:
    with dripping(3600) as port, pytest.raises(NotReached, match=r"no whole answer within 0\.5 s"):
        send(f"http://127.0.0.1:{port}/", ["127.0.0.1"], 0.5)


def test_who_does_not_speak_http_is_not_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def nonsense() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"220 mail.example ESMTP\r\n")

        thread = threading.Thread(target=nonsense, daemon=True)
        thread.start()
        with pytest.raises(NotReached):
            send(f"http://127.0.0.1:{listener.getsockname()[1]}/", ["127.0.0.1"])
        thread.join()


def test_a_port_where_nobody_listens_is_not_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NotReached, match=r"127\.0\.0\.1"):
        send(f"http://127.0.0.1:{port}/", ["127.0.0.1"])


# --- TLS ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of hooks.example that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", key, "-out", certificate, "-days", "2",
         "-subj", "/CN=hooks.example", "-addext", "subjectAltName=DNS:hooks.example"],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


@contextmanager
def tls_server(certificate: Path, key: Path, names: list[str | None]) -> Iterator[int]:
    """Answers one request; ``names`` gets what the client says whom it wants."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            try:
                with context.wrap_socket(connection, server_side=True) as encrypted:
                    # All of it: what is closed with something unread is reset, answer and all.
                    heard = b""
                    while not heard.endswith(b"{}"):
                        heard += encrypted.recv(65536)
                    encrypted.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            except OSError:  # the client does not trust it
                connection.close()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def test_tls_asks_for_the_name_and_checks_the_certificate_of_the_name(
    certificate: tuple[Path, Path],
) -> None:
    names: list[str | None] = []
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    with tls_server(*certificate, names) as port:
        answer = send(f"https://hooks.example:{port}/", ["127.0.0.1"], tls=trusting)
    assert answer.status == 200
    assert names == ["hooks.example"]
    with tls_server(*certificate, names) as port, pytest.raises(NotReached, match="certificate"):
        send(f"https://other.example:{port}/", ["127.0.0.1"], tls=trusting)
    with tls_server(*certificate, names) as port, pytest.raises(NotReached, match="certificate"):
        send(f"https://hooks.example:{port}/", ["127.0.0.1"])


def test_a_name_service_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr("service.callouts.RESOLVE_SECONDS", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: over.wait(60) and [])
    began = time.monotonic()
    with pytest.raises(NotReached, match="no answer within"):
        checked_addresses(target_of("https://hooks.example/"), Allowed())
    over.set()
    assert time.monotonic() - began < 30
