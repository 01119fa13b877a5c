"""Models on the Hugging Face hub or a mirror of it, accessed through huggingface_hub."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import httpx2
import huggingface_hub.constants
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    XetDownloadError,
)
from huggingface_hub.utils._http import hf_request_event_hook, set_client_factory
from huggingface_hub.utils.tqdm import tqdm

from evalrun_runner.errors import EvalRunError, InputError, StoreUnavailable, first_line
from evalrun_runner.models.parallel import patiently, run_all
from evalrun_runner.models.types import Listing, ModelSource, RemoteFile, Transfer

THREADS = 4
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TRANSIENT = frozenset({408, 425, 429})
_NOTES = ".cache"
"""Folder in the download directory in which huggingface_hub stores unfinished files and metadata."""
_ADVICE: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (
        OfflineModeIsEnabled,
        "is not in the cache, and HF_HUB_OFFLINE forbids to ask the hub. Unset it, or let model.revision be a commit "
        "that was fetched before.",
    ),
    # A gated repository is a subclass of a missing one, so it must come first.
    (GatedRepoError, "is gated: accept its terms on the hub, and give a token of who did (HF_TOKEN)."),
    (DisabledRepoError, "was disabled by the hub."),
    (
        (RevisionNotFoundError, RemoteEntryNotFoundError),
        "is not there: the model has no such revision. Correct model.revision (a branch, a tag or a whole commit).",
    ),
    (
        (RepositoryNotFoundError, HFValidationError),
        "is not there, or is private. Correct model.uri, or give a token that may read it (HF_TOKEN).",
    ),
)
"""Advice for the errors that a retry does not fix; the first match applies."""
T = TypeVar("T")


class HubOrigin:
    """Model repository at one commit."""

    def __init__(self, source: ModelSource, patience_s: float) -> None:
        """Parse the address without contacting the hub.

        Args:
            source: The model; ``hf://org/name``.
            patience_s: Maximum time to wait for the hub, in seconds, for each part of a download.

        Raises:
            InputError: The address is not valid.
        """
        self._repo = source.uri.removeprefix("hf://").strip("/")
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", self._repo):
            raise InputError(
                f"model.uri: {source.uri!r} is no model of the hub; expected hf://org/name (a revision goes to "
                "model.revision)."
            )
        self._asked = source.revision or "main"
        self._commit = self._asked if _COMMIT.fullmatch(self._asked) else None
        self._token_file = source.token_file
        self._endpoint = source.endpoint or os.environ.get("HF_ENDPOINT") or None
        self._patience_s = patience_s
        if source.ca_bundle is not None:
            trust(Path(source.ca_bundle))
        self._api = HfApi(endpoint=self._endpoint)
        self.where = f"hf://{self._repo} at {self._asked} ({self._api.endpoint})"

    def pin(self) -> str:
        """Resolve the revision to a commit; a commit is returned as it is, without contacting the hub."""
        if self._commit is None:
            info = self._ask(lambda token: self._api.model_info(self._repo, revision=self._asked, token=token))
            if info.sha is None:
                raise StoreUnavailable(f"{self.where}: the hub did not say which commit this is")
            self._commit = info.sha
        return self._commit

    def list(self) -> Listing:
        """List all files of the commit.

        Raises:
            InputError: The hub refuses access, or has no such model or revision.
            StoreUnavailable: The hub could not be reached for longer than the patience.
        """
        commit = self.pin()
        info = self._ask(
            lambda token: self._api.model_info(self._repo, revision=commit, files_metadata=True, token=token)
        )
        return Listing(
            tuple(
                RemoteFile(
                    name=each.rfilename,
                    size=each.size or 0,
                    version=each.blob_id or "",
                    sha256=each.lfs.sha256 if each.lfs else None,
                )
                for each in info.siblings or ()
            )
        )

    def download(self, files: Sequence[RemoteFile], into: Path, transfer: Transfer) -> None:
        """Download files as ``Origin.download``. An interrupted file starts again; complete files are kept."""
        notes = into / _NOTES
        if notes.exists():  # left by a process that was killed, with its unfinished files
            shutil.rmtree(notes)
        missing = [file for file in files if not (into / file.name).exists()]
        transfer.advance(sum(file.size for file in files) - sum(file.size for file in missing))
        run_all([partial(self._download, file, into, transfer) for file in missing], THREADS, transfer)
        if notes.exists():
            shutil.rmtree(notes)

    def _download(self, file: RemoteFile, into: Path, transfer: Transfer) -> None:
        self._ask(
            lambda token: hf_hub_download(
                self._repo,
                file.name,
                revision=self.pin(),
                local_dir=into,
                endpoint=self._endpoint,
                token=token,
                tqdm_class=_counting(transfer),
            ),
            transfer.stopped,
        )

    def _ask(self, call: Callable[[str | None], T], stopped: threading.Event | None = None) -> T:
        """Call with the current token, and once more if it was renewed while the hub refused the previous one."""

        def explained() -> T:
            token = self._token()
            try:
                return call(token)
            except (
                OSError,  # includes most of the hub's own errors
                HFValidationError,
                XetDownloadError,
                httpx2.HTTPError,
            ) as error:
                if isinstance(error, OSError) and error.errno is not None:  # from the disk, not from the hub
                    raise
                if self._token() != token:
                    return explained()
                raise self._explained(error) from error

        return patiently(explained, self._patience_s, stopped)

    def _token(self) -> str | None:
        if self._token_file is None:
            return None
        try:
            return Path(self._token_file).read_text().strip()
        except OSError as error:
            raise InputError(f"the token {self._token_file} cannot be read: {error.strerror}") from error

    def _explained(self, error: BaseException) -> EvalRunError:
        """Convert an error of the hub into one that says what the user can do."""
        if type(error) is LocalEntryNotFoundError and error.__cause__:  # says only that nothing is cached
            return self._explained(error.__cause__)
        for kinds, advice in _ADVICE:
            if isinstance(error, kinds):
                return InputError(f"{self.where} {advice}")
        if isinstance(error, HfHubHTTPError) and not _is_transient(error.response.status_code):
            return InputError(
                f"{self.where}: the hub refused: {first_line(error)}. "
                "Check the token (HF_TOKEN) and the endpoint (HF_ENDPOINT)."
            )
        return StoreUnavailable(f"{self.where}: {first_line(error)}. Check the network and HF_ENDPOINT")


def trust(bundle: Path) -> None:
    """Trust further certificate authorities in all requests of this process to the hub.

    The system's stay trusted, because a mirror may redirect to the hub's own storage.

    Raises:
        InputError: The file has no certificates.
    """
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(cafile=bundle)
    except (OSError, ssl.SSLError) as error:
        raise InputError(
            f"model.storage.caBundleRef: {bundle.name} cannot be read as certificates: {first_line(error)}; expected "
            "PEM (-----BEGIN CERTIFICATE-----)"
        ) from error

    def client() -> httpx2.Client:
        # As the library's own, with other certificates.
        return httpx2.Client(
            event_hooks={"request": [hf_request_event_hook]}, follow_redirects=True, timeout=None, verify=context
        )

    set_client_factory(client)


def stay_offline() -> None:
    """Keep this process from contacting the hub: an engine gets a directory and needs nothing else."""
    # The library read HF_HUB_OFFLINE when it was imported, before the model was fetched from the hub.
    huggingface_hub.constants.HF_HUB_OFFLINE = True


def _is_transient(status: int) -> bool:
    return status in _TRANSIENT or status >= 500


def _counting(transfer: Transfer) -> type[tqdm]:
    """Make a progress bar class for huggingface_hub that displays nothing and reports to the transfer."""

    class Counting(tqdm):  # type: ignore[misc]  # huggingface_hub is untyped here, see pyproject.toml
        def __init__(self, *_: object, **__: object) -> None:
            super().__init__(disable=True)

        def update(self, n: float | None = 1) -> bool | None:
            transfer.advance(max(int(n or 0), 0))
            return None

    return Counting
