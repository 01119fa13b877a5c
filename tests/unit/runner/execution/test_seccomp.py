"""The filter allows what it lists, whatever the number or the argument is."""

from __future__ import annotations

import errno
import struct

from hypothesis import given
from hypothesis import strategies as st

from evalrun_runner.execution.seccomp import _ALLOWED, build_filter

PID = 4711
X86_64 = 0xC000_003E
ALLOW, KILL = 0x7FFF_0000, 0x8000_0000
REFUSE = 0x0005_0000 | errno.EPERM


def judge(number: int, arguments: tuple[int, ...] = (), architecture: int = X86_64) -> int:
    """Interpret the filter as the kernel does."""
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("=iIQ6Q", number, architecture, 0, *padded)
    program = list(struct.iter_unpack("=HBBI", build_filter(PID)))
    accumulator, place = 0, 0
    while True:
        code, if_true, if_false, value = program[place]
        place += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, value)
            case 0x15:
                place += if_true if accumulator == value else if_false
            case 0x35:
                place += if_true if accumulator >= value else if_false
            case 0x45:
                place += if_true if accumulator & value else if_false
            case 0x06:
                return int(value)


CONDITIONAL = {56, 62, 234, 53, 2, 257, 16, 72, 157, 302, 435}


@given(st.integers(0, 600), st.lists(st.integers(0, 2**64 - 1), max_size=6).map(tuple))
def test_what_is_not_listed_is_refused(number: int, arguments: tuple[int, ...]) -> None:
    if number in CONDITIONAL:
        return
    assert judge(number, arguments) == (ALLOW if number in _ALLOWED.values() else REFUSE)


@given(st.integers(0, 600))
def test_another_architecture_is_killed_and_other_numbers_do_not_exist(number: int) -> None:
    assert judge(number, architecture=0x4000_0003) == KILL
    assert judge(number | 0x4000_0000) == 0x0005_0000 | errno.ENOSYS


def test_arguments_decide() -> None:
    assert judge(56, (0x0001_0000 | 0x100,)) == ALLOW
    assert judge(56, (17,)) == REFUSE
    assert judge(435) == 0x0005_0000 | errno.ENOSYS
    for kill in (62, 234):
        assert judge(kill, (PID,)) == ALLOW
        assert judge(kill, (1,)) == REFUSE
        assert judge(kill, (2**32 - 1,)) == REFUSE
    assert judge(257, (0, 0, 0o2)) == ALLOW
    assert judge(257, (0, 0, 0o20000000 | 0o200000)) == REFUSE
    assert judge(302, (0, 9, 0)) == ALLOW
    assert judge(302, (0, 9, 2**32)) == REFUSE
    assert judge(302, (0, 9, 1)) == REFUSE
    assert judge(72, (3, 3)) == ALLOW
    assert judge(72, (3, 8)) == REFUSE
    assert judge(157, (15,)) == ALLOW
    assert judge(157, (1,)) == REFUSE
    assert judge(53, (1,)) == ALLOW
    assert judge(53, (2,)) == REFUSE
    assert judge(41, (1,)) == REFUSE
