#include "tests/sim/traffic.h"

#include <algorithm>
#include <cstring>

namespace bondd::sim {

double Delays::percentile(double share) const {
  if (ms.empty()) return 0;
  std::vector<double> sorted = ms;
  std::ranges::sort(sorted);
  return sorted[std::min(sorted.size() - 1,
                         static_cast<std::size_t>(share * static_cast<double>(sorted.size())))];
}

SmallStream::SmallStream(EventQueue& events, Address address, Duration interval, std::size_t payload,
                         PacketSink& out, PacketSink* back)
    : events_(events), address_(address), interval_(interval), payload_(payload), out_(out), back_(back) {}

void SmallStream::on_event(TimePoint now, std::uint64_t) {
  std::uint8_t body[8];
  const std::int64_t time = now.time_since_epoch().count();
  std::memcpy(body, &time, sizeof time);
  if (now >= from_) ++delays_.sent;
  out_.receive(now, make_datagram(address_, body, payload_));
  events_.post(now + interval_, *this);
}

void SmallStream::receive(TimePoint now, const Packet& packet) {
  const auto address = parse_address(packet);
  if (back_ != nullptr && address && address->to_office == address_.to_office) {  // at the other end
    Address answer = address_;
    answer.to_office = !answer.to_office;
    back_->receive(now, make_datagram(answer, datagram_body(packet).first(8), payload_));
    return;
  }
  std::int64_t time;
  std::memcpy(&time, datagram_body(packet).data(), sizeof time);
  const TimePoint sent{Duration(time)};
  if (sent >= from_) delays_.ms.push_back(std::chrono::duration<double, std::milli>(now - sent).count());
}

}  // namespace bondd::sim
