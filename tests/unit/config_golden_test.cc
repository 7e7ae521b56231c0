// Every mistake in a site's file, with the exact words that it gets: each
// tests/golden/config/NAME.toml has its messages in NAME.txt. After a wanted change run
// this program with BONDD_UPDATE_GOLDENS=1 and review the difference like code.
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "bondd/config/config.h"
#include "bondd/config/schema.h"
#include "tests/support/fake_machine.h"

namespace bondd::config {
namespace {

namespace fs = std::filesystem;

const fs::path kGoldens = fs::path(BONDD_SOURCE_DIR) / "tests/golden/config";

std::string slurp(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::vector<std::string> golden_names() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(kGoldens)) {
    if (entry.path().extension() == ".toml") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class ConfigGolden : public testing::TestWithParam<std::string> {};

TEST_P(ConfigGolden, SaysExactlyThis) {
  const std::string& name = GetParam();
  const Loaded loaded =
      load_text(slurp(kGoldens / (name + ".toml")), "/etc/bondd/" + name + ".toml", test::FakeMachine());
  std::string said;
  bool has_error = false;
  for (const Diagnostic& diagnostic : loaded.diagnostics) {
    said += to_string(diagnostic) + "\n";
    has_error = has_error || diagnostic.severity == Severity::kError;
  }
  EXPECT_EQ(loaded.config.has_value(), !has_error);
  const fs::path golden = kGoldens / (name + ".txt");
  if (std::getenv("BONDD_UPDATE_GOLDENS") != nullptr) std::ofstream(golden, std::ios::binary) << said;
  EXPECT_EQ(said, slurp(golden));
}

INSTANTIATE_TEST_SUITE_P(Mistakes, ConfigGolden, testing::ValuesIn(golden_names()), [](const auto& instance) {
  std::string name = instance.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace bondd::config
