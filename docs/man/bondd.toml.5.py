#!/usr/bin/env python3
"""Prints the manual page bondd.toml(5), made of the tables of docs/configuration.md, which a test keeps equal to
the table of keys in bondd/config/schema.cc.   bondd.toml.5.py CONFIGURATION.md
"""
import re
import sys

HEAD = r""".TH BONDD.TOML 5 "" "bondd" "bondd"
.SH NAME
bondd.toml \- a site's file of bondd(8)
.SH DESCRIPTION
A site's file is TOML; its name without .toml is the site's. The office has one (role = "client"), the VPS
another (role = "server"). \fBbondd check\fR finds every error in it.
.PP
Times have ms, s, m or h ("300ms"); rates kbit, mbit or gbit ("896kbit"; 1 kbit is 1000 bits per second).
Ports are one number or a range ("27000\-30000"). Paths are relative to the file.
"""


def roff(text):
    text = text.strip().replace("\\", r"\e").replace("-", r"\-").replace("**", "").replace("`", "")
    return r"\&" + text if text[:1] in (".", "'") else text


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        text = file.read()
    tables = text[text.index("<!-- The tables from here") : text.index("<!-- reference: end -->")]
    out = HEAD
    for line in tables.splitlines()[1:]:
        row = re.match(r"\| `([^`]+)` \| (.*): `(.*)` \| (.*) \|$", line)
        if line.startswith("### "):
            out += f".SH {roff(line[4:])}\n"
        elif row:
            key, takes, example, note = map(roff, row.groups())
            out += f".TP\n\\fB{key}\\fR = {example}\n{note}\n.br\nTakes {takes}.\n"
        elif line and not line.startswith("|"):
            out += roff(line) + "\n"
    print(out + ".SH SEE ALSO\nbondd(8)")


if __name__ == "__main__":
    main()
