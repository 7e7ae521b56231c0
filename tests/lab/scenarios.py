"""What a scenario is, and the table that it fills: figures, each with its bar."""
import dataclasses
import statistics
import sys
import time
import traceback

ALL = {}


@dataclasses.dataclass
class Scenario:
    name: str
    summary: str
    play: object
    limit: int        # seconds, then its lab is ended
    needs_bondd: bool
    full: bool        # long: only with BONDD_LAB_FULL


def scenario(name, limit=120, needs_bondd=True, full=False):
    """Registers a function(Report) as a scenario; its docstring's first line is the summary."""
    def register(function):
        ALL[name] = Scenario(name, function.__doc__.strip().splitlines()[0], function, limit, needs_bondd, full)
        return function
    return register


def find(name):
    return ALL[name]


class Report:
    """Collects the figures of a scenario and prints them as they come."""

    def __init__(self, name, args):
        self.name, self.args, self.figures = name, args, []
        self.options = dict(o.split("=", 1) for o in args.get("options", []))

    def option(self, key, default):
        return type(default)(self.options.get(key, default))

    def say(self, text):
        print(text, flush=True)

    def figure(self, what, value, unit="", least=None, most=None, by_hand=None, speed=False):
        """A measured number and its bar. Returns whether the bar is met.

        Rates and times are bars of speed, not judged on a busy machine; a time of None ("never")
        is one only with `speed`, for moments that are themselves told by a rate.
        """
        good = value is not None and (least is None or value >= least) and (most is None or value <= most)
        bar = f">= {least:g}" if least is not None else f"<= {most:g}" if most is not None else ""
        shown = "never" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)
        mark = "" if not bar else "ok" if good else "MISSED"
        hand = f"  (by hand {by_hand})" if by_hand else ""
        print(f"  {what:<58} {shown:>8} {unit:<7} {bar:<10} {mark}{hand}", flush=True)
        self.figures.append({"what": what, "value": value, "unit": unit, "least": least, "most": most, "met": good,
                             "speed": speed or value is not None and unit in ("s", "ms", "Mbit/s")})
        return good

    def check(self, what, good, why=""):
        """A yes-or-no bar; `why` is shown when it is missed."""
        print(f"  {what:<58} {'yes' if good else 'no':>8} {'':<18} {'ok' if good else 'MISSED'}", flush=True)
        if not good and why:
            print("    " + str(why).strip().replace("\n", "\n    "), flush=True)
        self.figures.append({"what": what, "value": bool(good), "met": bool(good), "why": "" if good else str(why)})
        return good

    def median(self, take, runs):
        values = [take() for _ in range(runs)]
        if runs > 1:
            self.say("    runs: " + " ".join(f"{v:.2f}" for v in values))
        return statistics.median(values)


def play(name, args):
    found = ALL[name]
    report = Report(name, args)
    began = time.monotonic()
    error = ""
    print(f"{name}: {found.summary}", flush=True)
    try:
        found.play(report)
    except Exception as e:  # the lab ends with its scenario, whatever happens in it
        error = f"{type(e).__name__}: {e}"
        traceback.print_exc(file=sys.stdout)
    passed = not error and all(f["met"] for f in report.figures)
    print(f"{name}: {'passed' if passed else 'FAILED'} in {time.monotonic() - began:.0f} s {error}", flush=True)
    return {"scenario": name, "passed": passed, "error": error, "figures": report.figures}


# The files of scenarios; importing registers them.
import scenarios_rig  # noqa: E402,F401
import scenarios_speed  # noqa: E402,F401
import scenarios_lines  # noqa: E402,F401
import scenarios_clean  # noqa: E402,F401
import scenarios_operate  # noqa: E402,F401
import scenarios_steer  # noqa: E402,F401
import scenarios_demo  # noqa: E402,F401
import scenarios_break  # noqa: E402,F401
import scenarios_netns  # noqa: E402,F401
import scenarios_setup  # noqa: E402,F401
import scenarios_booted  # noqa: E402,F401
