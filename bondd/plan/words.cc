#include "bondd/plan/words.h"

#include <fmt/format.h>

#include <algorithm>

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
  const std::string name(model::name(protocol));
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

void add_chain(rules::Table& table, const model::Config& config, std::string_view part,
               std::string_view builtin, std::vector<Words> rules, Place place) {
  if (rules.empty()) return;
  const std::string chain = model::chain_name(part, config.site);
  table.chains.push_back(rules::Chain{chain, std::move(rules)});
  table.jumps.push_back(rules::Jump{std::string(builtin), chain, place == Place::kFirst});
}

unsigned wan_number(const model::Config& config, const std::string& wan) {
  const auto found = std::find_if(config.wans.begin(), config.wans.end(),
                                  [&](const model::Wan& one) { return one.name == wan; });
  return static_cast<unsigned>(found - config.wans.begin()) + 1;
}

std::string MarkWords::masked(std::uint32_t mark) const {
  return fmt::format("{:#x}/{:#x}", mark, mask);
}

Words MarkWords::with(std::uint32_t mark) const {
  return {"-m", "mark", "--mark", masked(mark)};
}

Words MarkWords::set(std::uint32_t mark) const {
  return {"-j", "MARK", "--set-xmark", masked(mark)};
}

Words MarkWords::set_connection(std::uint32_t mark) const {
  return {"-j", "CONNMARK", "--set-xmark", masked(mark)};
}

Words MarkWords::restore() const {
  const std::string bits = fmt::format("{:#x}", mask);
  return {"-j", "CONNMARK", "--restore-mark", "--nfmask", bits, "--ctmask", bits};
}

Words MarkWords::with_any() const {
  return {"-m", "mark", "!", "--mark", masked(0)};
}

Words MarkWords::with_connection(std::uint32_t mark) const {
  return {"-m", "connmark", "--mark", masked(mark)};
}

Words MarkWords::with_any_connection() const {
  return {"-m", "connmark", "!", "--mark", masked(0)};
}

}  // namespace bondd::plan
