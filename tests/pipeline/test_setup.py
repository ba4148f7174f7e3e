"""`make setup` behind a TLS-inspecting proxy, whose certificate authority uv does not know."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import http.server
import os
import shutil
import ssl
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.conftest import ROOT

# A build backend inside the package: nothing has to be downloaded to build it.
_BACKEND = """\
import zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "ours-1.0-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        wheel.writestr("ours.py", "")
        info = "ours-1.0.dist-info"
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: ours\\nVersion: 1.0\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name
"""  # noqa: E501 - the content of a file
_PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "ours"
version = "1.0"
"""
# `make` puts uv on the PATH for tests; for a single test run by hand this does.
_PATH = f"{os.environ['PATH']}{os.pathsep}{ROOT / '.uv' / 'bin'}"
_UNTRUSTED = "invalid peer certificate: UnknownIssuer"


@dataclass(frozen=True)
class Index:
    """A package index over HTTPS with one package.

    Attributes:
        url: Its address.
        authority: PEM file of the certificate authority.
        sha256: Digest of the package.
    """

    url: str
    authority: Path
    sha256: str


def _write_certificates(folder: Path) -> None:
    """Write `ca.pem`, and `server.pem` with key and certificate of localhost."""
    now = dt.datetime.now(dt.UTC)
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name, name = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
        for text in ("TLS-inspecting proxy", "localhost")
    )

    def certify(subject: x509.Name, public_key: ec.EllipticCurvePublicKey, *, is_ca: bool) -> bytes:
        builder = x509.CertificateBuilder(authority_name, subject, public_key)
        builder = builder.serial_number(1 if is_ca else 2)
        builder = builder.not_valid_before(now - dt.timedelta(days=1))
        builder = builder.not_valid_after(now + dt.timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(is_ca, None), critical=True)
        names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        builder = builder if is_ca else builder.add_extension(names, critical=False)
        certificate = builder.sign(authority_key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM)

    own_key = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    authority = certify(authority_name, authority_key.public_key(), is_ca=True)
    (folder / "ca.pem").write_bytes(authority)
    server = certify(name, key.public_key(), is_ca=False)
    (folder / "server.pem").write_bytes(own_key + server)


