#!/usr/bin/python3
"""What the shells are told may come next. Usage: completion_test.py SOURCE_DIRECTORY BONDD"""
import os
import pathlib
import subprocess
import sys
import tempfile

SOURCE, BONDD = sys.argv[1:3]
WRONG = []


def expect(what, got, wanted):
    if got != wanted:
        WRONG.append(f"{what}: {got}, not {wanted}")


def proposed(*words, run_dir="/nonexistent"):
    said = subprocess.run([BONDD, "--run-dir", run_dir, "complete", "--", *words], capture_output=True, text=True, check=True).stdout
    return [line.split("\t")[0] for line in said.splitlines()]


def bash(*words):
    """What bash proposes with completions/bondd.bash."""
    script = f'. "{SOURCE}/completions/bondd.bash"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _bondd; printf "%s\\n" "${{COMPREPLY[@]}}"'
    path = {**os.environ, "PATH": f"{pathlib.Path(BONDD).parent}:{os.environ['PATH']}"}
    said = subprocess.run(["bash", "-c", script, "bash", *words], capture_output=True, text=True, env=path)
    expect(f"bash {words}: errors", said.stderr, "")
    return said.stdout.split()


def main():
    expect("a command", proposed("sta"), ["status"])
    expect("hidden commands are not shown", [c for c in proposed("") if c in ("complete", "")], [])
    expect("an option", proposed("init", "--ba"), ["--backend"])
    expect("its values", proposed("init", "--backend", ""), ["mlvpn", "openvpn-bond"])
    expect("a value that only the user knows", proposed("init", "--server", ""), [])
    expect("help's commands", proposed("help", "rel"), ["reload"])
    expect("a word of a fixed place", proposed("wan", "office", "lte", ""), ["drain", "restore"])
    expect("a place that only the user knows", proposed("wan", "office", ""), [])
    expect("an unknown command", proposed("frobnicate", ""), [])
    with tempfile.TemporaryDirectory() as run_dir:
        (pathlib.Path(run_dir) / "a-site-of-the-test").mkdir()
        expect("a site", proposed("down", "a-site-of", run_dir=run_dir), ["a-site-of-the-test"])
        expect("not where none is wanted", proposed("init", "a-site-of", run_dir=run_dir), [])
    expect("bash: a command", bash("bondd", "relo"), ["reload"])
    expect("bash: an option", bash("bondd", "status", "--js"), ["--json"])
    print("\n".join(WRONG) or "as expected")
    return 1 if WRONG else 0


if __name__ == "__main__":
    sys.exit(main())
