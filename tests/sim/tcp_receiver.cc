#include <algorithm>

#include "tests/sim/tcp.h"

namespace bondd::sim {

using namespace std::chrono_literals;

TcpReceiver::TcpReceiver(EventQueue& events, Address address, PacketSink& out)
    : address_(address), out_(out), delayed_(events, *this, 1) {}

void TcpReceiver::note_block(std::uint64_t begin, std::uint64_t end) {
  auto at = held_.upper_bound(begin);
  if (at != held_.begin() && std::prev(at)->second >= begin) {
    --at;
    begin = at->first;
    end = std::max(end, at->second);
    at = held_.erase(at);
  }
  while (at != held_.end() && at->first <= end) {
    end = std::max(end, at->second);
    at = held_.erase(at);
  }
  held_[begin] = end;
  std::erase_if(recent_, [&](std::uint64_t b) { return b >= begin && b < end; });
  recent_.push_front(begin);
  if (recent_.size() > 8) recent_.pop_back();
}

void TcpReceiver::receive(TimePoint now, const Packet& packet) {
  const TcpSegment wire = parse_tcp(packet, next_);
  if (wire.syn) {
    TcpSegment answer;
    answer.syn = true;
    answer.ts_value = static_cast<std::uint32_t>(now.time_since_epoch() / 1ms);
    answer.ts_echo = wire.ts_value;
    out_.receive(now, make_tcp(address_, answer));
    return;
  }
  if (wire.payload == 0) return;
  const std::uint64_t end = wire.seq + wire.payload;
  bool at_once = !held_.empty();
  if (end <= next_) {
    duplicate_ = {wire.seq, end};
    at_once = true;
  } else if (wire.seq > next_) {
    ++out_of_order_;
    note_block(wire.seq, end);
    at_once = true;
  } else {
    if (now >= watch_from_) {
      longest_gap_ = std::max(longest_gap_, now - last_progress_);
      last_progress_ = now;
    }
    if (pending_ == 0 || !held_.empty()) echo_ = wire.ts_value;
    next_ = end;
    while (!held_.empty() && held_.begin()->first <= next_) {
      next_ = std::max(next_, held_.begin()->second);
      std::erase(recent_, held_.begin()->first);
      held_.erase(held_.begin());
    }
  }
  ++pending_;
  if (at_once || pending_ >= 2 || quick_ > 0) {
    if (quick_ > 0) --quick_;
    acknowledge(now);
  } else {
    delayed_.set(now + 40ms);
  }
}

void TcpReceiver::acknowledge(TimePoint now) {
  TcpSegment wire;
  wire.ack = next_;
  wire.ts_value = static_cast<std::uint32_t>(now.time_since_epoch() / 1ms);
  wire.ts_echo = echo_;
  if (duplicate_.end != 0) wire.sacks.push_back(duplicate_);
  duplicate_ = {};
  for (const std::uint64_t begin : recent_) {
    const auto at = held_.find(begin);
    if (at != held_.end() && wire.sacks.size() < 3) wire.sacks.push_back({at->first, at->second});
  }
  pending_ = 0;
  delayed_.stop();
  out_.receive(now, make_tcp(address_, wire));
}

void TcpReceiver::on_event(TimePoint now, std::uint64_t token) {
  if (delayed_.due(now, token) && pending_ > 0) acknowledge(now);
}

}  // namespace bondd::sim
