// The matrix of line pairs in the simulator: what tests/bench/matrix measures on a real
// kernel, in seconds. See --help.
#include <algorithm>
#include <cstdio>
#include <sstream>
#include <string>
#include <vector>

#include "tests/sim/bond.h"
#include "tests/sim/moving.h"
#include "tests/sim/profiles.h"
#include "tests/sim/recorded.h"

namespace {

using namespace bondd::sim;

struct Arguments {
  Experiment experiment;
  BondOptions bond;
  std::uint64_t seed = 1, seeds = 1;
  bool upstream = false;  // at the other end
  bool rates = false;     // given to both engines
  bool swap = false;      // line B comes first
  bool seconds = false, brief = false, list = false, tuning = false, help = false;
  std::vector<std::string> profiles;
  std::vector<std::string> lines;  // two of one's own
  std::string later;               // what line B becomes 8 s after the start
  PairOptions pairs;               // of recorded lines, when it has a directory
  bool moving = false;             // pairs made from seeds
};

// "0,20,40", in seconds.
std::vector<bondd::Duration> parse_offsets(const std::string& text) {
  std::vector<bondd::Duration> offsets;
  std::istringstream in(text);
  for (std::string each; std::getline(in, each, ',');)
    offsets.push_back(std::chrono::seconds(std::stoi(each)));
  return offsets;
}

// NAME=VALUE, one of the brain's numbers; false when there is no such.
bool set_number(bondd::mlvpn::Tuning& tuning, const std::string& text) {
  const auto equals = text.find('=');
  for (const auto& field : bondd::mlvpn::tuning_fields()) {
    if (equals == std::string::npos || text.substr(0, equals) != field.name) continue;
    tuning.*field.value = std::stod(text.substr(equals + 1));
    return true;
  }
  return false;
}

Arguments parse(int argc, char** argv) {
  Arguments out;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--up") {
      out.experiment.download = false;
    } else if (word == "--quic") {
      out.experiment.bulk = Bulk::kQuic;
    } else if (word == "--repair-off") {
      out.bond.repair = false;
    } else if (word == "--password-only") {
      out.bond.sessions = false;
    } else if (word == "--upstream") {
      out.upstream = true;
    } else if (word == "--rates") {
      out.rates = true;
    } else if (word == "--swap") {
      out.swap = true;
    } else if (word == "--light" && i + 1 < argc) {
      out.experiment.light = std::chrono::seconds(std::stoi(argv[++i]));
    } else if (word == "--reorder" && i + 1 < argc) {
      out.bond.reorder = std::stoull(argv[++i]);
    } else if (word == "--flows" && i + 1 < argc) {
      out.experiment.flows = std::stoi(argv[++i]);
    } else if (word == "--lines" && i + 2 < argc) {
      out.lines = {argv[i + 1], argv[i + 2]};
      i += 2;
    } else if (word == "--later" && i + 1 < argc) {
      out.later = argv[++i];
      out.experiment.warm_up = std::chrono::seconds(10);
      out.experiment.measured = std::chrono::seconds(5);
    } else if (word == "--short") {
      out.brief = true;
      out.experiment.warm_up = std::chrono::seconds(3);
      out.experiment.measured = std::chrono::seconds(1);
    } else if (word == "--traces" && i + 1 < argc) {
      out.pairs.directory = argv[++i];
    } else if (word == "--moving") {
      out.moving = true;
    } else if (word == "--offsets" && i + 1 < argc) {
      out.pairs.offsets = parse_offsets(argv[++i]);
    } else if (word == "--idle" && i + 1 < argc) {
      out.pairs.idle = std::chrono::milliseconds(std::stoi(argv[++i]));
    } else if (word == "--series" || word == "--explain") {
      out.pairs.series = true;
    } else if (word == "--no-alone") {
      out.pairs.alone = false;
    } else if (word == "--trace") {
      out.bond.trace = true;
    } else if (word == "--tuning") {
      out.tuning = true;
    } else if (word == "--tune" && i + 1 < argc) {
      out.help = !set_number(out.bond.tuning, argv[++i]) || out.help;
    } else if (word == "--brain-trace" && i + 1 < argc) {
      out.bond.brain_trace = std::fopen(argv[++i], "w");
    } else if (word == "--seconds") {
      out.seconds = true;
    } else if (word == "--profiles") {
      out.list = true;
    } else if (word == "--seed" && i + 1 < argc) {
      out.seed = std::stoull(argv[++i]);
    } else if (word == "--seeds" && i + 1 < argc) {
      out.seeds = std::max(1ULL, std::stoull(argv[++i]));
    } else if (word.starts_with("--")) {
      out.help = true;
    } else {
      out.profiles.push_back(word);
    }
  }
  // The bond under test is the end that sends the bulk.
  // The original program answers an idle line once a second: what it is like shows in some.
  if (out.upstream) out.experiment.idle = std::chrono::seconds(out.experiment.light.count() != 0 ? 2 : 10);
  if (out.upstream) out.bond.peer = out.experiment.download ? Peer::kUpstreamOffice : Peer::kUpstreamServer;
  return out;
}

