#include "bondd/model/config.h"

namespace bondd::model {

std::string_view name(Role role) {
  return role == Role::kClient ? "client" : "server";
}

std::string_view name(Backend backend) {
  return backend == Backend::kOpenVpnBond ? "openvpn-bond" : "mlvpn";
}

std::string_view name(Protocol protocol) {
  return protocol == Protocol::kTcp ? "tcp" : "udp";
}

std::string_view web_token_of(std::string_view text) {
  return text.substr(0, text.find_first_of("\r\n"));
}

bool is_web_token(std::string_view token) {
  constexpr std::string_view kUnreserved =  // RFC 3986
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
  return token.size() >= kShortestWebToken && token.find_first_not_of(kUnreserved) == std::string_view::npos;
}

}  // namespace bondd::model
