"""How a test of namespaces says what holds and what does not, and how it starts."""
import argparse
import os
import pathlib
import shutil
import sys
import unittest

FAILED = []


def check(what, good, why=""):
    """One line; of what does not hold also why, and it is put into FAILED."""
    print(f"{'ok  ' if good else 'FAIL'} {what}", flush=True)
    if not good:
        print("     " + str(why).replace("\n", "\n     "), flush=True)
        FAILED.append(what)


def main_of_cases(take, required, optional=(), programs=()):
    """Runs the unittest cases of the script and gives its exit status: 77 without root or one of `programs`.

    `required` and `optional` are names of options that take a path; `take` gets them. The rest is unittest's.
    """
    parser = argparse.ArgumentParser(add_help=False)
    for name in (*required, *optional):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=name in required)
    args, rest = parser.parse_known_args()
    take(args)
    missing = [] if os.geteuid() == 0 else ["root"]
    missing += [program for program in programs if not shutil.which(program)]
    if missing:
        print(f"skipped: needs {' and '.join(missing)}")
        return 77
    return 0 if unittest.main(argv=[sys.argv[0], *rest], verbosity=2, exit=False).result.wasSuccessful() else 1
