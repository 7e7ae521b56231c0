#include "bondd/control/peer_memory.h"

#include <sys/stat.h>

#include "tests/support/fake_host.h"

namespace bondd::control {
namespace {

using testing::TemporaryDir;

TEST(PeerMemory, HoldsOverRestartsForOnePassword) {
  const TemporaryDir base;
  const auto directory = base.path() / "state";
  EXPECT_FALSE(PeerMemory(directory, "office").proved("mark"));
  ASSERT_TRUE(PeerMemory(directory, "office").note("mark"));
  EXPECT_TRUE(PeerMemory(directory, "office").proved("mark"));
  EXPECT_FALSE(PeerMemory(directory, "office").proved("mark of another password"));
  EXPECT_FALSE(PeerMemory(directory, "vps").proved("mark"));
  ASSERT_TRUE(PeerMemory(directory, "office").note("mark of another password"));
  EXPECT_TRUE(PeerMemory(directory, "office").proved("mark of another password"));
}

TEST(PeerMemory, IsItsOwnersAlone) {
  const TemporaryDir base;
  const auto directory = base.path() / "state";
  ASSERT_TRUE(PeerMemory(directory, "office").note("mark"));
  struct stat about = {};
  ASSERT_EQ(stat(directory.c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0700U);
  ASSERT_EQ(stat((directory / "office.peer").c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0600U);
}

TEST(PeerMemory, IsForgottenAtOnce) {
  const TemporaryDir base;
  PeerMemory memory(base.path(), "office");
  memory.forget();
  ASSERT_TRUE(memory.note("mark"));
  memory.forget();
  EXPECT_FALSE(memory.proved("mark"));
}

TEST(PeerMemory, SaysWhereItCannotWrite) {
  const auto noted = PeerMemory("/proc/no-such-directory", "office").note("mark");
  ASSERT_FALSE(noted);
  EXPECT_NE(noted.error().message.find("/proc/no-such-directory"), std::string::npos);
}

}  // namespace
}  // namespace bondd::control
