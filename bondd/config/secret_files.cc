// The files beside a site's file that hold its secrets: there, nobody else's to read, and of the right kind.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "bondd/base/secret.h"
#include "bondd/base/text.h"
#include "bondd/config/check.h"
#include "bondd/mlvpn/session/key_pair.h"

namespace bondd::config {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kOthers = 0077;
constexpr std::size_t kKeyLimit = 65536;
// One core tries 1.5 million passwords a second, a graphics card a thousand times that; 16 random characters
// are out of reach for both.
constexpr std::size_t kShortPassword = 16;

class SecretFiles {
 public:
  SecretFiles(const Sections& sections, const model::Config& config, const CheckContext& context,
              Purpose purpose, Report& report)
      : sections_(sections), config_(config), context_(context), purpose_(purpose), report_(report) {}

  void run() {
    const auto backend = sections_.root.get<std::string>("backend");
    if (backend == "mlvpn") {
      check_password();
      check_key_pair();
    }
    if (backend == "openvpn-bond") check_openvpn_keys();
    check_web_token();
  }

 private:
  void check_password() {
    const Section& mlvpn = sections_.mlvpn;
    if (!mlvpn.get<std::string>("password_file")) return;
    const fs::path& file = config_.mlvpn.password_file;
    auto text =
        check_secret(file, mlvpn.at("password_file"),
                     fmt::format("write the password into it, the same on both ends, and run chmod 600 {}",
                                 shell_quote(file.string())));
    if (text) {
      check_password_text(mlvpn.at("password_file"), file, *text);
      wipe(*text);
    }
  }

  // The engine reads it when it starts: a mistake that was found then would keep a running site from coming
  // back.
  void check_key_pair() {
    if (config_.mlvpn.key_file.empty()) return;
    constexpr auto kMake = "bondd init makes it, and bondd join the other end's";
    const Position at = sections_.mlvpn.at("key_file");
    auto text = check_secret(config_.mlvpn.key_file, at, kMake);
    if (!text) return;
    if (const auto pair = mlvpn::parse_key_file(*text); !pair) {
      report_.error(
          at, fmt::format("{}: {}; {}", quoted_path(config_.mlvpn.key_file), pair.error().message, kMake));
    }
    wipe(*text);
  }

  // Both ends use the bytes of the first line, so what an editor adds unseen makes two passwords of one.
  void check_password_text(Position at, const fs::path& file, std::string_view text) {
    const std::string_view line = text.substr(0, text.find_first_of("\r\n"));
    if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff") || line.find('\0') != line.npos) {
      report_.error(
          at, fmt::format("{} is UTF-16 text, of which the other end would read another password; save it "
                          "as plain text: {}",
                          quoted_path(file), how_to_make(file)));
    } else if (text.starts_with("\xef\xbb\xbf")) {
      report_.error(
          at, fmt::format("{} begins with a byte order mark, three unseen bytes that would be part of the "
                          "password; save it as plain text without one: {}",
                          quoted_path(file), how_to_make(file)));
    } else if (text.find("BEGIN OpenVPN Static key") != text.npos || line.starts_with("-----BEGIN")) {
      report_.error(at, fmt::format("{} is a key file, of which the first line alone would be the password; "
                                    "make a password: {}",
                                    quoted_path(file), how_to_make(file)));
    } else if (line.find_first_not_of(" \t") == line.npos) {
      report_.error(at, fmt::format("the first line of {} is empty; that is where the password stands",
                                    quoted_path(file)));
    } else {
      check_password_strength(at, file, line);
    }
  }

  void check_password_strength(Position at, const fs::path& file, std::string_view line) {
    if (line.size() < kShortPassword) {
      report_.warning(at,
                      fmt::format("the password in {} has {} characters; who records traffic can guess it in "
                                  "time; use {} or more, on both ends, for example: {}",
                                  quoted_path(file), line.size(), kShortPassword, how_to_make(file)));
    }
    const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
    if (is_blank(line.front()) || is_blank(line.back())) {
      report_.warning(at, fmt::format("the password in {} {} with a blank, which counts; the other end needs "
                                      "it, too",
                                      quoted_path(file), is_blank(line.back()) ? "ends" : "begins"));
    }
    if (line.size() > 1 && line.front() == line.back() && (line.front() == '"' || line.front() == '\'')) {
      report_.warning(at, fmt::format("the password in {} stands in quotes, which count; the other end needs "
                                      "them, too",
                                      quoted_path(file)));
    }
    if (std::any_of(line.begin(), line.end(),
                    [](char c) { return (static_cast<unsigned char>(c) & 0x80) != 0; })) {
      report_.warning(
          at, fmt::format("the password in {} is not ASCII only; copy the file as it is, since another "
                          "editor may write other bytes for the same letters",
                          quoted_path(file)));
    }
  }

  void check_web_token() {
    if (!sections_.web.get<std::string>("token_file")) return;
    const fs::path& file = config_.web.token_file;
    const Position at = sections_.web.at("token_file");
    const std::string make = how_to_make_token(file);
    auto text = check_secret(file, at, fmt::format("make it: (umask 077; {})", make));
    if (!text) return;
    if (!model::is_web_token(model::web_token_of(*text))) {
      report_.error(at, fmt::format("the first line of {} is no token: {} or more letters, digits, '-', '.', "
                                    "'_' and '~'; make one: {}",
                                    quoted_path(file), model::kShortestWebToken, make));
    }
    wipe(*text);
  }

