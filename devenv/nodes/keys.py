"""The SSH key pair of an environment."""

from __future__ import annotations

from pathlib import Path


def key_pair(folder: Path) -> tuple[Path, str]:
    """The private key's path and the public key's line; made (ed25519, mode 0600) if not there."""
    private = folder / "id_ed25519"
    public = folder / "id_ed25519.pub"
    if not (private.exists() and public.exists()):
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        key = Ed25519PrivateKey.generate()
        private.unlink(missing_ok=True)
        private.touch(mode=0o600)
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.OpenSSH,
                serialization.NoEncryption(),
            )
        )
        line = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        public.write_text(line.decode() + " devenv\n")
    return private, public.read_text().strip()
