#include "bondd/setup/token.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sodium.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>

#include "bondd/mlvpn/session/key_pair.h"
#include "bondd/setup/values.h"

namespace bondd::setup {
namespace {

using nlohmann::json;

constexpr std::size_t kChecksum = 4;
constexpr std::size_t kLongest = 4096;  // bytes of text; 15 lines with a certificate need about 1600
constexpr int kVariant = sodium_base64_VARIANT_URLSAFE_NO_PADDING;

using Bytes = std::vector<std::uint8_t>;

std::array<std::uint8_t, kChecksum> checksum(const Bytes& bytes) {
  std::array<std::uint8_t, crypto_generichash_BYTES> hash{};
  crypto_generichash(hash.data(), hash.size(), bytes.data(), bytes.size(), nullptr, 0);
  std::array<std::uint8_t, kChecksum> out{};
  std::copy_n(hash.begin(), kChecksum, out.begin());
  return out;
}

std::string to_base64(const Bytes& bytes, int variant) {
  std::string text(sodium_base64_encoded_len(bytes.size(), variant), '\0');
  sodium_bin2base64(text.data(), text.size(), bytes.data(), bytes.size(), variant);
  text.pop_back();  // its NUL
  return text;
}

std::optional<Bytes> from_base64(std::string_view text, int variant) {
  Bytes bytes(text.size());
  std::size_t size = 0;
  const char* end = nullptr;
  if (sodium_base642bin(bytes.data(), bytes.size(), text.data(), text.size(), " \r\n\t", &size, &end,
                        variant) != 0 ||
      end != text.data() + text.size()) {
    return std::nullopt;
  }
  bytes.resize(size);
  return bytes;
}

// PEM without its lines of words is the same in two thirds of the size.
Bytes der_of(std::string_view pem) {
  const std::size_t begin = pem.find('\n');
  const std::size_t end = pem.find("-----END");
  if (begin == std::string_view::npos || end == std::string_view::npos || end < begin) return {};
  return from_base64(pem.substr(begin, end - begin), sodium_base64_VARIANT_ORIGINAL).value_or(Bytes{});
}

std::string pem_of(const Bytes& der, std::string_view kind) {
  constexpr std::size_t kColumns = 64;
  const std::string text = to_base64(der, sodium_base64_VARIANT_ORIGINAL);
  std::string out = fmt::format("-----BEGIN {}-----\n", kind);
  for (std::size_t i = 0; i < text.size(); i += kColumns) out += text.substr(i, kColumns) + "\n";
  return out + fmt::format("-----END {}-----\n", kind);
}

json to_json(const Token& token) {
  const Agreement& agreement = token.agreement;
  json out = {{"id", token.id},
              {"end", token.expires},
              {"role", name(token.role)},
              {"site", token.site},
              {"backend", name(agreement.backend)},
              {"server", agreement.server},
              {"bond", to_string(agreement.bond)},
              {"wan", json::array()},
              {"lan", json::array()}};
  for (const Line& line : agreement.lines) out["wan"].push_back({line.name, line.port});
  for (const IpPrefix& lan : agreement.lans) out["lan"].push_back(to_string(lan));
  if (agreement.backend == model::Backend::kMlvpn) {
    out["password"] = token.secret.password;
    out["keys"] = token.secret.key_pair;
  } else {
    out["key"] = json::binary(der_of(token.secret.private_key));
    out["cert"] = json::binary(der_of(token.secret.certificate));
    out["peer"] = token.secret.peer_fingerprint;
  }
  return out;
}

// Values of a foreign text: each says whether it is what it should be.
class Fields {
 public:
  explicit Fields(const json& from) : from_(from) {}

  std::string text(const char* key) {
    const auto found = from_.find(key);
    if (found != from_.end() && found->is_string()) return found->get<std::string>();
    good_ = false;
    return {};
  }
  std::int64_t number(const char* key) {
    const auto found = from_.find(key);
    if (found != from_.end() && found->is_number_integer()) return found->get<std::int64_t>();
    good_ = false;
    return 0;
  }
  Bytes binary(const char* key) {
    const auto found = from_.find(key);
    if (found != from_.end() && found->is_binary()) return found->get_binary();
    good_ = false;
    return {};
  }
  std::vector<json> list(const char* key) {
    const auto found = from_.find(key);
    if (found != from_.end() && found->is_array()) return found->get<std::vector<json>>();
    good_ = false;
    return {};
  }
  bool choice(const char* key, std::string_view yes, std::string_view no) {
    const std::string value = text(key);
    good_ = good_ && (value == yes || value == no);
    return value == yes;
  }
  IpPrefix network(const std::string& value) {
    const auto parsed = parse_prefix(value);
    good_ = good_ && parsed && parsed->address.is_v4() && parsed->network() == *parsed && parsed->length > 0;
    return parsed.value_or(IpPrefix{});
  }
  void require(bool good) { good_ = good_ && good; }
  [[nodiscard]] bool good() const { return good_; }

