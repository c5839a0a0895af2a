"""The secrets of an environment: all derived from one, so that only one has to be kept."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

from devenv.core.redact import Redactor


class Secrets:
    """Passwords and keys by name. The same master gives the same secrets on every machine.

    :param redact: told each secret that is handed out, so that none reaches a log.
    """

    def __init__(self, master: str, redact: Redactor) -> None:
        self._master = master.encode()
        self._redact = redact
        redact.add([master])

    @staticmethod
    def new_master() -> str:
        """256 random bits as text."""
        return secrets.token_hex(32)

    def password(self, name: str) -> str:
        """24 letters and digits that need no quoting anywhere."""
        text = base64.b32encode(self._derive(f"password/{name}")).decode().lower()[:24]
        self._redact.add([text])
        return text

    def fernet_key(self, name: str) -> str:
        """32 bytes in URL-safe base64, the form of a Fernet key."""
        text = base64.urlsafe_b64encode(self._derive(f"fernet/{name}")).decode()
        self._redact.add([text])
        return text

    def _derive(self, name: str) -> bytes:
        return hmac.digest(self._master, name.encode(), hashlib.sha256)
