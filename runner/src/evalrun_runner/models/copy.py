"""Copying of a model to a folder that the user chooses."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from evalrun_runner.errors import InputError
from evalrun_runner.models.fetch import fetch_model
from evalrun_runner.models.types import LocalModel, ModelSource, ProgressCallback


def copy_model(source: ModelSource, output: Path, *, progress: ProgressCallback | None = None) -> LocalModel:
    """Copy a model into ``output`` and verify it. A folder that already contains it is verified and left unchanged.

    Raises:
        InputError: The folder contains something else or is not writable, or ``fetch_model`` refuses the model.
        StoreUnavailable: The model's origin could not be reached.
    """
    output = output.expanduser().resolve()
    if output.is_dir() and any(output.iterdir()):
        there = fetch_model(ModelSource(output.as_uri(), digest=source.digest), output.parent, progress=progress)
        if source.digest is None:
            raise InputError(
                f"{output} is not empty: it holds a model with the digest {there.digest}. Give --digest to accept that "
                "one, or another folder"
            )
        return there
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        # Work beside the target, so that the last step is a rename: if the folder exists, it is a complete model.
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as scratch:
            found = fetch_model(source, Path(scratch, "cache"), progress=progress)
            made = Path(scratch, "model")
            for name in found.files:
                target = made / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(found.path / name, target)
            made.replace(output)
    except PermissionError as error:
        raise InputError(f"--output {output}: {error.strerror}; give a folder that this user may write to") from error
    return LocalModel(output, found.digest, found.revision, found.files)
