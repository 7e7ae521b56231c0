#!/usr/bin/python3
"""A running site as its admin's commands see it: status --check, wait, and problems as objects.

The office and the VPS of mlvpn_site.py, which see. Needs root.
Usage: operate.py BONDD. Exit status 0 when all holds, 77 without root.
"""
import json
import subprocess
import sys
import time

import mlvpn_site as site
from mlvpn_site import both, check, sh, wait_for

UP = {"ovh": "up", "orange": "up"}
OFFICE = str(site.FOLDER / "office.toml")


def says(*words, where="office"):
    """Exit status, standard output and standard error."""
    done = subprocess.run(site.bondd(where, *words), capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def checks():
    """{what: exit status} of status --check, which prints nothing on standard output."""
    out = {}
    for what in ("live", "ready", "degraded"):
        code, shown, _ = says("status", "--check", what, OFFICE)
        out[what] = code if not shown else shown
    return out


def problems(where="office"):
    return json.loads(site.run(where, "status", "--json", str(site.FOLDER / f"{where}.toml")))["problems"]


def exit_statuses():
    site.write(site.WANS)
    code, _, said = says("wait", "--timeout", "1s", OFFICE)
    check("wait for a site that is not up: 1, and what to do", code == 1 and "bondd up" in said, (code, said))
    check("--check of a site that is not up: all 1", checks() == {"live": 1, "ready": 1, "degraded": 1}, checks())
    both("up", "-d")
    check("wait: 0 while it carries", says("wait", OFFICE)[0] == 0)
    wait_for("both WANs up", lambda: site.states() == UP)
    check("--check of a site that is up", checks() == {"live": 0, "ready": 0, "degraded": 1}, checks())
    sh("ip link set dsl2 down", ns="office")
    wait_for("--check of a site with one WAN left", lambda: checks() == {"live": 0, "ready": 0, "degraded": 0}, 20)
    sh("ip link set dsl1 down", ns="office")
    wait_for("--check of a site without any", lambda: checks() == {"live": 0, "ready": 1, "degraded": 1}, 20)
    code, _, said = says("wait", "--timeout", "1s", OFFICE)
    check("wait: 1 after its time, with the status", code == 1 and "carries no traffic after 1s" in said and "dsl1" in said, (code, said))
    waiting = subprocess.Popen(site.bondd("office", "wait", "--timeout", "40s", OFFICE))
    for device, gateway in (("dsl1", "10.99.1.1"), ("dsl2", "10.99.2.1")):
        sh(f"ip link set {device} up; ip route replace default via {gateway} metric {gateway[6]}", ns="office")
    check("wait returns once the bond carries again", waiting.wait(60) == 0)
    wait_for("both WANs up", lambda: site.states() == UP, 20)


def remarks_are_problems():
    """What others' rules do is a problem with a code, a severity and a time, and still a text of `warnings`."""
    sh("ip rule add priority 100 lookup 300; ip route add default via 10.99.1.1 table 300", ns="office")
    found = lambda: [one for one in problems() if one["code"] == "foreign-rules"]
    wait_for("another's rule is a problem", found, 20)
    one = found()[0]
    status = json.loads(site.run("office", "status", "--json", OFFICE))
    check("with its severity and time, and in warnings", one["severity"] == "warning" and one["since"] and one["text"] in status["warnings"], one)
    text = says("status", OFFICE)[1]
    check("status shows each once", text.count("rule 100 (lookup 300)") == len(found()) and "office: orange:" not in text, text)
    sh("ip rule del priority 100; ip route flush table 300", ns="office")
    wait_for("it goes with the rule", lambda: not found(), 20)


def main():
    if site.os.geteuid() != 0:
        print("needs root")
        return 77
    try:
        site.build()
        time.sleep(2)  # for the carrier
        exit_statuses()
        remarks_are_problems()
        site.down()
    except Exception as error:  # whatever happens, the namespaces go
        logs = "".join(p.read_text()[-3000:] for p in site.FOLDER.rglob("log"))
        check("no exception", False, f"{type(error).__name__}: {error}\n{logs}")
    finally:
        site.clean_up()
    return 1 if site.FAILED else 0


if __name__ == "__main__":
    sys.exit(main())
