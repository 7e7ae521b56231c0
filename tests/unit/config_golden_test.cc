// Every mistake in a site's file, with the exact words that it gets: each
// tests/golden/config/NAME.toml has its messages in NAME.txt. After a wanted change run
// this program with BONDD_UPDATE_GOLDENS=1 and review the difference like code.
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "bondd/config/config.h"
#include "bondd/config/document.h"
#include "bondd/config/reader.h"
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
  const std::string text = slurp(kGoldens / (name + ".toml"));
  // Each file on the machine of its end, see tests/support/fake_machine.h, or on the one that it names.
  const bool other = text.starts_with("# On the other end's machine.");
  const bool vps = (text.find("role = \"server\"") != std::string::npos) != other;
  const test::FakeMachine machine = vps ? test::FakeMachine::vps() : test::FakeMachine();
  const Loaded loaded = load_text(text, "/etc/bondd/" + name + ".toml", machine);
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

// The tables of docs/configuration.md as the schema has them.
std::string reference() {
  std::string out;
  for (const Table& table : tables()) {
    const std::string title = table.name.empty() ? "Top of the file" : "`" + header(table) + "`";
    const std::string_view where = table.side == Side::kClient   ? " In the client's file only."
                                   : table.side == Side::kServer ? " In the server's file only."
                                                                 : "";
    out += "### " + title + "\n" + std::string(table.help) + std::string(where) + "\n\n";
    out += "| key | takes | |\n|---|---|---|\n";
    for (const Key& key : keys()) {
      if (key.table != table.name) continue;
      std::string note(key.help);
      if (key.required == Side::kBoth || key.required == table.side) note += " **Required.**";
      if (key.required == Side::kClient && table.side == Side::kBoth) note += " **Required on the client.**";
      if (key.side == Side::kClient && table.side == Side::kBoth) note += " Client only.";
      out += "| `" + std::string(key.name) + "` | " + expected(key) + ": `" + std::string(key.example) +
             "` | " + note + " |\n";
    }
    out += "\n";
  }
  return out;
}

TEST(ConfigReference, DocumentationHasEveryKeyAsTheSchemaHasIt) {
  const fs::path file = fs::path(BONDD_SOURCE_DIR) / "docs/configuration.md";
  std::string text = slurp(file);
  const std::size_t begin = text.find("-->\n", text.find("<!-- The tables from here")) + 4;
  const std::size_t end = text.find("<!-- reference: end -->");
  ASSERT_NE(end, std::string::npos);
  const std::string wanted = "\n" + reference();
  if (std::getenv("BONDD_UPDATE_GOLDENS") != nullptr) {
    std::string updated = text;
    updated.replace(begin, end - begin, wanted);
    std::ofstream(file, std::ios::binary) << updated;
    text = updated;
  }
  EXPECT_EQ(text.substr(begin, text.find("<!-- reference: end -->") - begin), wanted);
}

TEST(ConfigReference, EveryExampleIsAccepted) {
  for (const Key& key : keys()) {
    if (key.type == Type::kFingerprint) continue;  // its example is cut short
    const std::string line = std::string(key.name) + " = " + std::string(key.example) + "\n";
    const auto document = parse_document(line);
    ASSERT_TRUE(document.has_value()) << line;
    std::vector<Mistake> mistakes;
    EXPECT_TRUE(parse_value(key, document->entries.at(0).value, &mistakes).has_value()) << line;
  }
}

INSTANTIATE_TEST_SUITE_P(Mistakes, ConfigGolden, testing::ValuesIn(golden_names()), [](const auto& instance) {
  std::string name = instance.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace bondd::config
