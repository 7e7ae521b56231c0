#include "bondd/mlvpn/core/feedback.h"

#include <algorithm>

#include "bondd/mlvpn/core/bytes.h"
#include "bondd/mlvpn/core/packet.h"

namespace bondd::mlvpn {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr auto kUrgent = std::chrono::microseconds(300);  // lets the rest of a burst arrive
constexpr auto kShortest = std::chrono::milliseconds(2);
constexpr auto kForgotten = std::chrono::seconds(10);  // a flow that is silent so long
constexpr std::size_t kMostFlows = 64;
constexpr std::size_t kManyBytes = std::size_t{256} * 1024;
constexpr std::size_t kHead = 8, kRecord = 25, kGapSize = 4;
constexpr std::size_t kMostRecords = 32;  // of one report: leaves room for five gaps of each

}  // namespace

std::vector<std::uint8_t> render_report(const Report& report) {
  std::size_t size = kHead;
  for (const LinkReport& link : report.links) size += kRecord + link.gaps.size() * kGapSize;
  std::vector<std::uint8_t> out(size);
  out[0] = kVersion;
  out[1] = static_cast<std::uint8_t>(report.links.size());
  store_be(&out[2], report.patience_ms);
  store_be(&out[4], report.clock_us);
  std::uint8_t* p = out.data() + kHead;
  for (const LinkReport& link : report.links) {
    store_be(p, link.flow_id);
    p[4] = static_cast<std::uint8_t>(link.gaps.size());
    store_be(p + 5, link.highest);
    store_be(p + 13, link.arrived_us);
    store_be(p + 17, link.back);
    store_be(p + 21, link.span);
    p += kRecord;
    for (const Gap& gap : link.gaps) {
      store_be(p, gap.received);
      store_be(p + 2, gap.missing);
      p += kGapSize;
    }
  }
  return out;
}

std::optional<Report> parse_report(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < kHead || bytes[0] != kVersion) return std::nullopt;
  Report report;
  report.patience_ms = load_be<std::uint16_t>(&bytes[2]);
  report.clock_us = load_be<std::uint32_t>(&bytes[4]);
  const std::size_t count = bytes[1];
  bytes = bytes.subspan(kHead);
  for (std::size_t i = 0; i < count; ++i) {
    if (bytes.size() < kRecord) return std::nullopt;
    LinkReport link;
    link.flow_id = load_be<std::uint32_t>(&bytes[0]);
    const std::size_t gaps = bytes[4];
    link.highest = load_be<std::uint64_t>(&bytes[5]);
    link.arrived_us = load_be<std::uint32_t>(&bytes[13]);
    link.back = load_be<std::uint32_t>(&bytes[17]);
    link.span = load_be<std::uint32_t>(&bytes[21]);
    bytes = bytes.subspan(kRecord);
    if (bytes.size() < gaps * kGapSize) return std::nullopt;
    for (std::size_t g = 0; g < gaps; ++g) {
      link.gaps.push_back(
          {load_be<std::uint16_t>(&bytes[g * kGapSize]), load_be<std::uint16_t>(&bytes[g * kGapSize + 2])});
    }
    bytes = bytes.subspan(gaps * kGapSize);
    report.links.push_back(std::move(link));
  }
  if (!bytes.empty()) return std::nullopt;
  return report;
}

bool ArrivalLog::on_packet(TimePoint now, std::uint64_t seq) {
  if (!any_ || seq > highest_ + kWindow) {  // the first, or a jump: nothing is known of what lies before
    std::ranges::fill(bits_, 0);
    lowest_ = seq;
    highest_ = timed_ = seq;
    any_ = true;
    arrived_us_ = report_clock(now);
  }
  if (seq < lowest_ || seq + kWindow <= highest_) return false;
  const bool gap = seq > highest_ + 1;
  if (seq >= highest_) {
    for (std::uint64_t s = highest_ + 1; s < seq; ++s)
      bits_[s / 64 % (kWindow / 64)] &= ~(std::uint64_t{1} << (s % 64));
    highest_ = seq;
    if (highest_ - lowest_ >= kWindow) lowest_ = highest_ - kWindow + 1;
  }
  bits_[seq / 64 % (kWindow / 64)] |= std::uint64_t{1} << (seq % 64);
  note_time(now, seq);
  return gap;
}

