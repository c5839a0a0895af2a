"""The certificates that this machine trusts beyond its distribution's, for image builds."""

from __future__ import annotations

import os
from pathlib import Path

from devenv.core.errors import InputError

#: Where administrators add certificates: Debian's folder, Fedora's folder.
FOLDERS = (
    Path("/usr/local/share/ca-certificates"),
    Path("/etc/pki/ca-trust/source/anchors"),
)


def extra_certificates() -> bytes:
    """PEM certificates from ``$DEVENV_CA_BUNDLE``, else from the folders for local additions.

    Needed where something between a build and the package index inspects TLS; empty elsewhere.

    :raises InputError: when ``$DEVENV_CA_BUNDLE`` names no readable file.
    """
    chosen = os.environ.get("DEVENV_CA_BUNDLE")
    if chosen:
        try:
            return Path(chosen).read_bytes()
        except OSError as error:
            raise InputError(f"DEVENV_CA_BUNDLE={chosen}: {error.strerror}") from error
    files = [path for folder in FOLDERS if folder.is_dir() for path in sorted(folder.rglob("*"))]
    parts = [path.read_bytes() for path in files if path.suffix in (".crt", ".pem")]
    return b"".join(part if part.endswith(b"\n") else part + b"\n" for part in parts)
