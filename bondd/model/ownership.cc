#include "bondd/model/ownership.h"

#include <fmt/format.h>

namespace bondd::model {
namespace {

constexpr std::size_t kChainNameMax = 28;  // XT_EXTENSION_MAXNAMELEN - 1, linux/netfilter/x_tables.h
constexpr std::size_t kSiteMax = kChainNameMax - std::string_view("BONDD-POST-").size();

std::uint32_t fnv1a(std::string_view text) {
  std::uint32_t hash = 0x811c9dc5;
  for (const char c : text) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x01000193;
  return hash;
}

}  // namespace

std::string link_alias(std::string_view site) {
  return fmt::format("bondd:{}", site);
}

std::string chain_suffix(std::string_view site) {
  if (site.size() <= kSiteMax) return fmt::format("-{}", site);
  return fmt::format("-{}~{:08x}", site.substr(0, kSiteMax - 9), fnv1a(site));
}

std::string chain_name(std::string_view part, std::string_view site) {
  return fmt::format("BONDD-{}{}", part, chain_suffix(site));
}

}  // namespace bondd::model
