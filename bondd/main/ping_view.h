// `bondd ping` as text: one row a second, a column for each line and one for the bond. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bondd/base/units.h"
#include "bondd/model/status.h"

namespace bondd {

class PingView {
 public:
  // The columns stay as `site` has its WANs now.
  explicit PingView(const model::SiteStatus& site);

  [[nodiscard]] std::string head() const;
  // A request went through the bond, or its first answer came after `took`.
  void handle_request(std::uint16_t number);
  void handle_answer(std::uint16_t number, Duration took);
  // The row of that request: what bondd measures of each line now, and the answer if it has come. `clock` is
  // its first column, eight characters.
  [[nodiscard]] std::string row(const std::string& clock, const model::SiteStatus& site,
                                std::uint16_t number);
  // Least, mean and greatest of each column, and how many answers of the bond are missing.
  [[nodiscard]] std::string summary() const;
  [[nodiscard]] bool any_answer() const { return received_ > 0; }

 private:
  struct Column {
    std::string name;
    std::vector<double> ms;
  };
  std::vector<Column> lines_;
  Column bond_{"bond", {}};
  std::map<std::uint16_t, std::optional<double>> requests_;  // ms, of those whose row is not shown yet
  unsigned sent_ = 0, received_ = 0;
};

}  // namespace bondd
