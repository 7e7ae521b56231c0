#include "tests/sim/quic.h"

#include <algorithm>
#include <cstring>

namespace bondd::sim {

using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t kPacketThreshold = 3;
constexpr auto kMaxAckDelay = 25ms;
constexpr std::uint64_t kHistory = 512;  // numbers covered by an acknowledgement

}  // namespace

QuicSender::QuicSender(EventQueue& events, Address address, std::size_t payload, std::uint64_t window,
                       PacketSink& out)
    : address_(address),
      payload_(payload),
      window_(window),
      out_(out),
      loss_timer_(events, *this, kLoss),
      probe_timer_(events, *this, kProbe) {}

void QuicSender::send(TimePoint now) {
  std::uint8_t body[8];
  const std::uint64_t number = first_ + sent_.size();
  std::memcpy(body, &number, sizeof number);
  sent_.push_back({now});
  ++in_flight_;
  out_.receive(now, make_datagram(address_, body, payload_));
}

void QuicSender::transmit(TimePoint now) {
  while (in_flight_ + 1 <= cubic_.cwnd &&
         in_flight_ * static_cast<double>(payload_) < static_cast<double>(window_)) {
    send(now);
  }
  if (in_flight_ > 0) {
    const Duration base =
        srtt_.count() == 0 ? Duration(1s) : srtt_ + std::max<Duration>(4 * rttvar_, 1ms) + kMaxAckDelay;
    probe_timer_.set(now + base * (1 << std::min(probes_, 6)));
  }
}

void QuicSender::detect_losses(TimePoint now) {
  if (!any_ack_) return;
  const Duration threshold = std::max(srtt_, latest_) * 9 / 8;
  Duration wait{0};
  bool congestion = false;
  for (std::uint64_t i = first_; i < largest_; ++i) {
    Sent& sent = sent_[i - first_];
    if (sent.done) continue;
    const Duration left = sent.time + threshold - now;
    if (i + kPacketThreshold <= largest_ || left.count() <= 0) {
      sent.done = true;
      --in_flight_;
      ++lost_;
      if (sent.time > recovery_start_) congestion = true;
    } else if (wait.count() == 0 || left < wait) {
      wait = left;
    }
  }
  if (congestion) {
    recovery_start_ = now;
    cubic_.on_loss();
    cubic_.cwnd = cubic_.ssthresh;
  }
  if (wait.count() > 0) loss_timer_.set(now + wait);
  trim();
}

void QuicSender::trim() {
  while (!sent_.empty() && sent_.front().done && first_ < largest_) {
    sent_.pop_front();
    ++first_;
  }
}

void QuicSender::receive(TimePoint now, const Packet& packet) {
  const auto body = datagram_body(packet);
  std::uint64_t largest;
  std::memcpy(&largest, body.data(), 8);
  if (largest >= first_ + sent_.size()) return;
  double acked = 0;
  Duration rtt{0};
  any_ack_ = true;
  largest_ = std::max(largest_, largest);
  for (std::uint64_t i = 0; i < kHistory && i <= largest; ++i) {
    if ((body[8 + i / 8] >> (i % 8) & 1) == 0) continue;
    const std::uint64_t number = largest - i;
    if (number < first_) break;
    Sent& sent = sent_[number - first_];
    if (sent.done) continue;
    sent.done = true;
    --in_flight_;
    if (sent.time > recovery_start_) ++acked;
    if (i == 0) rtt = now - sent.time;
  }
  if (rtt.count() > 0) {
    latest_ = rtt;
    if (srtt_.count() == 0) {
      srtt_ = rtt;
      rttvar_ = rtt / 2;
    } else {
      const Duration error = rtt > srtt_ ? rtt - srtt_ : srtt_ - rtt;
      rttvar_ += (error - rttvar_) / 4;
      srtt_ += (rtt - srtt_) / 8;
    }
  }
  probes_ = 0;
  detect_losses(now);
  if (acked > 0) cubic_.on_ack(now, acked, rtt, first_, first_ + sent_.size(), true);
  trim();
  transmit(now);
}

void QuicSender::on_event(TimePoint now, std::uint64_t token) {
  if (Timer::kind_of(token) == kLoss) {
    if (!loss_timer_.due(now, token)) return;
    detect_losses(now);
  } else {
    if (!probe_timer_.due(now, token)) return;
    ++probes_;
    send(now);
  }
  transmit(now);
}

QuicReceiver::QuicReceiver(EventQueue& events, Address address, PacketSink& out)
    : address_(address), out_(out), delayed_(events, *this, 1) {}

void QuicReceiver::receive(TimePoint now, const Packet& packet) {
  std::uint64_t number;
  std::memcpy(&number, datagram_body(packet).data(), 8);
  if (number < floor_ || !received_.insert(number).second) return;
  bytes_ += packet.size() - kUdpHeaders;
  const bool gap = any_ ? number != largest_ + 1 : false;
  largest_ = any_ ? std::max(largest_, number) : number;
  any_ = true;
  while (received_.size() > 2 * kHistory) {
    floor_ = *received_.begin() + 1;
    received_.erase(received_.begin());
  }
  if (++pending_ >= 2 || gap) {
    acknowledge(now);
  } else {
    delayed_.set(now + kMaxAckDelay);
  }
}

void QuicReceiver::acknowledge(TimePoint now) {
  std::uint8_t body[8 + kHistory / 8] = {};
  std::memcpy(body, &largest_, 8);
  for (auto at = received_.rbegin(); at != received_.rend() && largest_ - *at < kHistory; ++at) {
    const std::uint64_t i = largest_ - *at;
    body[8 + i / 8] = static_cast<std::uint8_t>(body[8 + i / 8] | 1 << (i % 8));
  }
  pending_ = 0;
  delayed_.stop();
  out_.receive(now, make_datagram(address_, body, sizeof body));
}

void QuicReceiver::on_event(TimePoint now, std::uint64_t token) {
  if (delayed_.due(now, token) && pending_ > 0) acknowledge(now);
}

}  // namespace bondd::sim
