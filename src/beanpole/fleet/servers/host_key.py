"""The key by which a server is known, and its fingerprint as OpenSSH prints it."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

ALGORITHMS = {
    "ssh-ed25519": ("ssh-ed25519",),
    "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
    "ecdsa-sha2-nistp384": ("ecdsa-sha2-nistp384",),
    "ecdsa-sha2-nistp521": ("ecdsa-sha2-nistp521",),
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}
"""Types of keys, best first, with their signatures. No SHA-1, and no certificates: a certificate cannot be pinned."""


@dataclass(frozen=True)
class HostKey:
    """A public key: its type, and its data in base64 as in known_hosts."""

    algorithm: str
    data: str

    @classmethod
    def read(cls, text: str) -> HostKey:
        """From `ssh-ed25519 AAAA…`, as str() writes it; a comment is ignored. ValueError for anything else."""
        words = text.split()
        if len(words) < 2 or words[0] not in ALGORITHMS:
            raise ValueError(f"not a host key: {text[:60]!r}; it looks like `ssh-ed25519 AAAA…`")
        try:
            base64.b64decode(words[1], validate=True)
        except binascii.Error as error:
            raise ValueError(f"not a host key: the data of {text[:60]!r} is not base64") from error
        return cls(words[0], words[1])

    @property
    def fingerprint(self) -> str:
        """`SHA256:…`, as `ssh-keygen -l` prints it."""
        digest = hashlib.sha256(base64.b64decode(self.data)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    def __str__(self) -> str:
        return f"{self.algorithm} {self.data}"


def preferred(pinned: HostKey | None) -> list[str]:
    """The signatures to ask for: first those of the pinned key, so that a server with several keys shows that one."""
    ordered = sorted(ALGORITHMS, key=lambda name: pinned is not None and name != pinned.algorithm)
    return [signature for name in ordered for signature in ALGORITHMS[name]]
