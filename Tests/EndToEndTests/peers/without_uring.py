"""Runs a command where the kernel forbids io_uring: seccomp answers its calls with EPERM."""

import ctypes
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, EPERM = 0x7FFF0000, 0x00050001
IO_URING_SETUP = 425  # on every architecture


def filter_program():
    # struct sock_filter { u16 code; u8 jt, jf; u32 k; }
    steps = [
        (LOAD, 0, 0, 0),  # the number of the call
        (JUMP_IF_EQUAL, 0, 1, IO_URING_SETUP),
        (RETURN, 0, 0, EPERM),
        (RETURN, 0, 0, ALLOW),
    ]
    return ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))


steps = filter_program()
program = struct.pack("HxxxxxxP", 4, ctypes.addressof(steps))
prctl = ctypes.CDLL(None, use_errno=True).prctl
for arguments in (
    (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
    (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.c_char_p(program), 0, 0),
):
    if prctl(*arguments) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
os.execvp(sys.argv[1], sys.argv[1:])
