// `bondd reload --confirm`: the file from before comes back, whatever happens to bondd.
#include "bondd/control/unconfirmed_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "bondd/control/run_dir.h"
#include "tests/support/fake_host.h"

namespace bondd::control {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class UnconfirmedFileTest : public ::testing::Test {
 protected:
  UnconfirmedFileTest() { std::ofstream(file_) << "changed"; }
  static std::string content(const fs::path& file) { return read_small_file(file).value_or("(none)"); }
  static unsigned mode(const fs::path& file) {
    return static_cast<unsigned>(fs::status(file).permissions() & fs::perms::mask);
  }

  testing::TemporaryDir root_;
  fs::path directory_ = root_.path(), file_ = directory_ / "office.toml";
};

TEST_F(UnconfirmedFileTest, TheOldTextComesBackAndTheChangedOneIsKept) {
  fs::permissions(file_, fs::perms{0640});
  const UnconfirmedFile unconfirmed(file_);
  ASSERT_TRUE(unconfirmed.keep("before").has_value());
  EXPECT_EQ(mode(directory_ / "office.toml.before"), 0600U);
  const auto said = unconfirmed.restore();
  ASSERT_TRUE(said.has_value()) << said.error().message;
  EXPECT_THAT(*said, HasSubstr("not confirmed"));
  EXPECT_EQ(content(file_), "before");
  EXPECT_EQ(mode(file_), 0640U) << "as the admin had it";
  EXPECT_EQ(content(directory_ / "office.toml.unconfirmed"), "changed");
  EXPECT_EQ(mode(directory_ / "office.toml.unconfirmed"), 0600U);
  EXPECT_FALSE(fs::exists(directory_ / "office.toml.before"));
  EXPECT_THAT(unconfirmed.restore().value(), IsEmpty()) << "once";
}

TEST_F(UnconfirmedFileTest, NothingComesBackWhenNothingWaitsOrTheChangeIsConfirmed) {
  const UnconfirmedFile unconfirmed(file_);
  EXPECT_THAT(unconfirmed.restore().value(), IsEmpty());
  ASSERT_TRUE(unconfirmed.keep("before").has_value());
  ASSERT_TRUE(unconfirmed.forget().has_value());
  EXPECT_TRUE(unconfirmed.forget().has_value()) << "twice is once";
  EXPECT_THAT(unconfirmed.restore().value(), IsEmpty());
  EXPECT_EQ(content(file_), "changed");
}

TEST_F(UnconfirmedFileTest, AFileThatIsTheSameStaysAndAMissingOneIsWritten) {
  const UnconfirmedFile unconfirmed(file_);
  ASSERT_TRUE(unconfirmed.keep("changed").has_value());
  ASSERT_TRUE(unconfirmed.restore().has_value());
  EXPECT_FALSE(fs::exists(directory_ / "office.toml.unconfirmed"));
  ASSERT_TRUE(unconfirmed.keep("before").has_value());
  fs::remove(file_);
  ASSERT_TRUE(unconfirmed.restore().has_value());
  EXPECT_EQ(content(file_), "before");
  EXPECT_EQ(mode(file_), 0600U);
}

TEST_F(UnconfirmedFileTest, ASymbolicLinkStaysOne) {
  const fs::path link = directory_ / "link.toml";
  fs::create_symlink(file_, link);
  const UnconfirmedFile unconfirmed(link);
  ASSERT_TRUE(unconfirmed.keep("before").has_value());
  ASSERT_TRUE(unconfirmed.restore().has_value());
  EXPECT_TRUE(fs::is_symlink(link));
  EXPECT_EQ(content(file_), "before");
}

TEST_F(UnconfirmedFileTest, ADirectoryThatTakesNoFileIsAnError) {
  const UnconfirmedFile unconfirmed(directory_ / "absent" / "office.toml");
  EXPECT_THAT(unconfirmed.keep("before").error().message, HasSubstr("cannot write"));
}

}  // namespace
}  // namespace bondd::control
