// `bondd top` as lines of painted words, for a screen of any size. Pure.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bondd/model/event.h"
#include "bondd/model/status.h"

namespace bondd {

enum class Paint : std::uint8_t { kPlain, kHeading, kGood, kWarning, kBad, kSelected };

struct Span {
  std::string text;
  Paint paint = Paint::kPlain;
  bool operator==(const Span&) const = default;
};
using Line = std::vector<Span>;

struct ScreenSize {
  std::size_t columns = 79, rows = 24;
};

// The last values as one character each, from nothing to `most`: "▁▂▃▄▅▆▇█", or " .:-=+*#" in plain ASCII. As
// many of the newest as fit, on the right of `width` columns.
std::string sparkline(const std::deque<double>& values, double most, std::size_t width, bool ascii);

class TopView {
 public:
  static constexpr std::size_t kHistory = 300;  // of looks: more columns than a sparkline gets
  static constexpr std::size_t kEvents = 50;

  // `ascii`: the terminal shows no other characters.
  explicit TopView(bool ascii) : ascii_(ascii) {}

  // A look at all sites. `seconds` since 1970, `moment` on a clock that does not jump: rates are told from
  // two looks' counters.
  void update(std::int64_t seconds, double moment, std::vector<model::SiteStatus> sites);
  void add_event(const model::Event& event);
  // Below the table until the next one: what a command said.
  void set_message(std::string text) { message_ = std::move(text); }

  // The selected WAN; -1 and +1 go to the one above and below.
  void move(int rows);
  struct Selected {
    std::string site, wan;
  };
  [[nodiscard]] std::optional<Selected> selected() const;

  // At most size.rows lines of at most size.columns. `clock` is shown on the right of the first.
  [[nodiscard]] std::vector<Line> render(const ScreenSize& size, const std::string& clock) const;

 private:
  struct Rates {
    std::optional<std::uint64_t> rx_bytes, tx_bytes;
    std::deque<double> rx, tx;  // Mbit/s
  };
  using Key = std::pair<std::string, std::string>;  // site, WAN
  void add_rates(double seconds_passed);
  void add_site(const model::SiteStatus& site, const ScreenSize& size, bool with_sparklines,
                std::vector<Line>& out) const;
  [[nodiscard]] Line wan_line(const model::SiteStatus& site, const model::WanStatus& wan,
                              std::size_t columns) const;
  [[nodiscard]] Line sparklines(const Key& key, std::size_t columns) const;
  [[nodiscard]] std::vector<Line> notes(std::size_t columns) const;
  [[nodiscard]] std::vector<Key> keys() const;

  bool ascii_;
  std::int64_t now_ = 0;
  std::optional<double> moment_;
  std::vector<model::SiteStatus> sites_;
  std::map<Key, Rates> rates_;
  std::deque<std::string> events_;
  std::string message_;
  std::size_t selected_ = 0;
};

}  // namespace bondd
