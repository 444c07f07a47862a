"""One letter to real receivers, whatever they do; and addresses that nothing is sent to."""

import asyncio
import ssl
from datetime import timedelta

import pytest

from taskyard.core.errors import Invalid
from taskyard.loops.guard import Guard, networks
from taskyard.loops.post import MOST_KEPT, Post
from taskyard.service.hooks import Letter
from tests.receiver import receiving, say, saying

HERE = networks(["127.0.0.0/8"])


def send(url, *, guard=None, timeout=10.0, verify=None, body=b'{"a":1}'):
    async def once():
        post = Post(
            guard or Guard(HERE), agent="Taskyard/test", timeout=timedelta(seconds=timeout), verify=verify
        )
        try:
            return await post(Letter(url=url, headers={"Content-Type": "application/json"}, body=body))
        finally:
            await post.close()

    return asyncio.run(once())


def guard_of(*addresses, allow=()):
    async def resolve(_host, _port):
        return addresses

    return Guard(networks(allow), resolve)


def test_a_letter_arrives_as_it_was_written():
    with receiving() as receiver:
        answer = send(receiver.url + "?a=b")

    [got] = receiver.received
    assert (answer.status, answer.error, answer.accepted) == (204, None, True)
    assert (got.path, got.body) == ("/hook?a=b", b'{"a":1}')
    assert got.headers["Content-Type"] == "application/json"
    assert got.headers["User-Agent"] == "Taskyard/test"
    assert got.headers["Host"] == f"127.0.0.1:{receiver.port}"


def test_a_refusal_is_told_with_a_little_of_what_it_says():
    with receiving() as receiver:
        receiver.answer = lambda _, request: say(request, 500, b"no\nroom \x00" + b"x" * 100_000)
        answer = send(receiver.url)

    assert answer.status == 500
    assert answer.error.startswith("500 Internal Server Error: no room ")
    assert len(answer.error) == MOST_KEPT
    assert "\x00" not in answer.error


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("7", 7), ("x", None), ("-1", None), ("9" * 40, None), ("Mon, 01 Jan 2001 00:00:00 GMT", 0)],
)
def test_when_to_come_back_is_heard(said, seconds):
    with receiving() as receiver:
        receiver.answer = lambda _, request: say(request, 503, b"", Retry_After=said)
        answer = send(receiver.url)

    assert answer.retry_after == (None if seconds is None else timedelta(seconds=seconds))


def test_a_redirect_is_a_failure_and_is_not_followed():
    with receiving() as target, receiving() as receiver:
        receiver.answer = lambda _, request: say(request, 307, b"", Location=target.url)
        answer = send(receiver.url)

    assert (answer.status, answer.accepted) == (307, False)
    assert "redirects are not followed" in answer.error
    assert target.received == []


def test_one_who_hangs_is_left():
    with receiving() as receiver:
        receiver.answer = lambda _, request: receiver.released.wait(30)
        answer = send(receiver.url, timeout=0.3)

    assert (answer.status, answer.error) == (None, "no answer within 0.3 s")


def test_one_who_sends_a_header_without_end_is_left():
    """Each byte comes in time; all together do not."""

    def drip(_, request):
        while not receiver.released.wait(0.02):
            request.wfile.write(b"HTTP/1.1 200 OK\r\nX: " if not dripped else b"x")
            dripped.append(1)

    dripped: list[int] = []
    with receiving() as receiver:
        receiver.answer = drip
        answer = send(receiver.url, timeout=0.3)

    assert (answer.status, answer.error) == (None, "no answer within 0.3 s")


def test_a_yes_counts_although_its_body_never_ends():
    def drip(_, request):
        request.send_response(200)
        request.end_headers()
        receiver.released.wait(30)

    with receiving() as receiver:
        receiver.answer = drip
        answer = send(receiver.url)

    assert answer.accepted


def test_the_body_of_a_refusal_is_read_as_far_as_it_is_kept():
    sent = []

    def pour(_, request):
        request.send_response(500)
        request.end_headers()
        try:
            for _ in range(10_000):
                request.wfile.write(b"x" * 100_000)
                sent.append(1)
        except OSError:
            pass

    with receiving() as receiver:
        receiver.answer = pour
        answer = send(receiver.url)

    assert answer.status == 500
    assert len(sent) < 1_000  # what the sockets took, of a gigabyte


@pytest.mark.parametrize(
    "raw",
    [
        b"garbage\r\n\r\n",
        b"",
        b"HTTP/1.1 999999 what\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"\x00" * 70_000,
    ],
)
def test_one_who_does_not_speak_http_has_not_answered(raw):
    with saying(raw) as url:
        answer = send(url)

    assert not answer.accepted
    assert answer.error


def test_one_who_is_not_there_has_not_answered():
    with receiving() as receiver:
        url = receiver.url
    answer = send(url)

    assert (answer.status, answer.accepted) == (None, False)
    assert "Connect" in answer.error


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "2130706433",
        "127.1",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:10.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "[fc00::1]",
        "[ff02::1]",
    ],
)
def test_nothing_is_sent_to_an_address_that_is_not_public(host):
    answer = send(f"http://{host}:9/", guard=Guard())

    assert answer.status is None
    assert answer.error.startswith("not sent: "), answer


def test_the_guard_looks_at_the_address_that_is_connected_to():
    """A name that is public when it is checked and private when it is connected to: it is asked once, and what was checked is taken."""
    answers = iter([["127.0.0.1"], ["127.0.0.2"]])
    asked = []

    async def resolve(host, _port):
        asked.append(host)
        return next(answers)

    with receiving() as receiver:
        url = f"http://rebinding.example:{receiver.port}/hook"
        answer = send(url, guard=Guard(networks(["127.0.0.1"]), resolve))

    assert answer.accepted
    assert asked == ["rebinding.example"]
    assert receiver.received[0].headers["Host"] == f"rebinding.example:{receiver.port}"


def test_of_several_addresses_one_that_may_be_sent_to_is_taken():
    with receiving() as receiver:
        url = f"http://many.example:{receiver.port}/hook"
        assert send(url, guard=guard_of("10.0.0.1", "127.0.0.1", allow=["127.0.0.1"])).accepted
        refused = send(url, guard=guard_of("10.0.0.1", "169.254.169.254"))

    assert refused.error == (
        "not sent: many.example is at 10.0.0.1, 169.254.169.254, which is not a public address"
    )
    assert len(receiver.received) == 1


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1/")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1/")
    with receiving() as receiver:
        assert send(receiver.url).accepted


def test_the_certificate_is_checked_for_the_name_and_not_for_the_address(tmp_path):
    chain, key = certificate(tmp_path, "receiver.example")
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(chain, key)
    trusts = ssl.create_default_context(cafile=str(chain))
    guard = guard_of("127.0.0.1", allow=["127.0.0.1"])
    with receiving() as receiver:
        receiver._server.socket = served.wrap_socket(receiver._server.socket, server_side=True)
        good = send(f"https://receiver.example:{receiver.port}/", guard=guard, verify=trusts)
        other = send(
            f"https://other.example:{receiver.port}/",
            guard=guard_of("127.0.0.1", allow=["127.0.0.1"]),
            verify=trusts,
        )

    assert good.accepted, good
    assert "CERTIFICATE_VERIFY_FAILED" in other.error


def certificate(folder, name):
    from datetime import UTC, datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    chain, private = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return chain, private


def test_networks_that_are_none_are_refused():
    with pytest.raises(Invalid, match="not appear to be"):
        networks(["all"])
