"""Run datatrust as the units confine it: `python confined.py NUMBERS ARGUMENT…`.

NUMBERS, with commas between, are the system calls that are let through; all others fail with EPERM, as under
SystemCallFilter= with SystemCallErrorNumber=EPERM.  No memory is both written and executed, as under
MemoryDenyWriteExecute=.  Children inherit both.  The exit code is 90 where the kernel cannot do it, and 91 where it did
not hold.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import struct
import sys

_SET_NO_NEW_PRIVILEGES, _SET_SECCOMP, _SET_MDWE = 38, 22, 65
_ALLOW, _EPERM, _KILL = 0x7FFF0000, 0x00050001, 0x80000000
_MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def instruction(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    """One of the filter's, as the kernel reads it."""
    return struct.pack("HBBI", code, yes, no, value)


def program(allowed: list[int], machine: int) -> bytes:
    """The filter: the machine must be this one, the call one of these."""
    load, equal, end = 0x20, 0x15, 0x06
    parts = [instruction(load, 4), instruction(equal, machine, 1, 0), instruction(end, _KILL), instruction(load, 0)]
    for number in allowed:
        parts += [instruction(equal, number, 0, 1), instruction(end, _ALLOW)]
    return b"".join([*parts, instruction(end, _EPERM)])


class Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def confine(allowed: list[int]) -> None:
    """From here on.  Raises: SystemExit."""
    libc = ctypes.CDLL(None, use_errno=True)
    raw = program(allowed, _MACHINES[platform.machine()])
    what = Program(len(raw) // 8, raw)
    calls = (
        (_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0),
        (_SET_MDWE, 1, 0, 0, 0),
        (_SET_SECCOMP, 2, ctypes.byref(what), 0, 0),
    )
    for call in calls:
        if libc.prctl(*call) != 0:
            print(f"prctl {call[0]}: {os.strerror(ctypes.get_errno())}", file=sys.stderr)
            raise SystemExit(90)
    held = 0
    try:
        mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except PermissionError:
        held += 1
    try:
        os.setpriority(os.PRIO_PROCESS, 0, 5)
    except PermissionError:
        held += 1
    if held != 2:
        raise SystemExit(91)


if __name__ == "__main__":
    confine([int(number) for number in sys.argv[1].split(",")])
    from datatrust.cli.main import main

    sys.argv = ["datatrust", *sys.argv[2:]]
    main()
