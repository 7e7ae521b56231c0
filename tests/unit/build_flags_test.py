#!/usr/bin/env python3
"""The programs that read the Internet are built to make memory errors hard to use.

  build_flags_test.py BUILD_DIR PROGRAM...

Two looks: the compiler's command of every source of bondd (so that no module is forgotten), and what
the linker made of it (so that no flag is undone later). Output is one line for each thing that is missing.
"""
import json
import os
import platform
import re
import subprocess
import sys

COMPILED = ["-fPIE", "-fstack-protector-strong", "-fstack-clash-protection", "-D_GLIBCXX_ASSERTIONS"]
if platform.machine() in ("x86_64", "i686"):
    COMPILED.append("-fcf-protection")
FORTIFIED = "-D_FORTIFY_SOURCE=3"
MODULES = ("bondd", "netlink", "rules", "openvpn-profiles")


def readelf(*arguments):
    return subprocess.run(["readelf", "--wide", *arguments], check=True, capture_output=True, text=True).stdout


def last_fortify(flags):
    return [flag for flag in flags if re.match("-[DU]_FORTIFY_SOURCE", flag)][-1:]


def missing_when_compiled(build):
    with open(f"{build}/compile_commands.json", encoding="utf-8") as file:
        commands = json.load(file)
    looked_at = 0
    for entry in commands:
        # "CMakeFiles/NAME.dir" of our modules; tests and benches are built with the same options.
        output = re.search(r" -o (\S+)", entry["command"]).group(1)
        output = os.path.relpath(os.path.join(entry["directory"], output), build)  # make runs in each folder of its own
        if not output.startswith(tuple(module + "/" for module in MODULES)):
            continue
        looked_at += 1
        flags = entry["command"].split()
        for flag in COMPILED:
            if flag not in flags:
                yield f"{output} is compiled without {flag}"
        if last_fortify(flags) != [FORTIFIED]:
            yield f"{output} is compiled without {FORTIFIED}"
    if looked_at == 0:
        yield f"{build}/compile_commands.json has no source of bondd"


def missing_when_linked(program):
    dynamic = readelf("-d", program)
    if "Type:                              DYN" not in readelf("-h", program) or "PIE" not in dynamic:
        yield "is not position-independent"
    if "GNU_RELRO" not in readelf("-l", program):
        yield "has no part that is read-only after start (relro)"
    if not re.search(r"FLAGS.*\b(BIND_)?NOW\b", dynamic):
        yield "binds functions late, so its table of them stays writable (now)"
    if re.search(r"GNU_STACK .* RWE ", readelf("-l", program)):
        yield "has an executable stack"
    if re.search(r"R(UN)?PATH", dynamic):
        yield "looks for libraries in a directory of its own"
    symbols = readelf("--dyn-syms", program)
    if "__stack_chk_fail" not in symbols:
        yield "has no stack protector"
    if platform.machine() == "x86_64":
        with open(program, "rb") as file:
            landing_pads = file.read().count(b"\xf3\x0f\x1e\xfa")  # endbr64
        if landing_pads < 100:
            yield f"has {landing_pads} landing pads for indirect jumps (cf-protection)"


def main():
    build, *programs = sys.argv[1:]
    problems = list(missing_when_compiled(build))
    for program in programs:
        problems += [f"{program} {problem}" for problem in missing_when_linked(program)]
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