void list_profiles() {
  const char* separator = "[";
  for (const Profile& p : all_profiles()) {
    std::printf(
        "%s{\"name\": \"%s\", \"a\": \"%s\", \"b\": \"%s\", \"alone_a\": %g, \"alone_b\": %g, \"limit\": %g, "
        "\"wanted\": %g}",
        separator, p.name.data(), p.line_a.data(), p.line_b.data(), p.alone_a, p.alone_b, p.limit, p.wanted);
    separator = ",\n ";
  }
  std::puts("]");
}

Profile swapped(Profile p) {
  std::swap(p.line_a, p.line_b);
  std::swap(p.alone_a, p.alone_b);
  return p;
}

// Towards an original peer nothing that is lost can be repaired. But of a line that loses
// nothing a flow has to get all.
double upstream_bar(const Profile& p, double better) {
  const LineSpec line = p.alone_a >= p.alone_b ? spec_a(p) : spec_b(p);
  return line.loss > 0 ? 0 : 0.92 * better;
}

// Changes line B in the middle of an experiment.
class Change final : public Actor {
 public:
  Change(EventQueue& events, Path& path, std::string spec)
      : bond_(dynamic_cast<Bond&>(path)), spec_(parse_line_spec(spec).value()) {
    events.post(events.now() + std::chrono::seconds(8), *this);
  }
  void on_event(bondd::TimePoint, std::uint64_t) override { bond_.set_line(1, spec_); }

 private:
  Bond& bond_;
  LineSpec spec_;
};

PairOptions pair_options(const Arguments& args) {
  PairOptions options = args.pairs;
  options.download = args.experiment.download;
  options.seed = args.seed;
  options.seeds = args.seeds;
  options.bond = args.bond;
  options.brief = args.brief;
  options.names = args.profiles;
  return options;
}

