// A site's file from anybody: no crash, no endless work, and messages that a terminal
// can show.
#include <algorithm>
#include <cstdint>
#include <string_view>

#include "bondd/config/config.h"
#include "tests/fuzz/check.h"
#include "tests/support/fake_machine.h"

namespace {

namespace config = bondd::config;

bool is_printable(std::string_view message) {
  return std::none_of(message.begin(), message.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7F;
  });
}

bool is_error(const config::Diagnostic& diagnostic) {
  return diagnostic.severity == config::Severity::kError;
}

void check_what_was_accepted(const bondd::model::Config& config) {
  FUZZ_CHECK(!config.wans.empty() && config.wans.size() <= 15);
  FUZZ_CHECK(config.bond.interface.size() <= 15);
  FUZZ_CHECK(config.bond.address.contains(config.bond.peer));
  for (const auto& wan : config.wans) FUZZ_CHECK(!wan.name.empty() && wan.port != 0);
  for (const auto& policy : config.policies) FUZZ_CHECK(!policy.matches.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bondd::test::FakeMachine machine;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto lines = 1 + static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
  const config::Loaded loaded = config::load_text(text, "/etc/bondd/office.toml", machine);
  FUZZ_CHECK(loaded.config.has_value() ==
             std::none_of(loaded.diagnostics.begin(), loaded.diagnostics.end(), is_error));
  FUZZ_CHECK(std::is_sorted(loaded.diagnostics.begin(), loaded.diagnostics.end()));
  for (const config::Diagnostic& diagnostic : loaded.diagnostics) {
    FUZZ_CHECK(!diagnostic.message.empty() && is_printable(diagnostic.message));
    FUZZ_CHECK(diagnostic.line >= 1 && diagnostic.line <= lines && diagnostic.column >= 1);
  }
  if (loaded.config) check_what_was_accepted(*loaded.config);
  return 0;
}
