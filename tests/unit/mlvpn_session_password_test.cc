// What a password becomes. The values are of Python's hashlib (BLAKE2b) and of libsodium's crypto_pwhash,
// called with the parameters as docs/internals/engine.md names them: other keys are another peer.
#include <gtest/gtest.h>
#include <sodium.h>

#include <string>

#include "bondd/mlvpn/session/password.h"

namespace bondd::mlvpn {
namespace {

constexpr std::string_view kPassword = "a password of the test";

std::string hex(std::span<const std::uint8_t> bytes) {
  std::string text(2 * bytes.size() + 1, '\0');
  sodium_bin2hex(text.data(), text.size(), bytes.data(), bytes.size());
  text.pop_back();
  return text;
}

TEST(Password, BecomesTheWiresKeyAndTheHandshakes) {
  const auto keys = keys_of_password(kPassword);
  ASSERT_TRUE(keys);
  EXPECT_EQ(hex(keys->span().first<32>()),
            "4f5911cd5d382655d83925739f1dc38ff5eb9f6c3ab0d8083d3615df33758172");
  EXPECT_EQ(hex(keys->span().last<32>()), "53591a92ae6fd75b138ef043b1f39aed294e48dbc34fa2ab39c18980585bb991");
  EXPECT_EQ(mark_of(*keys), "4c746b1ac8c33d502e3171920ad1312c32c5d00c3c38781355a8d4811cea331d");
}

TEST(Password, IsToldFromAnotherByItsKeys) {
  const auto keys = keys_of_password(kPassword);
  ASSERT_TRUE(keys);
  EXPECT_TRUE(is_password_of(*keys, kPassword));
  EXPECT_FALSE(is_password_of(*keys, "another password"));
  EXPECT_FALSE(is_password_of({}, kPassword));  // none yet
}

TEST(Password, AnEmptyOneIsNone) {
  EXPECT_FALSE(keys_of_password(""));
}

}  // namespace
}  // namespace bondd::mlvpn