def _write_package(folder: Path) -> str:
    """Write a wheel and its index page; return the wheel's digest."""
    folder.mkdir(parents=True)
    wheel = folder / "locked-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        info = "locked-1.0.dist-info"
        file.writestr("locked.py", "")
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: locked\nVersion: 1.0\n")
        tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        file.writestr(f"{info}/WHEEL", tags)
        file.writestr(f"{info}/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (folder / "index.html").write_text(f'<a href="{wheel.name}#sha256={digest}">{wheel.name}</a>')
    return digest


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    folder = tmp_path_factory.mktemp("index")
    _write_certificates(folder)
    sha256 = _write_package(folder / "files" / "simple" / "locked")
    handler = functools.partial(_Handler, directory=str(folder / "files"))
    server = http.server.ThreadingHTTPServer(("localhost", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"https://localhost:{server.server_port}/simple"
    yield Index(url, folder / "ca.pem", sha256)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def clone(index: Index, tmp_path: Path) -> Path:
    """A folder with the real Makefile and setup script, and a package without dependencies."""
    folder = tmp_path / "clone"
    folder.mkdir()
    for name in ("Makefile", "setup.sh"):
        shutil.copy(ROOT / name, folder)
    (folder / "pyproject.toml").write_text(_PYPROJECT)
    (folder / "backend.py").write_text(_BACKEND)
    (folder / "requirements.lock").write_text(f"locked==1.0 --hash=sha256:{index.sha256}\n")
    return folder


def make_setup(clone: Path, index: Index, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `make setup` with no certificate setting other than the given ones."""
    removed = ("SSL_CERT", "REQUESTS_CA", "CURL_CA", "PIP_", "UV_", "MAKE", "MFLAGS")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(removed)}
    settings = {
        "PATH": _PATH,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": index.url,
        "PIP_RETRIES": "0",
        "UV_DEFAULT_INDEX": index.url,
        "UV_NO_CACHE": "1",
        "UV_NO_CONFIG": "1",
        "PYTHON": getattr(sys, "_base_executable", sys.executable),
    }
    return subprocess.run(
        ["make", "setup"],
        cwd=clone,
        env=inherited | settings | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def is_installed(clone: Path) -> bool:
    command = [str(clone / ".venv" / "bin" / "python"), "-c", "import locked, ours"]
    imported = subprocess.run(command, capture_output=True, check=False).returncode == 0
    return imported and (clone / ".venv" / "bin" / ".synced").exists()


def fake_uv(folder: Path, condition: str) -> str:
    """Write a uv that rejects all certificates unless a shell condition holds; return a PATH."""
    real = shutil.which("uv", path=_PATH)
    assert real is not None
    folder.mkdir()
    (folder / "uv").write_text(
        "#!/bin/bash\n"
        f'if [ "$1" = venv ] || [[ "$*" = *--help* ]] || {{ {condition}; }}; then\n'
        f'  SSL_CERT_FILE=${{TRUSTED:-}} exec {real} "$@"\n'
        f'fi\necho "error: {_UNTRUSTED}" >&2\nexit 2\n'
    )
    (folder / "uv").chmod(0o755)
    return f"{folder}{os.pathsep}{_PATH}"


def test_a_trusted_index_needs_no_second_try(clone: Path, index: Index) -> None:
    completed = make_setup(clone, index, SSL_CERT_FILE=str(index.authority))
    assert completed.returncode == 0, completed.stderr
    assert completed.stderr == ""
    assert is_installed(clone)


def test_the_certificate_setting_of_pip_is_used_for_uv(clone: Path, index: Index) -> None:
    completed = make_setup(clone, index, PIP_CERT=str(index.authority))
    assert completed.returncode == 0, completed.stderr
    assert "installed with pip's certificate setting" in completed.stderr
    assert f"set SSL_CERT_FILE={index.authority}" in completed.stderr
    assert is_installed(clone)


def test_a_certificate_in_the_configuration_file_of_pip_is_used_too(
    clone: Path, index: Index, tmp_path: Path
) -> None:
    config = tmp_path / "pip.conf"
    config.write_text(f"[global]\ncert = {index.authority}\n")
    completed = make_setup(clone, index, PIP_CONFIG_FILE=str(config))
    assert completed.returncode == 0, completed.stderr
    assert "installed with pip's certificate setting" in completed.stderr
    assert is_installed(clone)


def test_the_certificates_of_the_system_are_tried_first(
    clone: Path, index: Index, tmp_path: Path
) -> None:
    path = fake_uv(tmp_path / "bin", '[ "${UV_SYSTEM_CERTS:-}${UV_NATIVE_TLS:-}" = true ]')
    trusted = str(index.authority)
    completed = make_setup(clone, index, PATH=path, TRUSTED=trusted, PIP_CERT=trusted)
    assert completed.returncode == 0, completed.stderr
    assert "installed with the system's certificates" in completed.stderr
    assert is_installed(clone)


def test_pip_is_used_if_uv_rejects_the_certificate_in_every_way(
    clone: Path, index: Index, tmp_path: Path
) -> None:
    path = fake_uv(tmp_path / "bin", "false")
    completed = make_setup(clone, index, PATH=path, PIP_CERT=str(index.authority))
    assert completed.returncode == 0, completed.stderr
    assert "installed with pip, because uv rejects the certificate" in completed.stderr
    assert is_installed(clone)


def test_without_any_trusted_certificate_the_message_says_what_to_set(
    clone: Path, index: Index
) -> None:
    completed = make_setup(clone, index)
    assert completed.returncode != 0
    assert "uv rejects the certificate, and pip failed too" in completed.stderr
    assert "SSL_CERT_FILE (for uv) and PIP_CERT (for pip)" in completed.stderr
    assert not is_installed(clone)


def test_another_error_is_not_tried_again_with_pip(clone: Path, index: Index) -> None:
    (clone / "requirements.lock").write_text(f"locked==1.0 --hash=sha256:{'0' * 64}\n")
    authority = str(index.authority)
    completed = make_setup(clone, index, SSL_CERT_FILE=authority, PIP_CERT=authority)
    assert completed.returncode != 0
    assert "ash mismatch" in completed.stderr
    assert "certificate" not in completed.stderr
    assert not is_installed(clone)
