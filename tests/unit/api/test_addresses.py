"""Addresses that a run may name: none that leads back into its pods, its node or a cloud's metadata service."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalrun_api.addresses import has_userinfo, leads_inside
from evalrun_api.reading.parse import cluster_problems, parse_evalrun
from evalrun_api.reading.problems import InvalidInput
from evalrun_operator.observe.parse import parse_run
from support.evalruns import make_run

LOOPBACK, METADATA = 0x7F000001, 0xA9FEA9FE
PLACES = ("output", "model", "suite")


def named(url: str, place: str) -> dict[str, Any]:
    """Build a run that names an address in one of the places where it can."""
    storage, builder = {"endpointURL": url}, make_run()
    match place:
        case "output":
            builder.with_spec(output={"uri": "s3://evals/", "storage": storage})
        case "model":
            builder.with_spec(model={"uri": "hf://org/name", "storage": storage})
        case _:
            source = {"s3": {"uri": "s3://suites/mine/", "storage": storage}}
            builder.with_spec(benchmarks=[{"task": "mine", "source": source}])
    return builder.manifest()


def problem_of(url: str, place: str = "output") -> str | None:
    problem = parse_run(named(url, place))[1]
    return None if problem is None else problem.message


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LocalHost", "localhost.", "a.localhost", "ip6-loopback", "localtest.me", "x.lvh.me"),
        *("127.0.0.1", "127.0.0.1.", "127.8.9.10", "0.0.0.0", "0", "127.1", "127.0.1", "2130706433", "0x7f000001"),
        *("0x7f.0.0.1", "0177.0.0.1", "0177.1", "017700000001", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::127.0.0.1]"),
        *("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"),
        *("169.254.169.254", "169.254.1.1", "2852039166", "0xa9fea9fe", "0xA9.0xFE.0xA9.0xFE", "0251.0376.0251.0376"),
        *("169.254.43518", "[fe80::1]", "[FE80::A]", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]"),
        *("metadata", "metadata.google.internal", "instance-data", "[fd00:ec2::254]", "100.100.100.200"),
        *("127.0.0.1.nip.io", "x.127.0.0.1.nip.io", "169-254-169-254.sslip.io", "a9fea9fe.nip.io", "--1.sslip.io"),
        *("fe80--1.sslip.io", "127-0-0-1.my.own.domain.example"),
        # A bucket in front of a short address makes another address.
        *("254", "169.254", "10.1"),
    ],
)
def test_c16_no_endpoint_is_loopback_or_link_local_in_whatever_form(host: str) -> None:
    for url in (f"http://{host}", f"https://{host}:8443/latest/meta-data"):
        problem = problem_of(url)
        assert problem is not None, url
        assert "spec.output.storage.endpointURL" in problem
        assert "hint: " in problem


@pytest.mark.parametrize("place", PLACES)
def test_c15_every_place_of_an_endpoint_is_checked(place: str) -> None:
    problem = problem_of("http://169.254.169.254/latest/meta-data", place)
    assert problem is not None
    assert "storage.endpointURL: leads back into the pods themselves" in problem
    assert problem_of("https://store.example.com", place) is None


@pytest.mark.parametrize(
    "host",
    [
        *("s3.example.com", "minio.minio.svc", "minio", "10.1.2.3", "192.168.0.1", "172.16.0.9", "[fd00::5]"),
        *("[2001:db8::1]", "ip-10-0-0-1.ec2.internal", "10-0-0-1.nip.io", "v300.1.2.3.example.com", "my_store"),
        *("deadbeef.example.com", "a7f000001.example.com", "s3.eu-central-1.amazonaws.com", "127.example.com"),
    ],
)
def test_stores_may_be_named(host: str) -> None:
    for url in (f"http://{host}", f"https://{host}:9000", f"https://{host}/a/127.0.0.1"):
        assert problem_of(url) is None, url


@given(st.sampled_from((LOOPBACK, METADATA)), st.data())
def test_every_numeric_spelling_is_found(address: int, data: st.DataObject) -> None:
    """The last of one to four numbers holds all remaining bytes; each is decimal, octal or hexadecimal."""
    count = data.draw(st.integers(1, 4))
    rest = address & ((1 << 8 * (5 - count)) - 1)
    numbers = [(address >> 8 * (3 - index)) & 0xFF for index in range(count - 1)] + [rest]
    spellings = st.sampled_from((str, hex, lambda number: f"0{number:o}", lambda number: f"0X{number:X}"))
    host = ".".join(data.draw(spellings)(number) for number in numbers)
    assert leads_inside(f"http://{host}"), host
    assert leads_inside(f"http://{host}.:80/x"), host


@pytest.mark.parametrize("place", PLACES)
def test_c15_user_and_password_are_refused_without_being_repeated(place: str) -> None:
    for url in ("https://AKIA:topsecret@s3.example.com", "https://topsecret@s3.example.com/x", "https://a@topsecret@b"):
        problem = problem_of(url, place)
        assert problem is not None
        assert "topsecret" not in problem
        assert "credentialsSecretRef" in problem
    assert has_userinfo("https://a@s3.example.com")
    assert not has_userinfo("https://s3.example.com/a@b")


@pytest.mark.parametrize(
    "url",
    [
        *("https://", "ftp://s3.example.com", "https://s3.example.com?x=1", "https://s3.example.com#x"),
        *(
            "https://s3.example.com\\@x",
            "https://%31%32%37.0.0.1",
            "https://\uff11\uff12\uff17.0.0.1",
            "https://[::1",
            "https://a b",
        ),
    ],
)
def test_hosts_that_readers_could_take_differently_are_refused(url: str) -> None:
    assert problem_of(url) is not None


def test_one_machine_may_use_a_store_of_its_own() -> None:
    run = parse_evalrun(named("http://localhost:9000", "output"), "here")
    (problem,) = cluster_problems(run)
    assert str(problem).startswith("spec.output.storage.endpointURL: ")


@pytest.mark.parametrize("field", [{"region": "eu-1"}, {"addressingStyle": "path"}, {"checksums": "whenRequired"}])
def test_c27_what_a_hub_does_not_have_is_refused(field: dict[str, Any]) -> None:
    builder = make_run().with_spec(model={"uri": "hf://org/name", "storage": field})
    with pytest.raises(InvalidInput, match=r"spec\.model\.storage: region, addressingStyle and checksums are S3's"):
        parse_evalrun(builder.manifest(), "here")
