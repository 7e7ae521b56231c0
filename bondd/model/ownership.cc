#include "bondd/model/ownership.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "bondd/base/text.h"

namespace bondd::model {
namespace {

constexpr std::size_t kChainNameMax = 28;  // XT_EXTENSION_MAXNAMELEN - 1, linux/netfilter/x_tables.h
constexpr std::size_t kIfNameMax = 15;     // IFNAMSIZ - 1
constexpr std::size_t kSiteMax = kChainNameMax - std::string_view("BONDD-POST-").size();

// `text` if it fits in `max` bytes, else its beginning and a hash of the whole.
std::string fit(std::string_view text, std::size_t max, int digits) {
  if (text.size() <= max) return std::string(text);
  const std::string hash = fmt::format("{:08x}", fnv1a(text)).substr(0, static_cast<std::size_t>(digits));
  return fmt::format("{}~{}", text.substr(0, max - hash.size() - 1), hash);
}

}  // namespace

unsigned mark_slots(std::uint32_t mask) {
  if (mask == 0 || (mask & 0x80000000U) != 0) return 0;
  const std::uint32_t bits = mask >> std::countr_zero(mask);
  if (!std::has_single_bit(bits + 1)) return 0;
  return std::min(kSlots, (bits + 1) / kMarksPerSite);
}

std::uint32_t mark_in(std::uint32_t mask, std::uint32_t value) {
  return (value << std::countr_zero(mask)) & mask;
}

std::string link_alias(std::string_view site) {
  return fmt::format("bondd:{}", site);
}

std::string chain_suffix(std::string_view site) {
  return fmt::format("-{}", fit(site, kSiteMax, 8));
}

std::string instance_suffix(unsigned k) {
  return k == 0 ? "" : fmt::format("~{}", k + 1);
}

std::string tap_name(unsigned slot, std::string_view wan, unsigned k) {
  const std::string prefix = fmt::format("tap{}-", slot);
  const std::string suffix = instance_suffix(k);
  return prefix + fit(wan, kIfNameMax - prefix.size() - suffix.size(), 4) + suffix;
}

bool is_tap_name(std::string_view name) {
  return name.size() > 5 && name.starts_with("tap") && name[3] >= '0' && name[3] < '0' + int{kSlots} &&
         name[4] == '-';
}

std::string chain_name(std::string_view part, std::string_view site) {
  return fmt::format("BONDD-{}{}", part, chain_suffix(site));
}

}  // namespace bondd::model
