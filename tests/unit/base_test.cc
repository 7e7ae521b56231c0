#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "bondd/base/file.h"
#include "bondd/base/ip.h"
#include "bondd/base/secret.h"
#include "bondd/base/text.h"
#include "bondd/base/units.h"

namespace bondd {
namespace {

using namespace std::chrono_literals;

TEST(Units, DurationsNeedAUnit) {
  EXPECT_EQ(parse_duration("300ms").value(), 300ms);
  EXPECT_EQ(parse_duration("1.5s").value(), 1500ms);
  EXPECT_FALSE(parse_duration("300").has_value());
  EXPECT_FALSE(parse_duration("-1s").has_value());
  EXPECT_FALSE(parse_duration("25h").has_value());
  EXPECT_FALSE(parse_duration("nan s").has_value());
}

TEST(Units, RatesNeedAUnitAndSomething) {
  EXPECT_EQ(parse_rate("896kbit").value().bits_per_second, 896'000U);
  EXPECT_EQ(parse_rate("20Mbit").value().bits_per_second, 20'000'000U);
  EXPECT_FALSE(parse_rate("20").has_value());
  EXPECT_FALSE(parse_rate("0mbit").has_value());
  EXPECT_FALSE(parse_rate("20mbyte").has_value());
}

TEST(Units, FormatParsesBack) {
  for (const char* text : {"300ms", "2s", "1m"}) EXPECT_EQ(format_duration(*parse_duration(text)), text);
  for (const char* text : {"896kbit", "20mbit", "1gbit"}) EXPECT_EQ(format_rate(*parse_rate(text)), text);
}

TEST(Units, RatesAreTakenAsProvidersPrintThem) {
  for (const char* text : {"8mbit", "8 Mbit", "8Mbps", "8 Mbps", "8 Mbit/s", "8mbit/s", "8000 kbit"}) {
    const auto rate = parse_rate(text);
    ASSERT_TRUE(rate) << text;
    EXPECT_EQ(rate->bits_per_second, 8'000'000U) << text;
  }
  for (const char* text : {"8 MB", "8 MB/s", "8m", "8 mbit x", "8"}) {
    EXPECT_FALSE(parse_rate(text).has_value()) << text;  // bytes, or nobody knows what
  }
}

TEST(Ip, PrefixesKnowTheirNetwork) {
  const IpPrefix prefix = parse_prefix("172.16.16.2/30").value();
  EXPECT_EQ(to_string(prefix.network()), "172.16.16.0/30");
  EXPECT_TRUE(prefix.contains(parse_ip("172.16.16.1").value()));
  EXPECT_FALSE(prefix.contains(parse_ip("172.16.16.4").value()));
  EXPECT_FALSE(prefix.contains(parse_ip("::1").value()));
  EXPECT_EQ(to_string(parse_prefix("2001:db8::5/64")->network()), "2001:db8::/64");
  EXPECT_EQ(to_string(parse_prefix("0.0.0.0/0")->network()), "0.0.0.0/0");
}

TEST(Ip, BadTextIsRefused) {
  for (const char* text : {"", "1.2.3", "1.2.3.4/33", "1.2.3.4/", "::1/129", "1.2.3.4/8x", "host"}) {
    EXPECT_FALSE(parse_prefix(text).has_value()) << text;
  }
}

TEST(Ip, SeededMacsAreLocalUnicastAndStable) {
  const MacAddress mac = mac_from_seed("office");
  EXPECT_EQ(mac, mac_from_seed("office"));
  EXPECT_NE(mac, mac_from_seed("vps"));
  EXPECT_EQ(mac.bytes[0] & 0x03, 0x02);
}

TEST(Text, SuggestsTheLikelyWord) {
  constexpr std::string_view kKeys[] = {"loss_tolerance", "latency_tolerance", "timeout"};
  EXPECT_EQ(likely_meant("loss_tolerence", kKeys), "loss_tolerance");
  EXPECT_EQ(likely_meant("password", kKeys), "");
  EXPECT_EQ(edit_distance("nmae", "name"), 1U);
  EXPECT_EQ(edit_distance("", "name"), 4U);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
}

TEST(Text, ShellQuotesOnlyWhatNeedsIt) {
  EXPECT_EQ(shell_join({"ip", "link", "add", "it's"}), R"(ip link add 'it'\''s')");
}

class SecretTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = "/tmp/bondd-secret-XXXXXX";
    dir_ = mkdtemp(name.data());
    file_ = dir_ / "bond.password";
    ASSERT_TRUE(write_file_atomically(file_, "correct horse\n", 0600).has_value());
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  static std::string refusal(const std::filesystem::path& file) {
    const auto secret = read_secret(file);
    return secret ? "" : secret.error().message;
  }
  std::filesystem::path dir_, file_;
};

TEST_F(SecretTest, IsReadFromAFileOfItsOwnersAlone) {
  EXPECT_EQ(unsafe_path(file_), "");
  EXPECT_EQ(read_secret(file_)->view(), "correct horse\n");
  EXPECT_EQ(read_secret(file_, 7)->view(), "correct");
  chmod(file_.c_str(), 0640);
  EXPECT_NE(refusal(file_).find("others may read it (mode 0640); run chmod 600"), std::string::npos);
}

TEST_F(SecretTest, IsRefusedWhereOthersCouldPutAnother) {
  chmod(dir_.c_str(), 0777);
  EXPECT_NE(refusal(file_).find("others may write to " + dir_.string()), std::string::npos) << refusal(file_);
  const auto link = dir_ / "link";
  ASSERT_EQ(symlink("/etc/hostname", link.c_str()), 0);
  EXPECT_NE(unsafe_path(link), "");
  chmod(dir_.c_str(), 0700);
  EXPECT_EQ(unsafe_path(link), "");
  const auto far = std::filesystem::path(dir_.string() + "-link");
  ASSERT_EQ(symlink(file_.c_str(), far.c_str()), 0);  // in /tmp, which is sticky
  EXPECT_EQ(unsafe_path(far), "");
  chmod(dir_.c_str(), 0770);
  EXPECT_NE(unsafe_path(far), "");
  unlink(far.c_str());
}

TEST_F(SecretTest, IsRefusedWhenItIsAnothers) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to give a file away";
  ASSERT_EQ(chown(file_.c_str(), 1234, 1234), 0);
  EXPECT_NE(refusal(file_).find("belongs to user 1234"), std::string::npos) << refusal(file_);
  ASSERT_EQ(chown(file_.c_str(), 0, 0), 0);
  ASSERT_EQ(chown(dir_.c_str(), 1234, 1234), 0);
  EXPECT_NE(unsafe_path(file_).find(dir_.string() + " belongs to user 1234"), std::string::npos);
}

}  // namespace
}  // namespace bondd
