"""S3 credentials in files, as in a mounted Secret, read for every request so that a rotation needs no restart.

No value is stored for longer than one request, and none is used for anything but the request's signature.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import botocore.session
from botocore.credentials import CredentialProvider, Credentials, ReadOnlyCredentials

from evalrun_runner.errors import StoreDenied

ACCESS_KEY, SECRET_KEY, SESSION_TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
"""Names of the files."""
_DENIED = frozenset({400, 401, 403})
"""Statuses of refusals that other credentials may fix; an expired token gives 400, without explanation for a HEAD."""
_TRIES = 5


class FileCredentials(Credentials):
    """Credentials that botocore reads before it signs a request."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._given = threading.local()
        super().__init__(self._value(ACCESS_KEY), self._value(SECRET_KEY), self._token(), method="evalrun-files")

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Read the files' current content.

        Raises:
            StoreDenied: A file of the pair is missing or unreadable.
        """
        self._given.credentials = now = self._read()
        return now

    def renewed(self) -> bool:
        """Return whether the files have changed since this thread last signed a request."""
        given = getattr(self._given, "credentials", None)
        return given is not None and self._read() != given

    def _read(self) -> ReadOnlyCredentials:
        # A Secret's volume changes all its files at once: never combine half of the old pair with half of the new one.
        for _ in range(_TRIES):
            before = self._stamps()
            found = ReadOnlyCredentials(self._value(ACCESS_KEY), self._value(SECRET_KEY), self._token(), None)
            if self._stamps() == before:
                break
        return found

    def _value(self, name: str) -> str:
        try:
            return (self._folder / name).read_text().strip()
        except OSError as error:
            raise StoreDenied(
                f"the credentials {self._folder / name} cannot be read: {error.strerror}; expected both {ACCESS_KEY} "
                f"and {SECRET_KEY} in the Secret"
            ) from error

    def _token(self) -> str | None:
        try:
            return (self._folder / SESSION_TOKEN).read_text().strip() or None
        except FileNotFoundError:
            return None

    def _stamps(self) -> list[tuple[int, int] | None]:
        return [_stamp(self._folder / name) for name in (ACCESS_KEY, SECRET_KEY, SESSION_TOKEN)]


class _Provider(CredentialProvider):
    METHOD = "evalrun-files"

    def __init__(self, credentials: FileCredentials) -> None:
        super().__init__()
        self._credentials = credentials

    def load(self) -> FileCredentials:
        return self._credentials


def use_in(session: botocore.session.Session, credentials: FileCredentials) -> None:
    """Make a session's clients sign with these credentials only."""
    session.get_component("credential_provider").providers.insert(0, _Provider(credentials))


def retry_when_renewed(client: Any, credentials: FileCredentials) -> None:
    """Make a client retry, with a new signature, a request that was denied while the files changed."""

    def needs_retry(response: Any = None, **_: object) -> int | None:
        denied = response is not None and response[0].status_code in _DENIED
        return 0 if denied and credentials.renewed() else None

    client.meta.events.register("needs-retry.s3", needs_retry)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_mtime_ns
