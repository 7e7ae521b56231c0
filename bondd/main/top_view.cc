#include "bondd/main/top_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "bondd/base/clock.h"
#include "bondd/base/text.h"
#include "bondd/main/status_view.h"

namespace bondd {
namespace {

using model::WanState;
using model::WanStatus;

constexpr std::size_t kMark = 2;        // "> " before the selected WAN
constexpr std::size_t kEventLines = 5;  // that have their place before sparklines get theirs

constexpr std::array<const char*, 8> kBars = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
constexpr std::array<const char*, 8> kAsciiBars = {" ", ".", ":", "-", "=", "+", "*", "#"};

Paint paint_of(WanState state) {
  switch (state) {
    case WanState::kUp:
      return Paint::kGood;
    case WanState::kDown:
    case WanState::kSilent:
      return Paint::kBad;
    case WanState::kWaiting:
    case WanState::kStarting:
    case WanState::kLossy:
    case WanState::kSlow:
    case WanState::kDrained:
      return Paint::kWarning;
  }
  return Paint::kPlain;
}

Paint paint_of(model::SiteState state) {
  switch (state) {
    case model::SiteState::kUp:
      return Paint::kGood;
    case model::SiteState::kDegraded:
      return Paint::kWarning;
    case model::SiteState::kDown:
      return Paint::kBad;
  }
  return Paint::kPlain;
}

// A byte that goes on with a UTF-8 character takes no column.
bool goes_on(char byte) {
  return (static_cast<unsigned char>(byte) & 0xc0U) == 0x80U;
}

std::size_t columns_of(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return !goes_on(c); }));
}

std::size_t columns_of(const Line& line) {
  std::size_t all = 0;
  for (const Span& span : line) all += columns_of(span.text);
  return all;
}

// At most so many columns of it; what is no printable character is a blank.
std::string cut(std::string_view text, std::size_t columns) {
  std::string out;
  std::size_t used = 0;
  for (const char byte : text) {
    if (!goes_on(byte) && used++ == columns) break;
    out += static_cast<unsigned char>(byte) < ' ' || byte == 0x7f ? ' ' : byte;
  }
  return out;
}

void cut(Line& line, std::size_t columns) {
  for (Span& span : line) {
    span.text = cut(span.text, columns);
    columns -= columns_of(span.text);
  }
}

std::string figure(const std::optional<double>& value, const char* unit) {
  return value ? short_number(*value) + unit : "-";
}

std::optional<double> last(const std::deque<double>& values) {
  return values.empty() ? std::nullopt : std::optional(values.back());
}

// A column of the table; those of a lower rank go first where the screen is narrow.
struct Column {
  const char* head;
  std::size_t width;
  int rank;
};
enum ColumnName : std::size_t { kState, kFor, kDown, kUp, kShare, kLatency, kLoss, kQueue, kColumnCount };
constexpr std::size_t kNameColumns = 10;
constexpr std::array<Column, kColumnCount> kTable = {{{"STATE", 8, 9},
                                                      {"FOR", 4, 3},
                                                      {"DOWN Mbit/s", 11, 8},
                                                      {"UP Mbit/s", 9, 7},
                                                      {"SHARE", 6, 5},
                                                      {"LATENCY", 8, 6},
                                                      {"LOSS", 6, 4},
                                                      {"QUEUE", 7, 2}}};

std::vector<std::size_t> columns_that_fit(std::size_t columns) {
  std::vector<std::size_t> shown;
  std::size_t used = kMark + kNameColumns;
  for (std::size_t i = 0; i < kTable.size(); ++i) {
    shown.push_back(i);
    used += 1 + kTable[i].width;
  }
  while (used > columns && !shown.empty()) {
    const auto least = std::ranges::min_element(shown, {}, [](std::size_t i) { return kTable[i].rank; });
    used -= 1 + kTable[*least].width;
    shown.erase(least);
  }
  return shown;
}

std::string cell(std::size_t column, const std::string& text) {
  const Column& at = kTable[column];
  return column == kState ? fmt::format(" {:<{}.{}}", text, at.width, at.width)
                          : fmt::format(" {:>{}.{}}", text, at.width, at.width);
}

Line heading(std::size_t columns) {
  std::string out = fmt::format("{:{}}{:<{}}", "", kMark, "WAN", kNameColumns);
  for (const std::size_t i : columns_that_fit(columns)) out += cell(i, kTable[i].head);
  return {{out, Paint::kHeading}};
}

}  // namespace

std::string sparkline(const std::deque<double>& values, double most, std::size_t width, bool ascii) {
  const auto& bars = ascii ? kAsciiBars : kBars;
  const std::size_t count = std::min(values.size(), width);
  std::string out(width - count, ' ');
  for (std::size_t i = values.size() - count; i < values.size(); ++i) {
    const double part = most > 0 ? std::clamp(values[i] / most, 0.0, 1.0) : 0.0;
    out += bars[std::min(bars.size() - 1, static_cast<std::size_t>(part * static_cast<double>(bars.size())))];
  }
  return out;
}

