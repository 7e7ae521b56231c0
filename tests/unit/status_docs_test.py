#!/usr/bin/python3
"""docs/status.md names every problem that bondd can report. Usage: status_docs_test.py SOURCE_DIRECTORY"""
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
codes = re.findall(r'\{Code::k\w+,\s*"([a-z-]+)"', (root / "bondd/problems/table.cc").read_text())
documented = (root / "docs/status.md").read_text()
missing = [code for code in codes if f"`{code}`" not in documented]
print(f"{len(codes)} codes, not in docs/status.md: {missing}")
sys.exit(1 if missing or len(codes) < 10 else 0)
