// The words of a line: see parse_line_spec.
#include <charconv>
#include <sstream>
#include <string>
#include <vector>

#include "tests/sim/netem.h"

namespace bondd::sim {
namespace {

// The words, one after the other; the first thing that is wrong is kept.
class Words {
 public:
  explicit Words(std::string_view text) : in_{std::string(text)} {}

  // The next word, which is then `word()`; false at the end, or when something is wrong.
  bool next() { return error_.empty() && static_cast<bool>(in_ >> word_); }
  const std::string& word() const { return word_; }
  const std::string& error() const { return error_; }

  void fail(const std::string& why) {
    if (error_.empty()) error_ = why;
  }

  // The next word as a value of `parse`; fails in the name of `of`.
  template <typename T, typename Parse>
  void value(const std::string& of, Parse parse, T& out) {
    std::string text;
    if (!(in_ >> text)) return fail("'" + of + "' needs a value");
    const auto value = parse(text);
    if (!value) return fail("'" + of + "': " + value.error().message);
    out = *value;
  }
  // The same when it is there: what is no such value is left.
  template <typename T, typename Parse>
  void maybe(Parse parse, T& out) {
    const auto at = in_.tellg();
    std::string text;
    if (at < 0 || !(in_ >> text)) return;
    if (const auto value = parse(text)) {
      out = *value;
      return;
    }
    in_.seekg(at);
  }

 private:
  std::istringstream in_;
  std::string word_, error_;
};

Result<double> percent(std::string_view word) {
  double value = 0;
  const auto end = word.data() + word.size();
  const auto [at, error] = std::from_chars(word.data(), end, value);
  if (error != std::errc{} || at + 1 != end || *at != '%' || value < 0 || value > 100) {
    return failure("'" + std::string(word) + "' is not a percentage such as 0.5%");
  }
  return value / 100;
}

Result<std::size_t> number(std::string_view text) {
  std::size_t value = 0;
  const auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || at != text.data() + text.size()) {
    return failure("'" + std::string(text) + "' is not a number");
  }
  return value;
}

Result<Duration> whole_seconds(std::string_view text) {
  return number(text).map([](std::size_t n) -> Duration { return std::chrono::seconds(n); });
}

Result<std::string> normal(std::string_view text) {
  if (text != "normal") return failure("only the normal distribution is known");
  return std::string(text);
}

Result<std::string> gemodel(std::string_view text) {
  if (text != "gemodel") return failure("no model");
  return std::string(text);
}

void read_loss(Words& words, LineSpec& spec) {
  std::string model;
  words.maybe(gemodel, model);
  if (model.empty()) return words.value("loss", percent, spec.loss);
  BurstLoss bursts;
  for (double* share : {&bursts.to_bad, &bursts.to_good, &bursts.loss_when_bad, &bursts.loss_when_good}) {
    words.value("loss gemodel", percent, *share);
  }
  spec.bursts = bursts;
}

void read_word(Words& words, const std::string& directory, LineSpec& spec) {
  const std::string word = words.word();
  const auto recording = [&](const std::string& file) {
    return Recording::load(file.starts_with('/') ? file : directory + "/" + file);
  };
  std::string unused;
  if (word == "delay") {
    words.value(word, parse_duration, spec.delay);
    words.maybe(parse_duration, spec.jitter);
  } else if (word == "distribution") {
    words.value(word, normal, unused);
  } else if (word == "rate") {
    words.value(word, parse_rate, spec.rate);
  } else if (word == "limit") {
    words.value(word, number, spec.limit);
  } else if (word == "loss") {
    read_loss(words, spec);
  } else if (word == "duplicate") {
    words.value(word, percent, spec.duplicate);
  } else if (word == "reorder") {
    words.value(word, percent, spec.reorder);
  } else if (word == "late") {
    words.value(word, parse_duration, spec.late);
    words.value(word, percent, spec.late_share);
  } else if (word == "burst") {
    words.value(word, number, spec.bucket);
  } else if (word == "police") {
    words.value(word, number, spec.police);
  } else if (word == "mtu") {
    words.value(word, number, spec.mtu);
  } else if (word == "slot") {
    words.value(word, parse_duration, spec.slot_least);
    words.value(word, parse_duration, spec.slot_most);
  } else if (word == "trace") {
    words.value(word, recording, spec.recording);
  } else if (word == "offset") {
    words.value(word, whole_seconds, spec.offset);
  } else {
    words.fail("'" + word + "' is no word of a line");
  }
}

double steady_mbit(const LineSpec& line) {
  const Rate rate = line.bottleneck ? line.bottleneck->rate : line.rate;
  return static_cast<double>(rate.bits_per_second) * 1e-6;
}

}  // namespace

Result<LineSpec> parse_line_spec(std::string_view text, const std::string& directory) {
  Words words(text);
  LineSpec spec;
  while (words.next()) read_word(words, directory, spec);
  if (spec.rate.bits_per_second == 0 && (spec.bucket != 0 || spec.police != 0)) {
    words.fail("'burst' and 'police' need a rate");
  }
  if (spec.slot_least > spec.slot_most) words.fail("'slot': the first time is the shorter one");
  if (!words.error().empty()) return failure("line: " + words.error());
  return spec;
}

double offered_mbit(const LineSpec& line, Duration from, Duration to) {
  if (!line.recording) return steady_mbit(line);
  const auto ms = [&](Duration since) {
    return static_cast<std::uint64_t>(
        std::chrono::ceil<std::chrono::milliseconds>(line.offset + since).count());
  };
  const auto chances = line.recording->chances_before(ms(to)) - line.recording->chances_before(ms(from));
  return static_cast<double>(chances * Recording::kChanceBytes) * 8e-6 /
         std::chrono::duration<double>(to - from).count();
}

}  // namespace bondd::sim