std::vector<TopView::Key> TopView::keys() const {
  std::vector<Key> out;
  for (const model::SiteStatus& site : sites_) {
    for (const WanStatus& wan : site.wans) out.emplace_back(site.name, wan.name);
  }
  return out;
}

void TopView::update(std::int64_t seconds, double moment, std::vector<model::SiteStatus> sites) {
  // What is selected stays so when WANs come or go before it.
  const auto before = selected();
  now_ = seconds;
  sites_ = std::move(sites);
  add_rates(moment_ ? moment - *moment_ : 0);
  moment_ = moment;
  const std::vector<Key> all = keys();
  if (before) {
    const auto found = std::ranges::find(all, Key(before->site, before->wan));
    if (found != all.end()) selected_ = static_cast<std::size_t>(found - all.begin());
  }
  selected_ = std::min(selected_, all.empty() ? 0 : all.size() - 1);
}

void TopView::add_rates(double seconds_passed) {
  const std::vector<Key> all = keys();
  std::erase_if(rates_, [&](const auto& one) { return std::ranges::find(all, one.first) == all.end(); });
  const auto add = [&](std::optional<std::uint64_t>& before, const std::optional<std::uint64_t>& now,
                       std::deque<double>& rates) {
    // A counter that began anew (bondd was started again) tells nothing of this look.
    if (seconds_passed > 0 && before && now && *now >= *before)
      rates.push_back(static_cast<double>(*now - *before) * 8 / seconds_passed / 1e6);
    if (rates.size() > kHistory) rates.pop_front();
    before = now;
  };
  for (const model::SiteStatus& site : sites_) {
    for (const WanStatus& wan : site.wans) {
      Rates& rates = rates_[{site.name, wan.name}];
      add(rates.rx_bytes, wan.rx_bytes, rates.rx);
      add(rates.tx_bytes, wan.tx_bytes, rates.tx);
    }
  }
}

void TopView::add_event(const model::Event& event) {
  const std::string what = event.wan.empty() ? event.site : event.site + " " + event.wan;
  const std::string from = event.from.empty() ? "" : event.from + " -> ";
  events_.push_back(fmt::format("{} {}: {}{}{}", clock_text(event.time), what, from,
                                event.to.empty() ? "gone" : event.to,
                                event.reason.empty() ? "" : ", " + event.reason));
  if (events_.size() > kEvents) events_.pop_front();
}

void TopView::move(int rows) {
  const auto count = static_cast<int>(keys().size());
  if (count == 0) return;
  selected_ = static_cast<std::size_t>(std::clamp(static_cast<int>(selected_) + rows, 0, count - 1));
}

std::optional<TopView::Selected> TopView::selected() const {
  const std::vector<Key> all = keys();
  if (selected_ >= all.size()) return std::nullopt;
  return Selected{all[selected_].first, all[selected_].second};
}

Line TopView::wan_line(const model::SiteStatus& site, const WanStatus& wan, std::size_t columns) const {
  const Key key(site.name, wan.name);
  const auto rates = rates_.find(key);
  const bool is_selected = keys()[selected_] == key;
  const bool heard = model::is_heard(wan.state);
  std::array<std::string, kColumnCount> texts;
  texts[kState] = to_string(wan.state);
  texts[kFor] = wan.since == 0 ? "-" : brief_ago_text(now_ - wan.since);
  if (rates != rates_.end()) {
    texts[kDown] = figure(last(rates->second.rx), "");
    texts[kUp] = figure(last(rates->second.tx), "");
  }
  texts[kShare] = wan.share_percent ? fmt::format("{:.0f} %", *wan.share_percent) : "-";
  texts[kLatency] = heard ? figure(wan.rtt_ms, " ms") : "-";
  texts[kLoss] = heard ? figure(wan.loss_percent, " %") : "-";
  texts[kQueue] = heard ? figure(wan.queue_ms, " ms") : "-";
  Line line;
  line.push_back(
      {fmt::format("{:<{}}{:<{}.{}}", is_selected ? ">" : "", kMark, wan.name, kNameColumns, kNameColumns),
       is_selected ? Paint::kSelected : Paint::kPlain});
  for (const std::size_t i : columns_that_fit(columns))
    line.push_back({cell(i, texts[i]), i == kState ? paint_of(wan.state) : Paint::kPlain});
  return line;
}

