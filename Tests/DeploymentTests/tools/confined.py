"""Runs a command under a seccomp profile as Docker and Kubernetes read it:
`confined.py PROFILE [--without NAME]... -- COMMAND...`. Needs Debian's python3-seccomp.
"""

import json
import os
import sys

import seccomp

COMPARISONS = {
    "SCMP_CMP_EQ": seccomp.EQ,
    "SCMP_CMP_MASKED_EQ": seccomp.MASKED_EQ,
}


def action(name, error):
    if name == "SCMP_ACT_ALLOW":
        return seccomp.ALLOW
    assert name == "SCMP_ACT_ERRNO", name
    return seccomp.ERRNO(error)


def condition(argument):
    operator = COMPARISONS[argument["op"]]
    if operator == seccomp.MASKED_EQ:
        return seccomp.Arg(argument["index"], operator, argument["value"], argument["valueTwo"])
    return seccomp.Arg(argument["index"], operator, argument["value"])


def load(profile, without):
    default = profile.get("defaultErrnoRet", 1)
    rules = seccomp.SyscallFilter(defaction=action(profile["defaultAction"], default))
    for entry in profile["syscalls"]:
        verdict = action(entry["action"], entry.get("errnoRet", default))
        conditions = [condition(argument) for argument in entry.get("args", [])]
        for name in entry["names"]:
            if name in without:
                continue
            try:
                number = seccomp.resolve_syscall(seccomp.Arch(), name)
            except (ValueError, RuntimeError):
                continue  # a call of another architecture
            if number >= 0:
                rules.add_rule(verdict, name, *conditions)
    rules.load()


def main():
    split = sys.argv.index("--")
    with open(sys.argv[1], encoding="utf-8") as file:
        profile = json.load(file)
    load(profile, [word for word in sys.argv[2:split] if word != "--without"])
    command = sys.argv[split + 1 :]
    os.execvp(command[0], command)


main()