// A packet right behind the last timed one is in step. With a hole between, it takes three
// that came and as many as are missing, or six of 64: then the hole is a loss.
void ArrivalLog::note_time(TimePoint now, std::uint64_t seq) {
  if (seq <= timed_) return;
  constexpr std::uint64_t kFew = 3, kMany = 6, kLook = 64;
  std::uint64_t received = 0, missing = 0;
  for (std::uint64_t s = seq; s > timed_ && received < kMany && received + missing < kLook; --s) {
    ++(has(s) ? received : missing);
  }
  if (missing != 0 && received < kMany && (received < kFew || received < missing)) return;
  timed_ = seq;
  arrived_us_ = report_clock(now);
}

LinkReport ArrivalLog::report(std::uint32_t flow_id, std::size_t most_gaps) const {
  LinkReport report{flow_id, highest_, arrived_us_, static_cast<std::uint32_t>(highest_ - timed_), 0, {}};
  constexpr std::uint64_t kMost = 0xffff;
  std::uint64_t seq = highest_;
  const auto left = [&] { return seq - lowest_ + 1; };  // numbers not yet looked at
  bool more = any_;
  while (more) {
    std::uint64_t received = 0, missing = 0;
    // Whole words of received numbers are skipped at once: this runs often.
    while (received < left() && received < kMost) {
      const std::uint64_t s = seq - received;
      if (s % 64 == 63 && received + 64 <= std::min(left(), kMost) && ~bits_[s / 64 % (kWindow / 64)] == 0) {
        received += 64;
      } else if (has(s)) {
        ++received;
      } else {
        break;
      }
    }
    if (received == left() || report.gaps.size() == most_gaps) {
      report.span += static_cast<std::uint32_t>(received);
      break;
    }
    while (received + missing < left() && missing < kMost && !has(seq - received - missing)) ++missing;
    report.gaps.push_back({static_cast<std::uint16_t>(received), static_cast<std::uint16_t>(missing)});
    report.span += static_cast<std::uint32_t>(received + missing);
    more = received + missing < left();
    seq -= received + missing;
  }
  return report;
}

void Reporter::on_packet(TimePoint now, std::uint32_t flow_id, std::uint64_t seq, std::size_t bytes,
                         bool eliciting) {
  auto at = std::ranges::find(logs_, flow_id, &Log::flow_id);
  if (at == logs_.end()) {
    std::erase_if(logs_, [&](const Log& log) { return now - log.heard > kForgotten; });
    if (logs_.size() >= kMostFlows) return;
    at = logs_.insert(logs_.end(), {flow_id, now, ArrivalLog()});
  }
  at->heard = now;
  const bool gap = at->log.on_packet(now, seq);
  if (!eliciting) return;
  bytes_since_ += bytes;
  const bool urgent = gap || bytes_since_ >= kManyBytes;
  const TimePoint due =
      urgent ? std::max(now + kUrgent, last_ + kShortest) : std::max(now + kUrgent, last_ + interval_);
  if (!due_ || due < *due_) due_ = due;
}

std::vector<std::uint8_t> Reporter::make(TimePoint now, Duration patience) {
  Report report;
  report.patience_ms = static_cast<std::uint16_t>(
      std::clamp<std::int64_t>(patience / std::chrono::milliseconds(1), 0, 0xffff));
  report.clock_us = report_clock(now);
  std::vector<const Log*> told;
  for (std::size_t i = 0; i < logs_.size() && told.size() < kMostRecords; ++i) {
    const Log& log = logs_[(turn_ + i) % logs_.size()];
    if (log.log.any() && now - log.heard < kForgotten) told.push_back(&log);
  }
  if (told.size() == kMostRecords) turn_ += kMostRecords;
  for (const Log* log : told) report.links.push_back(log->log.report(log->flow_id));
  // The links with the most gaps name fewer: as many as let all of it fit.
  const std::size_t room = (kMaxPayload - kHead - told.size() * kRecord) / kGapSize;
  std::size_t most = ArrivalLog::kMaxGaps;
  const auto gaps = [&] {
    std::size_t sum = 0;
    for (const LinkReport& link : report.links) sum += std::min(link.gaps.size(), most);
    return sum;
  };
  while (gaps() > room) --most;
  for (std::size_t i = 0; i < told.size(); ++i) {
    if (report.links[i].gaps.size() > most) report.links[i] = told[i]->log.report(told[i]->flow_id, most);
  }
  due_.reset();
  last_ = now;
  bytes_since_ = 0;
  return render_report(report);
}

}  // namespace bondd::mlvpn
