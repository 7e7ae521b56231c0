#!/usr/bin/python3
"""bondd(8) has each command and each option of the program, and no other. Usage: manual_test.py SOURCE_DIRECTORY BONDD

What the program has is what it proposes to the shells (`bondd complete`).
"""
import pathlib
import re
import subprocess
import sys

SOURCE, BONDD = sys.argv[1:3]
EVERYWHERE = {"--help", "--verbose", "--version"}  # in OPTIONS


def proposed(*words):
    said = subprocess.run([BONDD, "complete", "--", *words], capture_output=True, text=True, check=True).stdout
    return {line.split("\t")[0] for line in said.splitlines()}


def options_in(text):
    """The long options that are explained there: those of the lines behind .TP."""
    return {name for head in re.findall(r"^\.TP\n(.*)", text, re.M) for name in re.findall(r"--[a-z]+", head)}


def main():
    page = (pathlib.Path(SOURCE) / "docs/man/bondd.8").read_text()
    page = re.sub(r"\\f[BIR]", "", page).replace("\\-", "-")
    commands, rest = re.search(r"^\.SH COMMANDS\n(.*?)^\.SH OPTIONS\n(.*?)^\.SH ", page, re.M | re.S).groups()
    documented = {words.split()[0]: options_in(text) for words, text in re.findall(r"^\.SS (.*)\n((?:(?!\.SS).*\n)*)", commands, re.M)}
    there = {command: proposed(command, "--") - EVERYWHERE for command in proposed("")}
    wrong = [f"command {name}: {'not in the page' if name in there else 'only in the page'}"
             for name in sorted(set(documented) ^ set(there))]
    for command in sorted(set(documented) & set(there)):
        wrong += [f"{command} {option}: {'not in the page' if option in there[command] else 'only in the page'}"
                  for option in sorted(documented[command] ^ there[command])]
    if options_in(rest) != EVERYWHERE:
        wrong.append(f"OPTIONS: {sorted(options_in(rest))}, not {sorted(EVERYWHERE)}")
    print("\n".join(wrong) or f"{len(there)} commands, {sum(map(len, there.values()))} options")
    return 1 if wrong or len(there) < 10 else 0


if __name__ == "__main__":
    sys.exit(main())
