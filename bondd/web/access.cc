#include "bondd/web/access.h"

#include <fmt/format.h>
#include <sodium.h>

#include <algorithm>
#include <array>

#include "bondd/base/inet.h"

namespace bondd::web {
namespace {

// Names are the same in both cases (RFC 4343).
std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return out;
}

// "name:80", "[::1]:80" -> "name", "::1". Empty: it is neither.
std::string_view without_port(std::string_view host) {
  const bool bracket = host.starts_with('[');
  const std::size_t end = host.find(bracket ? ']' : ':');
  if (bracket && end == std::string_view::npos) return {};
  const std::string_view name = bracket ? host.substr(1, end - 1) : host.substr(0, end);
  const std::string_view rest =
      end == std::string_view::npos ? std::string_view{} : host.substr(end + (bracket ? 1 : 0));
  const bool port =
      rest.starts_with(':') && rest.find_first_not_of("0123456789", 1) == std::string_view::npos;
  return rest.empty() || port ? name : std::string_view{};
}

Secret cookie_of(const Secret& token) {
  constexpr std::string_view kPurpose = "bondd-web cookie 1";
  std::array<unsigned char, crypto_generichash_BYTES> key{}, value{};
  crypto_generichash(key.data(), key.size(), reinterpret_cast<const unsigned char*>(token.view().data()),
                     token.size(), nullptr, 0);
  crypto_generichash(value.data(), value.size(), reinterpret_cast<const unsigned char*>(kPurpose.data()),
                     kPurpose.size(), key.data(), key.size());
  std::string text;
  for (const unsigned char byte : value) text += fmt::format("{:02x}", byte);
  Secret out = secret_of(text);
  wipe(text);
  sodium_memzero(key.data(), key.size());
  return out;
}

}  // namespace

bool is_own_host(std::string_view host, const OwnNames& names) {
  const std::string name = lower(without_port(host));
  if (name.empty()) return false;
  if (name == "localhost" || name == lower(names.host_name)) return true;
  const auto address = parse_ip(name);
  // Nobody's name server can make a browser write an address there that was not typed.
  return address && (names.address.is_unspecified() || *address == names.address || is_loopback(*address));
}

bool is_own_origin(std::string_view origin, std::string_view host) {
  const std::string from = lower(origin), here = lower(host);
  // https: behind a proxy on this machine that hands on the Host header.
  return !here.empty() && (from == "http://" + here || from == "https://" + here);
}

Gate::Gate(OwnNames names, Secret token) : names_(std::move(names)), token_(std::move(token)) {
  if (token_.size() > 0) cookie_ = cookie_of(token_);
}

Verdict Gate::judge(const Request& request) const {
  if (!is_own_host(request.host, names_)) return Verdict::kForeignHost;
  if (!request.origin.empty() && !is_own_origin(request.origin, request.host)) return Verdict::kForeignOrigin;
  return token_.size() == 0 ? Verdict::kMaySee : judge_token(request);
}

Verdict Gate::judge_token(const Request& request) const {
  constexpr std::string_view kBearer = "Bearer ";
  const auto shows = [](std::string_view shown, const Secret& wanted) {
    return same(secret_of(shown), wanted);
  };
  if (request.authorization.starts_with(kBearer)) {
    const auto shown = std::string_view(request.authorization).substr(kBearer.size());
    return shows(shown, token_) ? Verdict::kMayEnter : Verdict::kWrongToken;
  }
  if (const auto argument = request.arguments.find("token"); argument != request.arguments.end())
    return shows(argument->second, token_) ? Verdict::kMayEnter : Verdict::kWrongToken;
  if (request.cookie.empty()) return Verdict::kNoToken;
  return shows(request.cookie, cookie_) ? Verdict::kMaySee : Verdict::kWrongToken;
}

}  // namespace bondd::web
