#include <gtest/gtest.h>

#include "bondd/mlvpn/session/key_pair.h"

namespace bondd::mlvpn {
namespace {

KeyPair some_pair() {
  KeyPair pair;
  for (std::uint8_t i = 0; i < kNoiseKeySize; ++i) {
    pair.own_private.data()[i] = i;
    pair.peer_public[i] = static_cast<std::uint8_t>(255 - i);
  }
  return pair;
}

TEST(KeyPairFile, IsTwoLinesAndComesBack) {
  const std::string text = render_key_file(some_pair());
  EXPECT_EQ(text,
            "private = AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n"
            "peer = __79_Pv6-fj39vX08_Lx8O_u7ezr6uno5-bl5OPi4eA\n");
  auto read = parse_key_file(text);
  ASSERT_TRUE(read);
  EXPECT_TRUE(same(some_pair(), std::optional(std::move(*read))));
}

TEST(KeyPair, GoesToTheEngineWithThePasswordsKeys) {
  const auto password = keys_of_password("a password of the test");
  ASSERT_TRUE(password);
  const EngineKeys keys = engine_keys(*password, some_pair());
  EXPECT_TRUE(std::ranges::equal(keys.span().first<kPasswordKeys>(), password->span()));
  EXPECT_TRUE(same(key_pair_in(keys), some_pair()));
  EXPECT_FALSE(key_pair_in(engine_keys(*password, std::nullopt)));
}

TEST(KeyPair, AreTheSameWhenBothKeysAre) {
  KeyPair other = some_pair();
  other.peer_public[31] ^= 1;
  EXPECT_FALSE(same(some_pair(), std::optional(std::move(other))));
  EXPECT_FALSE(same(some_pair(), std::nullopt));
  EXPECT_TRUE(same(std::nullopt, std::nullopt));
}

TEST(KeyPairFile, AnythingElseIsRefused) {
  const std::string text = render_key_file(some_pair());
  for (const std::string& wrong : {std::string(), text.substr(0, 53), text.substr(0, text.size() - 2),
                                   text + "more\n", "x" + text, text + text, "private = \npeer = \n" + text})
    EXPECT_FALSE(parse_key_file(wrong)) << wrong;
  EXPECT_EQ(parse_key_file("peer = x\n").error().message, "the first line is not \"private = KEY\"");
}

}  // namespace
}  // namespace bondd::mlvpn
