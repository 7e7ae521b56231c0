#include "bondd/mlvpn/session/key_pair.h"

#include <fmt/format.h>
#include <sodium.h>

namespace bondd::mlvpn {
namespace {

constexpr int kVariant = sodium_base64_VARIANT_URLSAFE_NO_PADDING;
constexpr std::string_view kPrivate = "private = ", kPeer = "peer = ";

// The key behind `name`, which begins the next line of `text`; the line is cut off.
bool take_key(std::string_view& text, std::string_view name, std::span<std::uint8_t, kNoiseKeySize> out) {
  const std::string_view line = text.substr(0, text.find_first_of("\r\n"));
  text.remove_prefix(line.size());
  text.remove_prefix(std::min(text.find_first_not_of("\r\n"), text.size()));
  if (!line.starts_with(name)) return false;
  const std::string_view key = line.substr(name.size());
  std::size_t size = 0;
  return sodium_base642bin(out.data(), out.size(), key.data(), key.size(), nullptr, &size, nullptr,
                           kVariant) == 0 &&
         size == out.size();
}

std::string to_text(std::span<const std::uint8_t, kNoiseKeySize> key) {
  std::string text(sodium_base64_ENCODED_LEN(kNoiseKeySize, kVariant), '\0');
  sodium_bin2base64(text.data(), text.size(), key.data(), key.size(), kVariant);
  text.pop_back();  // its NUL
  return text;
}

}  // namespace

bool same(const std::optional<KeyPair>& a, const std::optional<KeyPair>& b) {
  if (!a || !b) return a.has_value() == b.has_value();
  return sodium_memcmp(a->own_private.data(), b->own_private.data(), kNoiseKeySize) == 0 &&
         a->peer_public == b->peer_public;
}

EngineKeys engine_keys(const Wiped<kPasswordKeys>& password, const std::optional<KeyPair>& pair) {
  EngineKeys keys;
  std::copy_n(password.data(), kPasswordKeys, keys.data());
  if (!pair) return keys;
  std::copy_n(pair->own_private.data(), kNoiseKeySize, keys.data() + kPasswordKeys);
  std::copy_n(pair->peer_public.data(), kNoiseKeySize, keys.data() + kPasswordKeys + kNoiseKeySize);
  return keys;
}

std::optional<KeyPair> key_pair_in(const EngineKeys& keys) {
  const auto bytes = keys.span().last<kKeyPairBytes>();
  if (sodium_is_zero(bytes.data(), bytes.size()) == 1) return std::nullopt;
  KeyPair pair{NoiseKey(bytes.first<kNoiseKeySize>())};
  std::copy_n(bytes.data() + kNoiseKeySize, kNoiseKeySize, pair.peer_public.begin());
  return pair;
}

Result<KeyPair> parse_key_file(std::string_view text) {
  KeyPair pair;
  if (!take_key(text, kPrivate, pair.own_private.span()))
    return failure("the first line is not \"private = KEY\"");
  if (!take_key(text, kPeer, pair.peer_public) || !text.empty())
    return failure("the second and last line is not \"peer = KEY\"");
  return pair;
}

std::string render_key_file(const KeyPair& pair) {
  return fmt::format("{}{}\n{}{}\n", kPrivate, to_text(std::as_const(pair.own_private).span()), kPeer,
                     to_text(pair.peer_public));
}

}  // namespace bondd::mlvpn
