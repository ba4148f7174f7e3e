#!/usr/bin/env bash
# Install the locked packages and this package into .venv; `make setup` calls it with the paths of uv and Python.
#
# uv has its own list of certificate authorities and does not read pip's settings: behind a TLS-inspecting proxy it fails
# where pip works. If uv rejects a certificate, this tries the system's certificates, then pip's certificate setting,
# then pip instead of uv. Any other error ends it at once.
set -euo pipefail
uv=$1 python=$2
venv=.venv/bin/python
log=$(mktemp)
trap 'rm -f "$log"' EXIT

with_uv() { # arguments: environment variables
  env "$@" "$uv" pip sync --quiet --require-hashes --python "$venv" requirements.lock >"$log" 2>&1 &&
    env "$@" "$uv" pip install --quiet --no-deps --python "$venv" --editable . >"$log" 2>&1
}

with_pip() { # unlike uv, pip leaves packages that are no longer in requirements.lock
  local pip=("$python" -m pip --quiet --disable-pip-version-check --python "$venv" install --no-deps)
  "${pip[@]}" --require-hashes --requirement requirements.lock >"$log" 2>&1 &&
    "${pip[@]}" --editable . >"$log" 2>&1
}

done_with() {
  cat "$log" >&2
  echo "make setup: installed with $1" >&2
  exit 0
}

stop_unless_certificate_error() {
  if ! grep -qiE 'peer certificate|CERTIFICATE_VERIFY_FAILED' "$log"; then
    cat "$log" >&2
    exit 1
  fi
}

[ -x "$venv" ] || "$uv" venv --quiet --python "$python" .venv

if with_uv; then
  cat "$log" >&2
  exit 0
fi
stop_unless_certificate_error
echo "make setup: uv rejects the certificate of the package index, probably that of a TLS-inspecting proxy" >&2
# An older uv calls this option native-tls, a newer one warns about the old name.
name=UV_NATIVE_TLS
if "$uv" pip sync --help 2>&1 | grep -q -- '--system-certs'; then name=UV_SYSTEM_CERTS; fi
if with_uv "$name=true"; then
  done_with "the system's certificates; to do so everywhere, set $name=true"
fi
stop_unless_certificate_error
# Not `pip config get`: it ignores the file that PIP_CONFIG_FILE names.
configured=$("$python" -m pip config list 2>/dev/null | sed -nE "s/^(global|install)\.cert='(.*)'$/\2/p" | tail -n 1 || true)
bundle=${PIP_CERT:-$configured}
if [ -n "$bundle" ]; then
  if with_uv "SSL_CERT_FILE=$bundle"; then
    done_with "pip's certificate setting; to let uv use it everywhere, set SSL_CERT_FILE=$bundle"
  fi
  stop_unless_certificate_error
fi
if with_pip; then
  done_with "pip, because uv rejects the certificate; to let uv accept it, set SSL_CERT_FILE to a PEM file with it"
fi
cat "$log" >&2
echo "make setup: uv rejects the certificate, and pip failed too (see above); ask your administrator for the proxy's CA" \
  "certificate as a PEM file, set SSL_CERT_FILE (for uv) and PIP_CERT (for pip) to its path, run make setup again" >&2
exit 1
