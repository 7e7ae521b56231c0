#!/usr/bin/python3
"""docs/status.md names every problem that bondd can report, and docs/troubleshooting.md quotes only
messages that bondd has. Usage: status_docs_test.py SOURCE_DIRECTORY"""
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
codes = re.findall(r'\{Code::k\w+,\s*"([a-z-]+)"', (root / "bondd/problems/table.cc").read_text())
documented = (root / "docs/status.md").read_text()
missing = [code for code in codes if f"`{code}`" not in documented]
print(f"{len(codes)} codes, not in docs/status.md: {missing}")

# Texts as the compiler sees them: string literals side by side are one, and {} stands for a value.
source = "".join(path.read_text() for path in sorted((root / "bondd").rglob("*.cc")))
source = re.sub(r'"\s*\n\s*"', "", source)
rows = re.findall(r"^\| `([^`]+)` \|", (root / "docs/troubleshooting.md").read_text(), re.M)
unknown = [row for row in rows if not re.search("[^\"]*".join(re.escape(part) for part in row.split("…")), source)]
print(f"{len(rows)} quoted messages, not in the program: {unknown}")
sys.exit(1 if missing or len(codes) < 10 or unknown or len(rows) < 4 else 0)
