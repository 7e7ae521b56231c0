#include "bondd/main/ping_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace bondd {
namespace {

constexpr std::size_t kClock = 8;    // "14:03:20"
constexpr std::size_t kColumn = 10;  // "1234.5 ms", and a space before it

std::string ms_text(std::optional<double> ms) {
  return ms ? fmt::format("{:.1f} ms", *ms) : "-";
}

// A long name is cut: the columns stay where they are.
std::string cell(const std::string& text) {
  return fmt::format(" {:>{}.{}}", text, kColumn, kColumn);
}

template <typename Text>
std::string table_row(const std::string& first, std::size_t lines, Text text_of) {
  std::string out = fmt::format("{:<{}}", first, kClock);
  for (std::size_t i = 0; i <= lines; ++i) out += cell(text_of(i));
  return out + "\n";
}

}  // namespace

PingView::PingView(const model::SiteStatus& site) {
  for (const model::WanStatus& wan : site.wans) lines_.push_back({wan.name, {}});
}

std::string PingView::head() const {
  return table_row("TIME", lines_.size(),
                   [&](std::size_t i) { return i < lines_.size() ? lines_[i].name : bond_.name; });
}

void PingView::handle_request(std::uint16_t number) {
  requests_[number] = std::nullopt;
  ++sent_;
}

void PingView::handle_answer(std::uint16_t number, Duration took) {
  const auto found = requests_.find(number);
  if (found != requests_.end()) found->second = to_ms(took);
  bond_.ms.push_back(to_ms(took));
  ++received_;
}

std::string PingView::row(const std::string& clock, const model::SiteStatus& site, std::uint16_t number) {
  std::vector<std::string> cells;
  for (Column& line : lines_) {
    const auto wan = std::ranges::find(site.wans, line.name, &model::WanStatus::name);
    const bool heard = wan != site.wans.end() && model::is_heard(wan->state);
    if (heard && wan->rtt_ms) line.ms.push_back(*wan->rtt_ms);
    cells.push_back(wan == site.wans.end() ? "gone"
                    : heard                ? ms_text(wan->rtt_ms)
                                           : std::string(to_string(wan->state)));
  }
  const auto request = requests_.find(number);
  cells.push_back(request != requests_.end() && request->second ? ms_text(request->second) : "no reply");
  if (request != requests_.end()) requests_.erase(request);
  return table_row(clock, lines_.size(), [&](std::size_t i) { return cells[i]; });
}

std::string PingView::summary() const {
  const auto figure = [&](const std::string& name, auto of) {
    return table_row(name, lines_.size(), [&](std::size_t i) {
      const Column& column = i < lines_.size() ? lines_[i] : bond_;
      return column.ms.empty() ? "-" : ms_text(of(column.ms));
    });
  };
  std::string out = figure("least", [](const auto& ms) { return *std::ranges::min_element(ms); });
  out += figure("mean", [](const auto& ms) {
    return std::accumulate(ms.begin(), ms.end(), 0.0) / static_cast<double>(ms.size());
  });
  out += figure("greatest", [](const auto& ms) { return *std::ranges::max_element(ms); });
  const unsigned lost = sent_ - std::min(sent_, received_);
  return out + fmt::format("bond: {} of {} echo requests answered, {:.1f} % lost\n", received_, sent_,
                           sent_ == 0 ? 0.0 : 100.0 * lost / sent_);
}

}  // namespace bondd
