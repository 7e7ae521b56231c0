#include "bondd/control/openvpn_words.h"

#include <array>

namespace bondd::control {
namespace {

struct Phrase {
  std::string_view in_line;
  std::string_view words;
};

// First match wins. From openvpn's src/openvpn/{crypto,ssl,ssl_verify,forward,socket,tun,options}.c.
constexpr std::array kPhrases = {
    Phrase{"packet HMAC authentication failed",
           "packets from the peer do not authenticate; compare the key files of both ends"},
    Phrase{"cipher final failed", "packets from the peer do not decrypt; compare the key files of both ends"},
    Phrase{"Certificate fingerprint mismatch",
           "the peer's certificate is not the pinned one; compare `fingerprint` with `bondd key` of the "
           "other end"},
    Phrase{"VERIFY ERROR",
           "the peer's certificate is not the pinned one; compare `fingerprint` with `bondd key` of the "
           "other end"},
    Phrase{"certificate verify failed",
           "the peer's certificate is not the pinned one; compare `fingerprint` with `bondd key` of the "
           "other end"},
    Phrase{"unknown ca",
           "the peer does not accept our certificate; give it the fingerprint that `bondd key` prints here"},
    Phrase{"TLS key negotiation failed",
           "no answer from the peer; is it up, and does its UDP port get through?"},
    Phrase{"Address already in use", "the UDP port is in use by another program"},
    Phrase{"Cannot assign requested address",
           "this machine does not have the address to listen on or to send from"},
    Phrase{"Connection refused", "the server refuses packets; nothing listens on that port there"},
    Phrase{"Network is unreachable", "its packets have no way out; is the gateway there?"},
    Phrase{"No route to host", "the gateway does not answer"},
    Phrase{"Operation not permitted", "this machine's firewall refuses its packets"},
    Phrase{"Cannot open TUN/TAP", "openvpn cannot open its tap"},
    Phrase{"Cannot ioctl TUNSETIFF", "openvpn cannot open its tap"},
    Phrase{"Permission denied", "openvpn may not read or use what it needs (permission denied)"},
    Phrase{"Options error", "openvpn does not accept its options"},
};

}  // namespace

std::optional<std::string> trouble_in(std::string_view line) {
  for (const Phrase& phrase : kPhrases) {
    if (line.find(phrase.in_line) == std::string_view::npos) continue;
    std::string words(phrase.words);
    if (const auto at = line.find("Options error"); at != std::string_view::npos)
      words += ": " + std::string(line.substr(at));
    return words;
  }
  return std::nullopt;
}

bool is_about_secrets(std::string_view words) {
  return words.starts_with("packets from the peer do not") ||
         words.find("certificate") != std::string_view::npos;
}

}  // namespace bondd::control