 private:
  const json& from_;
  bool good_ = true;
};

std::vector<Line> lines_of(Fields& fields) {
  std::vector<Line> lines;
  for (const json& item : fields.list("wan")) {
    const bool good = item.is_array() && item.size() == 2 && item[0].is_string() &&
                      item[1].is_number_unsigned() && item[1].get<std::uint64_t>() >= 1 &&
                      item[1].get<std::uint64_t>() <= 65535 && is_name(item[0].get<std::string>());
    fields.require(good);
    if (good) lines.push_back({item[0].get<std::string>(), item[1].get<std::uint16_t>()});
  }
  fields.require(!lines.empty() && lines.size() <= kMostLines);
  return lines;
}

std::optional<Token> from_json(const json& from) {
  Fields fields(from);
  Token token;
  token.id = fields.text("id");
  fields.require(token.id.size() == 32 &&
                 token.id.find_first_not_of("0123456789abcdef") == std::string::npos);
  token.expires = fields.number("end");
  token.role = fields.choice("role", "server", "client") ? model::Role::kServer : model::Role::kClient;
  token.site = fields.text("site");
  fields.require(is_name(token.site));
  Agreement& agreement = token.agreement;
  agreement.backend = fields.choice("backend", "mlvpn", "openvpn-bond") ? model::Backend::kMlvpn
                                                                        : model::Backend::kOpenVpnBond;
  agreement.server = fields.text("server");
  fields.require(is_host(agreement.server));
  agreement.bond = fields.network(fields.text("bond"));
  fields.require(agreement.bond.length <= 30);
  agreement.lines = lines_of(fields);
  for (const json& lan : fields.list("lan")) {
    fields.require(lan.is_string());
    if (lan.is_string()) agreement.lans.push_back(fields.network(lan.get<std::string>()));
  }
  if (agreement.backend == model::Backend::kMlvpn) {
    token.secret.password = fields.text("password");
    fields.require(is_password(token.secret.password));
    // An earlier bondd's token has none.
    if (from.contains("keys")) {
      token.secret.key_pair = fields.text("keys");
      fields.require(mlvpn::parse_key_file(token.secret.key_pair).has_value());
    }
  } else {
    token.secret.private_key = pem_of(fields.binary("key"), "PRIVATE KEY");
    token.secret.certificate = pem_of(fields.binary("cert"), "CERTIFICATE");
    token.secret.peer_fingerprint = fields.text("peer");
    fields.require(is_fingerprint(token.secret.peer_fingerprint));
  }
  if (!fields.good()) return std::nullopt;
  return token;
}

}  // namespace

std::string utc(std::int64_t seconds) {
  return fmt::format("{:%Y-%m-%d %H:%M} UTC", fmt::gmtime(static_cast<std::time_t>(seconds)));
}

std::string encode(const Token& token) {
  Bytes bytes = json::to_cbor(to_json(token));
  const auto sum = checksum(bytes);
  bytes.insert(bytes.end(), sum.begin(), sum.end());
  return std::string(kTokenPrefix) + to_base64(bytes, kVariant);
}

Result<Token> decode(std::string_view text) {
  std::string line(text.substr(0, std::min(text.size(), kLongest)));
  std::erase_if(line, [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; });
  if (line.empty()) return failure("no token was given; paste the line that `bondd init` printed");
  if (!line.starts_with(kTokenPrefix)) {
    if (line.starts_with("bondd")) return failure("the token is of a newer bondd; upgrade bondd here");
    return failure("this is not a token; it starts with bondd1-, and `bondd init` prints it");
  }
  const char* const damaged =
      "the token is damaged: a part of it is missing or changed; copy the whole line again";
  auto bytes = from_base64(std::string_view(line).substr(kTokenPrefix.size()), kVariant);
  if (!bytes || bytes->size() <= kChecksum) return failure(damaged);
  std::array<std::uint8_t, kChecksum> sum{};
  std::copy_n(bytes->end() - kChecksum, kChecksum, sum.begin());
  bytes->resize(bytes->size() - kChecksum);
  if (checksum(*bytes) != sum) return failure(damaged);
  const json parsed = json::from_cbor(*bytes, true, false);
  auto token = parsed.is_object() ? from_json(parsed) : std::nullopt;
  if (!token) {
    return failure(
        "the token has values that this bondd does not accept; run the same version of bondd on both ends");
  }
  return *token;
}

Result<> check_expiry(const Token& token, std::int64_t now) {
  if (now <= token.expires) return {};
  return failure(
      fmt::format("the token expired at {}, and this machine's clock says {}; `bondd init --force` on the "
                  "other end prints a new one; if the clock is wrong, set it",
                  utc(token.expires), utc(now)));
}

}  // namespace bondd::setup