// Down and up of the last looks, each against its own peak.
Line TopView::sparklines(const Key& key, std::size_t columns) const {
  const auto rates = rates_.find(key);
  const std::string down = fmt::format("{:{}}down ", "", kMark);
  const std::string up = "  up ";
  if (rates == rates_.end() || columns < down.size() + up.size() + 2) return {};
  const std::size_t width = (columns - down.size() - up.size()) / 2;
  const auto line = [&](const std::deque<double>& values) {
    const double most = values.empty() ? 0 : *std::ranges::max_element(values);
    return sparkline(values, most, width, ascii_);
  };
  return {{down, Paint::kHeading},
          {line(rates->second.rx), Paint::kPlain},
          {up, Paint::kHeading},
          {line(rates->second.tx), Paint::kPlain}};
}

void TopView::add_site(const model::SiteStatus& site, const ScreenSize& size, bool with_sparklines,
                       std::vector<Line>& out) const {
  const auto up = std::ranges::count(site.wans, WanState::kUp, &WanStatus::state);
  Line head{{site.name + ": "}, {std::string(to_string(site.state)), paint_of(site.state)}};
  head.push_back({fmt::format(", {} of {} WANs up", up, site.wans.size())});
  if (site.since != 0) head.push_back({", since " + ago_text(now_ - site.since)});
  if (!site.backend.empty()) head.push_back({fmt::format(" ({})", site.backend)});
  out.push_back(head);
  if (site.wans.empty()) return;
  out.push_back(heading(size.columns));
  for (const WanStatus& wan : site.wans) {
    out.push_back(wan_line(site, wan, size.columns));
    if (with_sparklines) out.push_back(sparklines({site.name, wan.name}, size.columns));
  }
}

// What is wrong, with what to do; and what the last command said.
std::vector<Line> TopView::notes(std::size_t columns) const {
  std::vector<Line> out;
  const auto add = [&](const std::string& first, const std::string& text, Paint paint) {
    std::string lines = wrapped(first, text);
    if (columns < kColumns) lines = first + text + "\n";  // cut
    for (std::size_t at = 0; at < lines.size();) {
      const auto end = lines.find('\n', at);
      out.push_back({{lines.substr(at, end - at), paint}});
      at = end + 1;
    }
  };
  for (const model::SiteStatus& site : sites_) {
    for (const model::Problem& problem : site.problems) {
      const Paint paint = problem.severity == model::Severity::kError ? Paint::kBad : Paint::kWarning;
      add((problem.wan.empty() ? site.name : problem.wan) + ": ", problem.text, paint);
      if (!problem.remedy.empty()) add("    ", problem.remedy, Paint::kPlain);
    }
    std::string said;  // what is the same of all is shown once
    for (const WanStatus& wan : site.wans) {
      const bool named =
          std::ranges::find(site.problems, wan.name, &model::Problem::wan) != site.problems.end();
      if (named || wan.reason.empty() || wan.reason == said) continue;
      said = wan.reason;
      add(wan.name + ": ", wan.reason, Paint::kPlain);
    }
    if (site.wans.empty()) {
      for (const std::string& warning : site.warnings) add(site.name + ": ", warning, Paint::kWarning);
    }
  }
  if (!message_.empty()) add("", message_, Paint::kPlain);
  return out;
}

std::vector<Line> TopView::render(const ScreenSize& size, const std::string& clock) const {
  const std::string keys_text =
      ascii_ ? "arrows select  d drain  r restore  q quit" : "↑ ↓ select  d drain  r restore  q quit";
  const std::vector<Line> below = notes(size.columns);
  const auto table = [&](bool with_sparklines) {
    std::vector<Line> out;
    for (const model::SiteStatus& site : sites_) {
      if (!out.empty()) out.push_back({});
      add_site(site, size, with_sparklines, out);
    }
    if (sites_.empty()) out.push_back({{"no site is up; `bondd up NAME` starts one"}});
    return out;
  };
  std::vector<Line> lines = table(true);
  if (lines.size() + below.size() + kEventLines + 3 > size.rows) lines = table(false);
  const std::size_t used = columns_of(lines.front());
  if (used + 1 + clock.size() <= size.columns)
    lines.front().push_back({fmt::format("{:>{}}", clock, size.columns - used)});
  if (!below.empty()) lines.push_back({});
  lines.insert(lines.end(), below.begin(), below.end());
  // Events take what is left above the keys, the newest last.
  if (lines.size() + 3 <= size.rows && !events_.empty()) {
    lines.push_back({});
    const std::size_t room = std::min(events_.size(), size.rows - lines.size() - 1);
    for (std::size_t i = events_.size() - room; i < events_.size(); ++i) lines.push_back({{events_[i]}});
  }
  if (size.rows == 0) return {};
  lines.resize(size.rows - 1);
  lines.push_back({{keys_text, Paint::kHeading}});
  for (Line& line : lines) cut(line, size.columns);
  return lines;
}

}  // namespace bondd
