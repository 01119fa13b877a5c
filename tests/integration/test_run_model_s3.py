"""A run of a real engine whose model lies in a real S3: the driver looks, replicas bring, the ledger remembers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from evalrun_runner.models import model_digest
from evalrun_runner.store.credentials import ACCESS_KEY, SECRET_KEY
from evalrun_runner.store.s3 import S3Settings, make_client
from support.runs import Run, write_run, write_suite
from support.seaweed import Seaweed

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
QUESTIONS = 16
TINY_TOKENS = 8


@pytest.fixture(scope="module")
def model() -> Path:
    command = [sys.executable, str(ROOT / "scripts" / "small_model.py"), "--tiny"]
    made = subprocess.run(command, check=True, capture_output=True, text=True)
    return Path(made.stdout.splitlines()[0])


def upload(settings: S3Settings, folder: Path) -> None:
    client = make_client(settings)
    for file in folder.iterdir():
        client.upload_file(str(file), "checkpoints", f"tiny/{file.name}")


def file_of(seaweed: Seaweed, folder: Path) -> Path:
    keys = Path(str(seaweed.settings().credentials_dir))
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s3-read", "labels": {"evalrun.dev/use": "storage"}},
        "stringData": {name: (keys / name).read_text() for name in (ACCESS_KEY, SECRET_KEY)},
    }
    storage = {
        "endpointURL": seaweed.endpoint,
        "region": "us-east-1",
        "addressingStyle": "path",
        "credentialsSecretRef": {"name": "s3-read"},
    }
    suite = write_suite(folder / "suite", [f"What is {n} and {n}?" for n in range(QUESTIONS)])
    return write_run(
        folder / "run.yaml",
        suite,
        secret,
        model={"uri": "s3://checkpoints/tiny/", "storage": storage},
        engine={"vllm": {"maxModelLen": 512, "args": {"max_num_seqs": 8}}},
        benchmarks=[{"task": "sums", "source": {"path": str(suite)}, "generation": {"max_gen_toks": TINY_TOKENS}}],
    )


def test_the_driver_inspects_replicas_fetch_and_the_ledger_records_the_model(model: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    arguments = ["--output", output]
    with Seaweed(tmp_path / "s3") as seaweed:
        seaweed.create_bucket("checkpoints")
        upload(seaweed.settings(), model)
        surroundings = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
        file = file_of(seaweed, tmp_path)
        with Run(tmp_path, ["run", file, *arguments], environment=surroundings) as run:
            assert run.ended(300) == 0, run.stderr
        record = json.loads((output / "run.json").read_bytes())
        replicas = record["attempts"][0]["replicas"].values()
        digest = model_digest(model)
        assert {said["modelDigest"] for said in replicas} == {digest}
        assert {said["engineArgs"]["max_num_seqs"] for said in replicas} == {8}
        assert record["model"]["digest"] == json.loads((output / "model.json").read_bytes())["digest"] == digest
        assert len(list((tmp_path / "cache" / "evalrun" / "models").glob("*/model.safetensors"))) == 1, "they share it"

        with Run(tmp_path, ["run", file, *arguments], environment=surroundings) as again:
            assert again.ended(120) == 0, again.stderr
            assert "nothing is redone" in again.stderr
        with Run(
            tmp_path, ["run", file, *arguments, "--set", f"spec.model.digest={digest}"], environment=surroundings
        ) as named:
            assert named.ended(120) == 0, named.stderr
        # Another model in the same place is another plan.
        config = json.loads((model / "config.json").read_bytes())
        other = tmp_path / "config.json"
        other.write_text(json.dumps(config | {"note": "written again"}))
        make_client(seaweed.settings()).upload_file(str(other), "checkpoints", "tiny/config.json")
        with Run(tmp_path, ["run", file, *arguments], environment=surroundings) as changed:
            assert changed.ended(120) == 2, changed.stderr
            assert "holds another plan; these differ: model.listing" in changed.stderr
