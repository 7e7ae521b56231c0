#include <unistd.h>

#include <fstream>

#include "bondd/control/run_dir.h"
#include "tests/support/fake_host.h"

namespace bondd::control {
namespace {

using testing::TemporaryDir;

TEST(RunDir, OneSiteIsTakenOnce) {
  const TemporaryDir root;
  auto first = RunDir::take(root.path(), "office");
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(RunDirView(root.path(), "office").running(), 0);
  ASSERT_TRUE(first->record_pid().has_value());
  EXPECT_EQ(RunDirView(root.path(), "office").running(), getpid());
  const auto second = RunDir::take(root.path(), "office");
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, EWOULDBLOCK);
  first->remove();
  EXPECT_FALSE(RunDirView(root.path(), "office").running());
  EXPECT_TRUE(RunDir::take(root.path(), "office").has_value());
}

// The kernel does not tell it of a process with more rights than one's own: bondd@.service and `bondd up`.
TEST(RunDir, ARunningSiteSaysInWhichNetworkNamespace) {
  const TemporaryDir root;
  auto office = RunDir::take(root.path(), "office");
  const RunDirView view(root.path(), "office");
  EXPECT_FALSE(runs_in_this_netns(view));
  ASSERT_TRUE(office->record_pid().has_value());
  EXPECT_TRUE(runs_in_this_netns(view));
  std::ofstream(view.path() / "lock") << "1 1 net:[1]\n";  // the same file, whose lock is held
  EXPECT_FALSE(runs_in_this_netns(view));
}

TEST(RunDir, SlotsDifferAndAreFreeAgain) {
  const TemporaryDir root;
  auto office = RunDir::take(root.path(), "office");
  auto lab = RunDir::take(root.path(), "lab");
  EXPECT_EQ(office->allocate_slot().value(), 0U);
  EXPECT_EQ(lab->allocate_slot().value(), 1U);
  EXPECT_EQ(office->allocate_slot().value(), 0U);
  office->remove();
  EXPECT_EQ(RunDir::take(root.path(), "third")->allocate_slot().value(), 0U);
}

TEST(RunDir, TheFirstSavedValueStays) {
  const TemporaryDir root;
  auto dir = RunDir::take(root.path(), "office");
  const std::string key = "net.ipv4.conf.eth0/5.rp_filter";
  ASSERT_TRUE(dir->save_sysctl(key, "1", "2").has_value());
  ASSERT_TRUE(dir->save_sysctl(key, "2", "0").has_value());
  const std::map<std::string, std::string> saved = {{key, "1"}};
  EXPECT_EQ(dir->saved_sysctls(), saved);
  dir->forget_sysctl(key);
  EXPECT_TRUE(dir->saved_sysctls().empty());
}

TEST(RunDir, AKilledSiteIsToPutBackWhatAnotherChangedFirst) {
  const TemporaryDir root;
  const std::string key = "net.ipv4.ip_forward";
  {
    auto killed = RunDir::take(root.path(), "killed");
    ASSERT_TRUE(killed->record_pid().has_value());
    ASSERT_TRUE(killed->save_sysctl(key, "1", "1").has_value());  // it found what the other had set
  }
  auto other = RunDir::take(root.path(), "other");
  ASSERT_TRUE(other->record_pid().has_value());
  ASSERT_TRUE(other->save_sysctl(key, "0", "1").has_value());
  EXPECT_TRUE(other->hand_over_sysctl(key));
  EXPECT_EQ(RunDirView(root.path(), "killed").saved_sysctls().at(key), "0");
  RunDir::take(root.path(), "killed")->remove();
  EXPECT_FALSE(other->hand_over_sysctl(key));
}

TEST(RunDir, RemovingTheLastSiteRemovesTheRoot) {
  const TemporaryDir base;
  const auto root = base.path() / "bondd";
  auto office = RunDir::take(root, "office");
  auto lab = RunDir::take(root, "lab");
  ASSERT_TRUE(office->allocate_slot().has_value());
  office->remove();
  EXPECT_TRUE(std::filesystem::exists(root));
  lab->remove();
  EXPECT_FALSE(std::filesystem::exists(root));
}

TEST(RunDir, AnothersDirectoryIsNotUsed) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to give a directory away";
  const TemporaryDir root;
  {
    auto dir = RunDir::take(root.path(), "office");
    ASSERT_TRUE(dir->save_sysctl("net.ipv4.ip_forward", "0", "1"));
  }
  ASSERT_EQ(chown((root.path() / "office").c_str(), 1234, 1234), 0);
  EXPECT_TRUE(RunDirView(root.path(), "office").saved_sysctls().empty());
  const auto taken = RunDir::take(root.path(), "office");
  ASSERT_FALSE(taken.has_value());
  EXPECT_EQ(taken.error().code, EPERM);
}

// The lock says a pid; only if that process wrote it is it sent a signal.
TEST(RunDir, ThePidInALockIsProvedBeforeItIsUsed) {
  const TemporaryDir root;
  auto dir = RunDir::take(root.path(), "office");
  ASSERT_TRUE(dir->record_pid().has_value());
  const RunDirView view(root.path(), "office");
  EXPECT_EQ(view.running(), getpid());
  EXPECT_FALSE(view.running_process()) << "this program is no bondd";
}

TEST(RunDir, AForgedNameOfASettingLeadsNowhere) {
  const TemporaryDir root;
  auto dir = RunDir::take(root.path(), "office");
  for (const std::string key : {"%%.%%.etc.passwd", "net.ipv4.%%.%%.%%.etc.passwd", "kernel.core_pattern",
                                "net.ipv4.conf.%.rp_filter"}) {
    ASSERT_TRUE(write_durably(root.path() / "office/sysctl" / key, "1").has_value());
  }
  EXPECT_TRUE(dir->saved_sysctls().empty());
  EXPECT_FALSE(is_network_sysctl("net.ipv4.//.//.etc"));
  EXPECT_TRUE(is_network_sysctl("net.ipv4.conf.eth0/5.rp_filter"));
  EXPECT_EQ(make_sysctls(root.path())->write("kernel.core_pattern", "|/bin/sh").error().code, EINVAL);
}

TEST(Sysctls, ADotInADeviceNameIsASlashInTheKey) {
  EXPECT_EQ(sysctl_path("net.ipv4.conf.eth0/5.rp_filter"), "net/ipv4/conf/eth0.5/rp_filter");
  const TemporaryDir root;
  std::filesystem::create_directories(root.path() / "net/ipv4/conf/eth0.5");
  ASSERT_TRUE(write_durably(root.path() / "net/ipv4/conf/eth0.5/rp_filter", "1\n").has_value());
  const auto sysctls = make_sysctls(root.path());
  EXPECT_EQ(sysctls->read("net.ipv4.conf.eth0/5.rp_filter"), "1");
  ASSERT_TRUE(sysctls->write("net.ipv4.conf.eth0/5.rp_filter", "2").has_value());
  EXPECT_EQ(sysctls->read("net.ipv4.conf.eth0/5.rp_filter")->front(), '2');
  EXPECT_EQ(sysctls->write("net.ipv4.conf.eth1.rp_filter", "2").error().code, ENOENT);
}

}  // namespace
}  // namespace bondd::control