bool measure(const Arguments& arguments, const Profile& p) {
  Arguments args = arguments;
  std::unique_ptr<Change> change;
  if (!args.later.empty()) {
    args.experiment.plan = [&](EventQueue& events, Path& path) {
      change = std::make_unique<Change>(events, path, args.later);
    };
  }
  std::vector<Outcome> runs;
  if (args.rates) {
    args.bond.rate_a = spec_a(p).rate;
    args.bond.rate_b = spec_b(p).rate;
  }
  for (std::uint64_t seed = args.seed; seed < args.seed + args.seeds; ++seed) {
    runs.push_back(run(args.experiment, bond(spec_a(p), spec_b(p), seed, args.bond)));
  }
  std::ranges::sort(runs, {}, &Outcome::mbit);
  const Outcome& out = runs[runs.size() / 2];
  const double better = std::max(p.alone_a, p.alone_b);
  // A second at the end of the ramp cannot meet the bars: it must not be slower than one line.
  const double wanted = args.upstream ? upstream_bar(p, better) : args.brief ? 0.85 * better : p.wanted;
  const bool good = out.mbit >= wanted;
  std::printf("%-13s %6.1f %6.1f %7.1f %6.1f %s %5.2f %5.2f %6lu %6.1f %6.1f %6.1f", p.name.data(), p.alone_a,
              p.alone_b, out.mbit, wanted, good ? "ok  " : "MISS", out.mbit / better, out.mbit / p.limit,
              static_cast<unsigned long>(out.retransmissions), out.ping.percentile(0.5),
              out.ping.percentile(0.95), out.game.percentile(0.99));
  for (const Outcome& each : runs) std::printf(runs.size() > 1 ? " %6.1f" : "", each.mbit);
  std::printf("\n");
  if (args.seconds) {
    for (const double mbit : out.per_second) std::printf(" %.1f", mbit);
    std::printf("\n");
  }
  std::fflush(stdout);
  return good;
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments args = parse(argc, argv);
  if (args.help) {
    std::puts(
        "sim_matrix [--up] [--quic] [--repair-off] [--password-only] [--upstream [--reorder N]] [--rates] "
        "[--light SECONDS] "
        "[--swap] [--seed N] [--seeds HOW-MANY] "
        "[--flows N] [--seconds] [--short] [--trace] [--brain-trace FILE] [--tune NAME=VALUE]… "
        "[--later B] [PROFILE… | --lines A B]\n"
        "  --password-only  both ends are without session keys\n"
        "  --rates     the engines are given the lines' rates\n"
        "  --light S   S seconds of small packets only come before the flow, and hardly any idle time\n"
        "  --swap      line B is the first\n"
        "  --later B   line B becomes this 8 s after the start; what counts is from the 10th second on\n"
        "sim_matrix --traces DIR [--up] [--seed N] [--seeds N] [--offsets 0,20,40] [--idle MS] [--series] "
        "[--no-alone] "
        "[--trace] "
        "[PAIR…]\n"
        "  the pairs of recorded lines of DIR/pairs.tsv; --offsets are seconds that are added to theirs;\n"
        "  --idle MS   how long the links are up and idle before (5000): where lines all but stop, a flow's "
        "share\n"
        "              depends on it more than on anything else\n"
        "  --series prints each half second of the median run: what each line offered, what the sending\n"
        "  engine believes of it (Mbit/s), the queue before it (ms), and what the flow got\n"
        "sim_matrix --moving [--up] [--seed N] [--seeds N] [--series] [--short] [KIND…]\n"
        "  lines that move, made from seeds; --short: only a flow that gets nothing is a failure\n"
        "sim_matrix --profiles    the line pairs as JSON\n"
        "sim_matrix --tuning      the numbers that decide about a line's rate, for --tune");
    return 2;
  }
  if (args.list) {
    list_profiles();
    return 0;
  }
  if (args.tuning) {
    for (const auto& field : bondd::mlvpn::tuning_fields()) {
      std::printf("%-20s %9g %-8s %s\n", field.name, bondd::mlvpn::kTuning.*field.value, field.unit,
                  field.why);
    }
    return 0;
  }
  if (args.moving || !args.pairs.directory.empty()) {
    const PairOptions options = pair_options(args);
    return (args.moving ? measure_moving(options) : measure_pairs(options)) ? 0 : 1;
  }
  std::puts("profile            A      B    bond   want      /best  /sum  again   ping    p95 game99");
  bool good = true;
  if (!args.lines.empty()) {
    return measure(args, {"own lines", args.lines[0], args.lines[1], 0, 0, 0, 0, false, false}) ? 0 : 1;
  }
  for (const Profile& p : all_profiles()) {
    const bool chosen =
        args.profiles.empty() || std::ranges::find(args.profiles, p.name) != args.profiles.end();
    if (chosen) good = measure(args, args.swap ? swapped(p) : p) && good;
  }
  return good ? 0 : 1;
}
