#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>

#include "bondd/base/file.h"
#include "openvpn-profiles/identity.h"

namespace bondd::openvpn {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::StartsWith;

class IdentityTest : public ::testing::Test {
 protected:
  IdentityTest() {
    std::string name = (fs::temp_directory_path() / "bondd-identity-XXXXXX").string();
    dir_ = ::mkdtemp(name.data());
  }
  ~IdentityTest() override { fs::remove_all(dir_); }

  fs::path dir_, key_ = "", certificate_ = "";
  void SetUp() override {
    key_ = dir_ / "office.key";
    certificate_ = dir_ / "office.crt";
  }
};

TEST_F(IdentityTest, IsMadeOnceAndReadBack) {
  const Result<std::string> made = ensure_identity(key_, certificate_, "bondd office");
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_THAT(*made, MatchesRegex("([0-9A-F]{2}:){31}[0-9A-F]{2}"));
  EXPECT_EQ(*ensure_identity(key_, certificate_, "bondd office"), *made);
  EXPECT_EQ(*read_fingerprint(key_, certificate_), *made);
  struct stat info {};
  ASSERT_EQ(::stat(key_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
  EXPECT_THAT(*read_file(key_), StartsWith("-----BEGIN PRIVATE KEY-----"));
}

TEST_F(IdentityTest, TwoAreNeverTheSame) {
  EXPECT_NE(*fingerprint(make_identity("a")->certificate), *fingerprint(make_identity("a")->certificate));
}

TEST_F(IdentityTest, HalfOfItIsNotOverwritten) {
  ASSERT_TRUE(ensure_identity(key_, certificate_, "x"));
  const std::string key = *read_file(key_);
  fs::remove(certificate_);
  const Result<std::string> refused = ensure_identity(key_, certificate_, "x");
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("office.crt is not: put it back, or remove"));
  EXPECT_EQ(*read_file(key_), key);
  EXPECT_FALSE(fs::exists(certificate_));
}

TEST_F(IdentityTest, AKeyOfAnotherCertificateIsAnError) {
  ASSERT_TRUE(ensure_identity(key_, certificate_, "x"));
  ASSERT_TRUE(write_file_atomically(certificate_, make_identity("y")->certificate));
  const Result<std::string> refused = read_fingerprint(key_, certificate_);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("is not the key of"));
}

TEST_F(IdentityTest, WhatIsNoKeyIsSaid) {
  ASSERT_TRUE(write_file_atomically(key_, "hello"));
  ASSERT_TRUE(write_file_atomically(certificate_, "hello"));
  EXPECT_THAT(read_fingerprint(key_, certificate_).error().message, HasSubstr("holds no private key"));
  EXPECT_FALSE(fingerprint("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
  EXPECT_FALSE(make_identity(""));
  EXPECT_FALSE(make_identity(std::string(65, 'x')));
}

TEST_F(IdentityTest, AnUnwritableDirectoryIsSaidAndLeavesNothing) {
  const Result<std::string> refused = ensure_identity(dir_ / "none/a.key", dir_ / "none/a.crt", "x");
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("cannot write"));
}

}  // namespace
}  // namespace bondd::openvpn