  static std::string how_to_make(const fs::path& file) {
    return fmt::format("openssl rand -base64 24 > {}", shell_quote(file.string()));
  }

  void check_openvpn_keys() {
    const Section& openvpn = sections_.openvpn;
    const bool mistaken = openvpn.has("auth") && !openvpn.get<std::string>("auth");
    if (mistaken || (openvpn.has("key") && !openvpn.get<std::string>("key"))) return;
    if (config_.openvpn.auth == model::OpenVpnAuth::kStaticKey) {
      if (openvpn.has("key")) check_static_key("key", config_.openvpn.static_key);
    } else if (purpose_ != Purpose::kMakeKey) {
      check_tls_files();
      if (config_.openvpn.tls_crypt == model::TlsCrypt::kFile)
        check_static_key("tls_crypt", config_.openvpn.tls_crypt_file);
    }
  }

  // A file of openvpn --genkey secret that `key` of [openvpn] names.
  void check_static_key(std::string_view key, const fs::path& file) {
    const Position at = sections_.openvpn.at(key);
    const std::string make = fmt::format("run openvpn --genkey secret {} and copy the file to the other end",
                                         shell_quote(file.string()));
    auto text = check_secret(file, at, make);
    if (text && text->find("BEGIN OpenVPN Static key V1") == std::string::npos) {
      report_.warning(at, fmt::format("{} does not look like an OpenVPN static key; to make one, {}",
                                      quoted_path(file), make));
    }
    if (text) wipe(*text);
  }

  void check_tls_files() {
    const std::string make = fmt::format("run bondd key {} to make it", shell_quote(config_.file.string()));
    const Position at = sections_.openvpn.at("key");
    auto text = check_secret(config_.openvpn.private_key, at, make);
    if (text && text->find("BEGIN OpenVPN Static key") != std::string::npos) {
      report_.error(
          at, fmt::format("{} is a shared key, but auth is \"tls\"; write auth = \"static-key\", or take key "
                          "out and run bondd key {}",
                          quoted_path(config_.openvpn.private_key), shell_quote(config_.file.string())));
    }
    if (text) wipe(*text);
    const auto certificate = context_.stat(config_.openvpn.certificate);
    if (!certificate && !context_.stat(config_.openvpn.private_key)) return;  // one command makes both
    if (!certificate) {
      say_unreadable(sections_.openvpn.at("certificate"), config_.openvpn.certificate, certificate.error(),
                     make);
    } else if (certificate->size == 0) {
      report_.error(sections_.openvpn.at("certificate"),
                    fmt::format("{} is empty; {}", quoted_path(config_.openvpn.certificate), make));
    }
  }

  // A file that holds a secret: there, a file, nobody else's to read, not empty. Its
  // start, if it may be read; `make` says how to come by one.
  std::optional<std::string> check_secret(const fs::path& file, Position at, const std::string& make) {
    const auto facts = context_.stat(file);
    if (!facts) {
      say_unreadable(at, file, facts.error(), make);
      return std::nullopt;
    }
    if (!facts->regular) {
      report_.error(at, fmt::format("{} is not a file; {}", quoted_path(file), make));
      return std::nullopt;
    }
    if ((facts->permissions & kOthers) != 0) {
      report_.error(at, fmt::format("{} can be read or changed by others (mode {:04o}); run chmod 600 {}",
                                    quoted_path(file), facts->permissions, shell_quote(file.string())));
    }
    if (!facts->unsafe.empty())
      report_.error(at, fmt::format("{} is not safe: {}", quoted_path(file), facts->unsafe));
    if (facts->size == 0) {
      report_.error(at, fmt::format("{} is empty; {}", quoted_path(file), make));
      return std::nullopt;
    }
    auto text = context_.read(file, kKeyLimit);
    if (text) return std::move(*text);  // a copy would outlive what the caller wipes
    if (text.error().code != EACCES) say_unreadable(at, file, text.error(), make);
    return std::nullopt;
  }

  void say_unreadable(Position at, const fs::path& file, const Error& error, const std::string& make) {
    if (error.code == ENOENT || error.code == ENOTDIR) {
      report_.error(at, fmt::format("{} is missing; {}", quoted_path(file), make));
    } else if (error.code != EACCES) {
      report_.error(at, fmt::format("{} cannot be read: {}", quoted_path(file), error.message));
    } else {
      report_.warning(at, fmt::format("{} may not be looked at; run the check as root", quoted_path(file)));
    }
  }

  static std::string quoted_path(const fs::path& file) { return in_quotes(file.string()); }

  const Sections& sections_;
  const model::Config& config_;
  const CheckContext& context_;
  Purpose purpose_;
  Report& report_;
};

}  // namespace

std::string how_to_make_token(const fs::path& file) {
  return fmt::format("openssl rand -hex 24 > {}", shell_quote(file.string()));
}

void check_secret_files(const Sections& sections, const model::Config& config, const CheckContext& context,
                        Purpose purpose, Report& report) {
  SecretFiles(sections, config, context, purpose, report).run();
}

}  // namespace bondd::config
