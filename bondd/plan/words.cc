#include "bondd/plan/words.h"

#include <fmt/format.h>

#include "bondd/model/ownership.h"

namespace bondd::plan {

Words operator+(Words left, const Words& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

std::string ports(const model::PortRange& range) {
  return range.first == range.last ? fmt::format("{}", range.first)
                                   : fmt::format("{}:{}", range.first, range.last);
}

Words proto(model::Protocol protocol) {
  const std::string name = protocol == model::Protocol::kTcp ? "tcp" : "udp";
  return {"-p", name, "-m", name};
}

Words source(const IpPrefix& prefix) {
  return prefix.is_default() ? Words{} : Words{"-s", to_string(prefix.network())};
}

Words destination(const IpPrefix& prefix) {
  return prefix.is_default() ? Words{} : Words{"-d", to_string(prefix.network())};
}

IpPrefix host(const IpAddress& address) {
  return IpPrefix{address, address.bits()};
}

std::string masked(std::uint32_t mark) {
  return fmt::format("{:#x}/{:#x}", mark, model::kMarkMask);
}

Words with_mark(std::uint32_t mark) {
  return {"-m", "mark", "--mark", masked(mark)};
}

Words with_any_mark() {
  return {"-m", "mark", "!", "--mark", masked(0)};
}

Words with_any_connmark() {
  return {"-m", "connmark", "!", "--mark", masked(0)};
}

}  // namespace bondd::plan
