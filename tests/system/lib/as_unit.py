"""Runs a program with what a systemd unit allows: as_unit.py UNIT PROGRAM [ARGUMENT...]

Of the unit's settings LimitMEMLOCK, LimitNOFILE, CapabilityBoundingSet, NoNewPrivileges and SystemCallFilter are applied, which
are those that could keep the program from working.
"""

import ctypes
import os
import re
import resource
import subprocess
import sys

EPERM = 1
SCMP_ACT_ERRNO, SCMP_ACT_ALLOW = 0x00050000, 0x7FFF0000
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
LAST_CAPABILITY = "/proc/sys/kernel/cap_last_cap"
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}

libc = ctypes.CDLL(None, use_errno=True)
libseccomp = ctypes.CDLL("libseccomp.so.2", use_errno=True)
libseccomp.seccomp_init.restype = ctypes.c_void_p
libcap = ctypes.CDLL("libcap.so.2", use_errno=True)


def setting(unit, key):
    return re.search(rf"^{key}=(.*)$", unit, re.MULTILINE)[1]


def calls_of(names, seen):
    """The system calls of names, of which some are of groups of them."""
    calls = set()
    for name in names:
        if not name.startswith("@"):
            calls.add(name)
        elif name not in seen:
            seen.add(name)
            listing = subprocess.run(["systemd-analyze", "syscall-filter", name], check=True, stdout=subprocess.PIPE,
                                     stderr=subprocess.DEVNULL, text=True).stdout
            lines = (line.strip() for line in listing.splitlines()[1:])
            calls |= calls_of([line for line in lines if line and not line.startswith("#")], seen)
    return calls


def limit(unit, key, number):
    value, factor = re.fullmatch(r"(\d+)([KMG]?)", setting(unit, key)).groups()
    _, hard = resource.getrlimit(number)  # in a container not to be raised
    wanted = int(value) * UNITS[factor]
    resource.setrlimit(number, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard),) * 2)


def drop_capabilities(unit):
    kept = set()
    for name in setting(unit, "CapabilityBoundingSet").split():
        number = ctypes.c_int()
        assert libcap.cap_from_name(name.lower().encode(), ctypes.byref(number)) == 0, name
        kept.add(number.value)
    with open(LAST_CAPABILITY) as file:
        last = int(file.read())
    for number in range(last + 1):
        if number not in kept:
            assert libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0) == 0, number


def filter_calls(calls):
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    context = ctypes.c_void_p(libseccomp.seccomp_init(SCMP_ACT_ERRNO | EPERM))
    for call in sorted(calls):
        number = libseccomp.seccomp_syscall_resolve_name(call.encode())
        if number >= 0:  # others are of other architectures, or newer than the library
            assert libseccomp.seccomp_rule_add(context, SCMP_ACT_ALLOW, number, 0) == 0, call
    assert libseccomp.seccomp_load(context) == 0


def main():
    with open(sys.argv[1]) as file:
        unit = file.read()
    calls = calls_of(setting(unit, "SystemCallFilter").split(), set())
    limit(unit, "LimitMEMLOCK", resource.RLIMIT_MEMLOCK)
    limit(unit, "LimitNOFILE", resource.RLIMIT_NOFILE)
    drop_capabilities(unit)
    assert setting(unit, "NoNewPrivileges") == "yes"
    filter_calls(calls)
    os.execv(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
