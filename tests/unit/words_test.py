#!/usr/bin/python3
"""No message to a user has a word of our own where the trade has one: gateway, not box; latency, not round trip.

Reads the string literals of the sources that speak to users. Usage: words_test.py SOURCE_DIRECTORY
"""
import pathlib
import re
import sys

# What is forbidden, and what is said instead.
WORDS = {
    r"\bbox(es)?\b": "gateway, or modem-router",
    r"\bround trips?\b": "latency",
    r"\bloses\b": "has packet loss",
    r"\bcarries nothing\b": "carries no traffic, or is down",
    r"\bmistakes?\b": "error",
    r"\bnever heard\b": "no reply",
    r"\bsigned on\b": "connected",
    r"\bbelongs? into\b": "belongs in",
    r"\bis said\b": "is printed",
    r"\bis no address\b": "is not an address",
}
# Where texts for users stand.
SOURCES = ["bondd/main/*.cc", "bondd/config/*.cc", "bondd/plan/*.cc", "bondd/control/*.cc", "bondd/problems/*.cc", "bondd/probes/*.cc", "bondd/ipc/*.cc", "bondd/setup/*.cc",
           "bondd/mlvpn/core/link.cc", "bondd/mlvpn/core/sender_reports.cc", "bondd/mlvpn/core/scheduler_groups.cc"]
LITERAL = re.compile(r'"((?:[^"\\\n]|\\.)*)"')


def literals(path):
    """Line numbers and texts; comments and includes left out, and adjacent literals joined."""
    text = re.sub(r"//[^\n]*|^\s*#include[^\n]*", lambda m: " " * len(m[0]), path.read_text(), flags=re.M)
    text = re.sub(r'"\s*\n\s*"', lambda m: "", text)
    for found in LITERAL.finditer(text):
        yield text.count("\n", 0, found.start()) + 1, found[1]


def main():
    root, wrong = pathlib.Path(sys.argv[1]), 0
    for pattern in SOURCES:
        for path in sorted(root.glob(pattern)):
            for line, text in literals(path):
                for word, better in WORDS.items():
                    if re.search(word, text, re.I):
                        print(f"{path.relative_to(root)}: \"{text}\": say {better}")
                        wrong += 1
    print(f"{wrong} to change")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
