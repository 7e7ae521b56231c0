#include "bondd/control/openvpn_words.h"

#include <array>

namespace bondd::control {
namespace {

struct Phrase {
  std::string_view in_line;
  std::string_view words;
  Proof proof;
};

// Anybody can send such packets, so they prove nothing.
constexpr std::string_view kWithoutTlsCrypt =
    "packets come without this end's tls-crypt key: a stranger's, or the other end's bondd is older, or its "
    "tls_crypt or fingerprint differs; update it, or write tls_crypt = \"off\" here meanwhile";

// First match wins. From openvpn's src/openvpn/{crypto,ssl,ssl_verify,forward,socket,tun,options}.c.
constexpr std::array kPhrases = {
    Phrase{"packet HMAC authentication failed",
           "packets from the peer do not authenticate; compare the key files of both ends", Proof::kSecret},
    Phrase{"cipher final failed", "packets from the peer do not decrypt; compare the key files of both ends",
           Proof::kSecret},
    Phrase{"Certificate fingerprint mismatch",
           "the peer's certificate is not the pinned one; compare `fingerprint` with `bondd key` of the "
           "other end",
           Proof::kSecret},
    Phrase{"VERIFY ERROR",
           "the peer's certificate is not the pinned one; compare `fingerprint` with `bondd key` of the "
           "other end",
           Proof::kSecret},
    Phrase{"certificate verify failed",
           "the peer's certificate is not the pinned one; compare `fingerprint` with `bondd key` of the "
           "other end",
           Proof::kSecret},
    Phrase{"unknown ca",
           "the peer does not accept our certificate; give it the fingerprint that `bondd key` prints here",
           Proof::kSecret},
    Phrase{"tls-crypt unwrap", kWithoutTlsCrypt, Proof::kNoAnswer},
    Phrase{"tls-crypt unwrapping failed", kWithoutTlsCrypt, Proof::kNoAnswer},
    Phrase{"TLS key negotiation failed",
           "no answer from the peer; is it up, and does its UDP port get through?", Proof::kNoAnswer},
    Phrase{"Address already in use", "the UDP port is in use by another program", Proof::kLocal},
    Phrase{"Cannot assign requested address",
           "this machine does not have the address to listen on or to send from", Proof::kLocal},
    Phrase{"Connection refused", "the server refuses packets; nothing listens on that port there",
           Proof::kWay},
    Phrase{"Network is unreachable", "its packets have no way out; is the gateway there?", Proof::kWay},
    Phrase{"No route to host", "the gateway does not answer", Proof::kWay},
    Phrase{"Operation not permitted", "this machine's firewall refuses its packets", Proof::kWay},
    Phrase{"Cannot open TUN/TAP", "openvpn cannot open its tap", Proof::kLocal},
    Phrase{"Cannot ioctl TUNSETIFF", "openvpn cannot open its tap", Proof::kLocal},
    Phrase{"Permission denied", "openvpn may not read or use what it needs (permission denied)",
           Proof::kLocal},
    Phrase{"Options error", "openvpn does not accept its options", Proof::kLocal},
};

}  // namespace

std::optional<Complaint> complaint_in(std::string_view line) {
  for (const Phrase& phrase : kPhrases) {
    if (line.find(phrase.in_line) == std::string_view::npos) continue;
    Complaint complaint{std::string(phrase.words), phrase.proof};
    if (const auto at = line.find("Options error"); at != std::string_view::npos)
      complaint.words += ": " + std::string(line.substr(at));
    return complaint;
  }
  return std::nullopt;
}

std::optional<IpAddress> peer_in(std::string_view line) {
  constexpr std::string_view kWords = "Peer Connection Initiated with [AF_INET]";
  const auto at = line.find(kWords);
  if (at == std::string_view::npos) return std::nullopt;
  line.remove_prefix(at + kWords.size());
  const auto address = parse_ip(std::string(line.substr(0, line.find(':'))));
  return address ? std::optional(*address) : std::nullopt;
}

bool Complaints::handle(TimePoint now, const Complaint& complaint) {
  const auto before = counts(now);
  if (before && before->proof > complaint.proof) return false;
  known_ = complaint;
  // Said a few times, then muted: it holds until something else is known.
  until_ = complaint.proof < Proof::kSecret ? std::optional<TimePoint>(now + kComplaintLife) : std::nullopt;
  return before != known_;
}

void Complaints::handle_restart(TimePoint now) {
  if (!known_ || until_) return;
  until_ = now + (known_->proof == Proof::kSecret ? Duration(kSecretAfterRestart) : Duration(kComplaintLife));
}

std::optional<Complaint> Complaints::counts(TimePoint now) const {
  return until_ && now >= *until_ ? std::nullopt : known_;
}

}  // namespace bondd::control
