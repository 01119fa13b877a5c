"""Check what tasks declare of their documents, before anything is asked of a model."""

from __future__ import annotations

from evalrun_runner.benchmarks import values
from evalrun_runner.benchmarks.declared import check_fields, declared_fields
from evalrun_runner.benchmarks.load import LoadedBenchmarks
from evalrun_runner.errors import InputError


def check_declarations(loaded: LoadedBenchmarks) -> None:
    """Check ``metadata.evalrun`` of every leaf task against its first document.

    Raises:
        InputError: It holds an unknown key, or names a field that the document does not have.
    """
    for leaf in loaded.leaves:
        try:
            declared = declared_fields(leaf.task.get_config("metadata"))
            if declared.names:
                check_fields(declared, list(values.decode(leaf.recipe.first_doc)))
        except InputError as error:
            raise InputError(f"task {leaf.name}: {error}") from error
