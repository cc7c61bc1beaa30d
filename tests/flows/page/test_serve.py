"""Where the page may listen."""

import builtins
import socket
import sys

import pytest

from data.errors import ConfigError, InputError
from flows.page import serve
from flows.page.serve import Address, is_loopback, serve_run, site_of

EVERYWHERE = "0.0.0.0"  # noqa: S104 - to see it refused


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.5.6.7"])
def test_this_machines_own_addresses_need_nothing(host):
    assert is_loopback(host)
    Address(host=host).require_safe()


@pytest.mark.parametrize(
    "host", [EVERYWHERE, "::", "192.168.0.7", "10.0.0.1", "example.org", "", "127.0.0.1.example.org"]
)
def test_an_address_beyond_this_machine_is_refused_without_a_certificate(host):
    with pytest.raises(ConfigError, match="--certificate and --key, or leave --host out"):
        Address(host=host).require_safe()


def test_a_certificate_alone_or_a_missing_one_is_refused(tmp_path):
    (tmp_path / "c.pem").touch()
    with pytest.raises(ConfigError, match="belong together"):
        Address(host="10.0.0.1", certificate=tmp_path / "c.pem").require_safe()
    with pytest.raises(ConfigError, match=r"k\.pem: no such file"):
        Address(host="10.0.0.1", certificate=tmp_path / "c.pem", key=tmp_path / "k.pem").require_safe()


def test_even_with_a_certificate_one_address_is_named(tmp_path):
    pem = tmp_path / "c.pem"
    pem.touch()
    with pytest.raises(ConfigError, match="name one address"):
        Address(host=EVERYWHERE, certificate=pem, key=pem).require_safe()
    Address(host="10.0.0.1", certificate=pem, key=pem).require_safe()


def test_every_start_has_a_secret_of_its_own():
    one, other = (site_of(Address(), 7860) for _ in range(2))
    assert one.token != other.token
    assert len(one.token) >= 40
    assert one.hosts == {"127.0.0.1:7860", "localhost:7860"}
    assert site_of(Address(host="::1"), 1).hosts == {"[::1]:1", "127.0.0.1:1", "localhost:1"}


def test_a_port_that_is_taken_is_said_with_a_fix():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="give another --port"):
            serve._bound(Address(port=taken.getsockname()[1]))


def test_without_gradio_one_line_says_what_to_install(monkeypatch, capsys, tmp_path):
    real = builtins.__import__

    def absent(name, *given, **more):
        if name == "gradio":
            raise ModuleNotFoundError(name)
        return real(name, *given, **more)

    monkeypatch.delitem(sys.modules, "gradio", raising=False)
    monkeypatch.setattr(builtins, "__import__", absent)
    assert serve_run(tmp_path, Address(port=0)) == 2
    assert "requirements-page.lock" in capsys.readouterr().err


def test_a_refused_address_is_exit_code_2_before_anything_is_read(capsys, tmp_path):
    assert serve_run(tmp_path / "no-run", Address(host=EVERYWHERE)) == 2
    assert "beyond this machine" in capsys.readouterr().err
