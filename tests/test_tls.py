"""The road to Spotify over TLS, and through a proxy of the environment."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import connections
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from stand_in import StandIn
from tests.conftest import Browser, Clock, MakeApp


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 and its key, which nobody trusts by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stand-in")])
    now = datetime.datetime.now(datetime.timezone.utc)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    path.write_bytes(
        certificate.public_bytes(pem)
        + key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return path


@pytest.fixture
def secure_spotify(certificate: Path, clock: Clock) -> Iterator[StandIn]:
    """The stand-in, over https."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    stand_in = StandIn(clock=clock)
    server = stand_in._server
    server.socket = context.wrap_socket(server.socket, server_side=True)
    stand_in.accounts_url = stand_in.url.replace("http:", "https:")
    stand_in.api_url = f"{stand_in.accounts_url}/v1"
    with stand_in:
        yield stand_in


def test_a_server_that_nobody_vouches_for_gets_no_secret(
    secure_spotify: StandIn, make_app: MakeApp
) -> None:
    bases = secure_spotify.accounts_url, secure_spotify.api_url
    app = make_app(accounts_url=bases[0], api_url=bases[1])
    browser = Browser(app, secure_spotify)
    assert browser.log_in().status_code == 502
    assert secure_spotify.count("token") == 0


def test_a_login_over_tls_ends_with_a_track(
    secure_spotify: StandIn,
    make_app: MakeApp,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    connections._ssl_context.cache_clear()
    try:
        bases = secure_spotify.accounts_url, secure_spotify.api_url
        app = make_app(accounts_url=bases[0], api_url=bases[1])
        browser = Browser(app, secure_spotify)
        assert browser.log_in().status_code == 307
        assert browser.json()["state"] == "playing"
    finally:
        connections._ssl_context.cache_clear()


def test_the_proxy_of_the_environment_is_used_but_not_for_this_machine(
    make_app: MakeApp, spotify: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as proxy:

        def refuse() -> None:
            connection, _ = proxy.accept()
            with connection:
                heard.append(connection.recv(4096))
                connection.sendall(b"HTTP/1.1 502 Not today\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        address = f"http://robin:secret@127.0.0.1:{proxy.getsockname()[1]}"
        monkeypatch.setenv("HTTPS_PROXY", address)
        monkeypatch.setenv("HTTP_PROXY", address)
        here = Browser(make_app(), spotify)
        assert here.log_in().status_code == 307
        assert not heard
        app = make_app(accounts_url="https://accounts.spotify.com")
        far = Browser(app, spotify)
        state = far.get("/login").headers["Location"].partition("state=")[2]
        path = f"/callback?code=x&state={state.partition('&')[0]}"
        assert far.get(path).status_code == 502
        thread.join()
    assert heard[0].startswith(b"CONNECT accounts.spotify.com:443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic " in heard[0]
