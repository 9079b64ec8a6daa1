"""System calls that Python has no name for."""

import ctypes
import os
import platform

from lib.host import libc

AT_FDCWD = -100
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
SYS_RENAMEAT2 = {"x86_64": 316, "aarch64": 276}[platform.machine()]


def renameat2(source, target, flags):
    result = libc.syscall(SYS_RENAMEAT2, AT_FDCWD, ctypes.c_char_p(os.fsencode(source)), AT_FDCWD,
                          ctypes.c_char_p(os.fsencode(target)), flags)
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), source)


def exchange(first, second):
    """Both names change their nodes in one step."""
    renameat2(first, second, RENAME_EXCHANGE)
