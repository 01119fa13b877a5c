"""Models on the Hugging Face hub, or a mirror of it, by huggingface_hub."""

from __future__ import annotations

import os
import re
import shutil
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
from huggingface_hub.utils.tqdm import tqdm

from evalrun_runner.errors import EvalRunError, InputError, StoreUnavailable, first_line
from evalrun_runner.models.parallel import patiently, run_all
from evalrun_runner.models.types import Listing, ModelSource, RemoteFile, Transfer

THREADS = 4
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TRANSIENT = frozenset({408, 425, 429})
_NOTES = ".cache"
"""Where huggingface_hub keeps unfinished files and its notes, below the directory that it downloads to."""
_ADVICE: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (
        OfflineModeIsEnabled,
        "is not in the cache, and HF_HUB_OFFLINE forbids to ask the hub. Unset it, or let model.revision be a commit "
        "that was fetched before.",
    ),
    # Before the missing repository, of which it is a kind.
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
"""What to do about the errors that a retry does not mend; the first that fits."""
T = TypeVar("T")


class HubOrigin:
    """A repository of models at one commit."""

    def __init__(self, source: ModelSource, patience_s: float) -> None:
        """Asks nothing of the hub yet. Raises InputError if the address is none."""
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
        self._api = HfApi(endpoint=self._endpoint)
        self.where = f"hf://{self._repo} at {self._asked} ({self._api.endpoint})"

    def pin(self) -> str:
        """The commit that the revision means now; a commit is taken as it is, without asking the hub."""
        if self._commit is None:
            info = self._ask(lambda token: self._api.model_info(self._repo, revision=self._asked, token=token))
            if info.sha is None:
                raise StoreUnavailable(f"{self.where}: the hub did not say which commit this is")
            self._commit = info.sha
        return self._commit

    def list(self) -> Listing:
        """All files of the commit. Raises InputError, StoreUnavailable."""
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
        """See ``Origin.download``. A file that was interrupted is begun again; whole ones are kept."""
        notes = into / _NOTES
        if notes.exists():  # of a process that was killed, with its unfinished files
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
        """Call with the token of now; once more if it was renewed while the hub refused the one before."""

        def explained() -> T:
            token = self._token()
            try:
                return call(token)
            except (
                OSError,  # among them most of the hub's own
                HFValidationError,
                XetDownloadError,
                httpx2.HTTPError,
            ) as error:
                if isinstance(error, OSError) and error.errno is not None:  # the disk's, not the hub's
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
        """What the user can do about an error of the hub's."""
        if type(error) is LocalEntryNotFoundError and error.__cause__:  # it only says that nothing is cached
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


def stay_offline() -> None:
    """From now on nothing in this process asks the hub: an engine is given a directory and needs nothing else."""
    # The library has read HF_HUB_OFFLINE when it was imported, which was before the model came from the hub.
    huggingface_hub.constants.HF_HUB_OFFLINE = True


def _is_transient(status: int) -> bool:
    return status in _TRANSIENT or status >= 500


def _counting(transfer: Transfer) -> type[tqdm]:
    """A progress bar, as huggingface_hub wants one, that shows nothing and counts into the transfer."""

    class Counting(tqdm):  # type: ignore[misc]  # huggingface_hub is untyped here, see pyproject.toml
        def __init__(self, *_: object, **__: object) -> None:
            super().__init__(disable=True)

        def update(self, n: float | None = 1) -> bool | None:
            transfer.advance(max(int(n or 0), 0))
            return None

    return Counting
