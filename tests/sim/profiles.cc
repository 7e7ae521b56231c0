#include "tests/sim/profiles.h"

#include <array>
#include <charconv>
#include <sstream>
#include <string>
#include <vector>

namespace bondd::sim {
namespace {

// Rates and delays of the multipath reports that users compare by, plus two ADSL pairs.
constexpr std::array kProfiles = {
    Profile{"baseline", "delay 20ms rate 50mbit", "delay 20ms rate 50mbit", 47.8, 47.8, 91, 88, false, false},
    Profile{"rtt_40", "delay 20ms rate 50mbit", "delay 40ms rate 50mbit", 47.8, 47.8, 91, 88, false, false},
    Profile{"rtt_70", "delay 20ms rate 50mbit", "delay 70ms rate 50mbit", 47.8, 47.8, 91, 88, false, false},
    Profile{"rtt_120", "delay 20ms rate 50mbit", "delay 120ms rate 50mbit", 47.8, 47.8, 91, 85, false, false},
    Profile{"rtt_320", "delay 20ms rate 50mbit", "delay 320ms rate 50mbit", 47.8, 25.2, 91, 60, false, false},
    Profile{"jit_5", "delay 20ms 5ms distribution normal rate 50mbit",
            "delay 20ms 5ms distribution normal rate 50mbit", 47.8, 47.8, 91, 85, false, true},
    Profile{"jit_20", "delay 20ms 20ms distribution normal rate 50mbit",
            "delay 20ms 20ms distribution normal rate 50mbit", 41.8, 42.6, 91, 75, false, true},
    Profile{"loss_05", "delay 20ms loss 0.5% rate 50mbit", "delay 20ms loss 0.5% rate 50mbit", 9.9, 7.5, 91,
            85, true, false},
    Profile{"loss_2", "delay 20ms loss 2% rate 50mbit", "delay 20ms loss 2% rate 50mbit", 2.5, 2.8, 91, 65,
            true, false},
    Profile{"bw_4to1", "delay 20ms rate 50mbit", "delay 20ms rate 12mbit", 47.8, 11.5, 56, 54, false, false},
    Profile{"bw_10to1", "delay 20ms rate 100mbit", "delay 20ms rate 10mbit", 95.6, 9.6, 100, 96, false,
            false},
    Profile{"dual_lte", "delay 30ms 5ms distribution normal loss 0.5% rate 40mbit",
            "delay 45ms 8ms distribution normal loss 0.5% rate 25mbit", 6.6, 6.2, 59, 52, true, true},
    Profile{"fiber_lte", "delay 8ms rate 300mbit", "delay 40ms 8ms distribution normal loss 0.5% rate 30mbit",
            286.9, 2.3, 300, 272, true, true},
    Profile{"lte_starlink", "delay 35ms 8ms distribution normal rate 40mbit",
            "delay 50ms 25ms distribution normal loss 1% rate 100mbit", 34.6, 1.5, 127, 85, true, true},
    Profile{"lte_geo", "delay 35ms rate 40mbit", "delay 320ms 20ms distribution normal loss 0.5% rate 20mbit",
            38.3, 0.5, 55, 40, true, true},
    Profile{"congested", "delay 50ms 20ms distribution normal loss 2% rate 20mbit",
            "delay 60ms 25ms distribution normal loss 2% rate 15mbit", 1.3, 0.7, 32, 26, true, true},
    Profile{"adsl_seed", "delay 25ms rate 6003kbit limit 100", "delay 12ms rate 5870kbit limit 100", 5.7, 5.6,
            10.8, 10.3, false, false},
    Profile{"adsl_lte", "delay 10ms rate 20mbit limit 200", "delay 40ms rate 8mbit limit 200", 19.1, 7.7,
            25.4, 24, false, false},
};

Result<double> parse_percent(std::string_view word) {
  double value = 0;
  const auto end = word.data() + word.size();
  const auto [at, error] = std::from_chars(word.data(), end, value);
  if (error != std::errc{} || at + 1 != end || *at != '%' || value < 0 || value > 100) {
    return failure("'" + std::string(word) + "' is not a percentage such as 0.5%");
  }
  return value / 100;
}

Result<> parse_number(const std::string& text, std::size_t& out) {
  const auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && at == text.data() + text.size() ? Result<>{}
                                                                 : failure("'" + text + "' is not a number");
}

// Reads one netem word with its arguments from `words` at `i`, which is left behind them.
Result<> parse_word(const std::vector<std::string>& words, std::size_t& i, const std::string& directory,
                    LineSpec& spec) {
  const std::string& word = words[i++];
  if (i >= words.size()) return failure("'" + word + "' needs a value");
  if (word == "distribution") {
    return words[i++] == "normal" ? Result<>{} : failure("only the normal distribution is known");
  }
  if (word == "delay") {
    const auto delay = parse_duration(words[i++]);
    if (!delay) return tl::make_unexpected(delay.error());
    spec.delay = *delay;
    if (i < words.size()) {
      if (const auto jitter = parse_duration(words[i])) {
        spec.jitter = *jitter;
        ++i;
      }
    }
    return {};
  }
  if (word == "rate") {
    const auto rate = parse_rate(words[i++]);
    if (!rate) return tl::make_unexpected(rate.error());
    spec.rate = *rate;
    return {};
  }
  if (word == "limit") return parse_number(words[i++], spec.limit);
  if (word == "trace") {
    const std::string& file = words[i++];
    auto recording = Recording::load(file.starts_with('/') ? file : directory + "/" + file);
    if (!recording) return tl::make_unexpected(recording.error());
    spec.recording = *recording;
    return {};
  }
  if (word == "offset") {
    std::size_t seconds = 0;
    const auto done = parse_number(words[i++], seconds);
    spec.offset = std::chrono::seconds(seconds);
    return done;
  }
  double* const share = word == "loss"        ? &spec.loss
                        : word == "duplicate" ? &spec.duplicate
                        : word == "reorder"   ? &spec.reorder
                                              : nullptr;
  if (share == nullptr) return failure("'" + word + "' is no word of a line");
  const auto percent = parse_percent(words[i++]);
  if (!percent) return tl::make_unexpected(percent.error());
  *share = *percent;
  return {};
}

}  // namespace

Result<LineSpec> parse_line_spec(std::string_view text, const std::string& directory) {
  std::istringstream in{std::string(text)};
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  LineSpec spec;
  for (std::size_t i = 0; i < words.size();) {
    if (auto done = parse_word(words, i, directory, spec); !done)
      return tl::make_unexpected(done.error().in("line"));
  }
  return spec;
}

double offered_mbit(const LineSpec& line, Duration from, Duration to) {
  if (!line.recording) return static_cast<double>(line.rate.bits_per_second) * 1e-6;
  const auto ms = [&](Duration since) {
    return static_cast<std::uint64_t>(
        std::chrono::ceil<std::chrono::milliseconds>(line.offset + since).count());
  };
  const auto chances = line.recording->chances_before(ms(to)) - line.recording->chances_before(ms(from));
  return static_cast<double>(chances * Recording::kChanceBytes) * 8e-6 /
         std::chrono::duration<double>(to - from).count();
}

std::span<const Profile> all_profiles() {
  return kProfiles;
}

const Profile* find_profile(std::string_view name) {
  for (const Profile& profile : kProfiles) {
    if (profile.name == name) return &profile;
  }
  return nullptr;
}

LineSpec spec_a(const Profile& profile) {
  return parse_line_spec(profile.line_a).value();
}
LineSpec spec_b(const Profile& profile) {
  return parse_line_spec(profile.line_b).value();
}

}  // namespace bondd::sim
