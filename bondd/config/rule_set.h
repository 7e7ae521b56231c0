// What rules between keys have in common: the file as sections and as a Config, and where to report.
#pragma once

#include <fmt/format.h>

#include <functional>
#include <string>
#include <vector>

#include "bondd/config/check.h"

namespace bondd::config {

class RuleSet {
 protected:
  RuleSet(const Sections& sections, const model::Config& config, Report& report)
      : sections_(sections), config_(config), report_(report) {}

  [[nodiscard]] bool is_client() const { return sections_.side == Side::kClient; }
  [[nodiscard]] bool is_server() const { return sections_.side == Side::kServer; }
  [[nodiscard]] bool backend_is(std::string_view name) const {
    return sections_.root.get<std::string>("backend") == name;
  }
  [[nodiscard]] std::string name_of(std::size_t wan) const {
    return config_.wans[wan].name.empty() ? fmt::format("WAN {}", wan + 1)
                                          : in_quotes(config_.wans[wan].name);
  }

  // Reports each section whose value of `key` an earlier one has already.
  template <typename T>
  void check_distinct(const std::vector<Section>& sections, std::string_view key,
                      const std::function<std::string(const T&)>& say) {
    for (std::size_t i = 0; i < sections.size(); ++i) {
      const auto value = sections[i].get<T>(key);
      for (std::size_t j = 0; value && j < i; ++j) {
        if (sections[j].get<T>(key) != value) continue;
        report_.error(sections[i].at(key),
                      fmt::format("{}, as in line {}; each {} needs its own", say(*value),
                                  sections[j].at(key).line, header(sections[i].schema())));
        break;
      }
    }
  }

  // 224.0.0.1, 127.0.0.1, 255.255.255.255: no neighbour has such an address.
  static bool is_no_host(const IpAddress& address) {
    if (!address.is_v4()) return false;
    const std::uint8_t first = address.data()[0];
    return first == 0 || first == 127 || first >= 224;
  }

  const Sections& sections_;
  const model::Config& config_;
  Report& report_;
};

}  // namespace bondd::config
