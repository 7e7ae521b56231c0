#include "bondd/main/redact.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "bondd/base/ip.h"

namespace bondd {
namespace {

constexpr std::string_view kRemoved = "[removed]";
constexpr std::string_view kTokenPrefix = "bondd1-";

// What stands behind one of these and a '=' or ':' is a secret. `password_file` and its like are none.
constexpr std::array<std::string_view, 7> kSecretKeys = {"password",   "passwd",      "secret",       "token",
                                                         "passphrase", "private_key", "preshared_key"};

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-';
}

void replace_all(std::string& text, std::string_view what, std::string_view by) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size())
    text.replace(at, what.size(), by);
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

// "password = value": the rest of the line from the value on.
void remove_values(std::string& line) {
  const std::string low = lower(line);
  for (const std::string_view key : kSecretKeys) {
    for (std::size_t at = 0; (at = low.find(key, at)) != std::string::npos; at += key.size()) {
      std::size_t end = at + key.size();
      if (at > 0 && is_word(low[at - 1])) continue;
      while (end < line.size() && (line[end] == ' ' || line[end] == '\t' || line[end] == '"')) ++end;
      if (end >= line.size() || (line[end] != '=' && line[end] != ':')) continue;
      line.replace(end + 1, std::string::npos, fmt::format(" {}", kRemoved));
      return;
    }
  }
}

void remove_tokens(std::string& line) {
  for (std::size_t at = 0; (at = line.find(kTokenPrefix, at)) != std::string::npos; at += kRemoved.size()) {
    std::size_t end = at;
    while (end < line.size() && is_word(line[end])) ++end;
    line.replace(at, end - at, kRemoved);
  }
}

bool is_mac(std::string_view text) {
  constexpr std::size_t kLength = 17;
  if (text.size() != kLength) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool good = i % 3 == 2 ? text[i] == ':' : std::isxdigit(static_cast<unsigned char>(text[i])) != 0;
    if (!good) return false;
  }
  return true;
}

// Everybody has them, or they say nothing of a place: private, shared (RFC 6598), link-local, loopback,
// multicast, documentation of none.
bool is_private(const IpAddress& address) {
  static const std::array<IpPrefix, 11> kPrivate = {
      *parse_prefix("0.0.0.0/8"),      *parse_prefix("10.0.0.0/8"),     *parse_prefix("100.64.0.0/10"),
      *parse_prefix("127.0.0.0/8"),    *parse_prefix("169.254.0.0/16"), *parse_prefix("172.16.0.0/12"),
      *parse_prefix("192.168.0.0/16"), *parse_prefix("224.0.0.0/3"),    *parse_prefix("::/127"),
      *parse_prefix("fc00::/7"),       *parse_prefix("ff00::/8")};
  return std::ranges::any_of(kPrivate, [&](const IpPrefix& net) { return net.contains(address); });
}

bool in_address(char c) {
  return std::isxdigit(static_cast<unsigned char>(c)) != 0 || c == ':' || c == '.';
}

}  // namespace

void Redactor::add_secret(std::string_view content) {
  while (!content.empty()) {
    const auto end = std::min(content.find_first_of("\r\n"), content.size());
    const std::string_view line = content.substr(0, end);
    content.remove_prefix(std::min(end + 1, content.size()));
    if (line.size() >= kShortest && !line.starts_with("-----") && !line.starts_with('#'))
      secrets_.emplace_back(line);
  }
  std::ranges::stable_sort(secrets_, std::ranges::greater{}, &std::string::size);
}

void Redactor::add_name(const std::string& name, const std::string& instead) {
  if (anonymise_ && !name.empty() && !parse_ip(name)) names_[name] = instead;
}

std::string Redactor::clean(std::string_view text) {
  in_pem_ = false;
  std::string out;
  while (!text.empty()) {
    const auto end = text.find('\n');
    const bool whole = end != std::string_view::npos;
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(whole ? end + 1 : text.size());
    const bool was_in_pem = in_pem_;
    if (line.find("-----BEGIN ") != std::string_view::npos) in_pem_ = true;
    if (in_pem_ && !was_in_pem) out += fmt::format("{}\n", kRemoved);
    if (!in_pem_) out += clean_line(std::string(line)) + (whole ? "\n" : "");
    if (line.find("-----END ") != std::string_view::npos) in_pem_ = false;
  }
  return out;
}

std::string Redactor::clean_line(std::string line) {
  for (const std::string& secret : secrets_) replace_all(line, secret, kRemoved);
  remove_tokens(line);
  remove_values(line);
  if (!anonymise_) return line;
  for (const auto& [name, instead] : names_) replace_all(line, name, instead);
  return anonymous(line);
}

std::string Redactor::numbered(const std::string& what, const std::string& value) {
  const auto [known, added] = numbers_.try_emplace(value);
  if (added) known->second = fmt::format("{}-{}", what, ++counts_[what]);
  return known->second;
}

// Runs of letters that addresses consist of; a port behind an IPv4 address is no part of it.
std::string Redactor::anonymous(std::string_view line) {
  std::string out;
  while (!line.empty()) {
    std::size_t length = 0;
    while (length < line.size() && in_address(line[length])) ++length;
    std::string_view run = line.substr(0, length);
    const bool joined = !out.empty() && is_word(out.back()) && out.back() != '-';
    if (run.empty() || joined) {
      out += line.front();
      line.remove_prefix(1);
      continue;
    }
    while (run.size() > 1 && (run.back() == '.' || (run.back() == ':' && !run.ends_with("::"))))
      run.remove_suffix(1);
    if (const auto colon = run.find(':'); colon != std::string_view::npos && run.find('.') < colon)
      run = run.substr(0, colon);
    const auto address = parse_ip(run);
    if (is_mac(run)) {
      out += numbered("mac", lower(run));
    } else if (address && !is_private(*address)) {
      out += numbered("ip", to_string(*address));
    } else {
      out += run;
    }
    line.remove_prefix(run.size());
  }
  return out;
}

}  // namespace bondd
