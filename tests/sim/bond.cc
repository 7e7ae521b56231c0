#include "tests/sim/bond.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <deque>

#include "bondd/mlvpn/core/brain_trace.h"
#include "tests/sim/random.h"
#include "tests/sim/upstream.h"

namespace bondd::sim {
namespace {

using namespace std::chrono_literals;
using mlvpn::Endpoint;
using mlvpn::LinkId;
using mlvpn::PacketRef;

constexpr std::uint32_t kInnerMtu = 1428;         // 1500 less IPv4, UDP, header and MAC
constexpr std::size_t kAdded = 14 + 1500 - 1428;  // to an inner packet, for its frame
constexpr std::size_t kUdpInEthernet = 42;

Endpoint endpoint(std::size_t line, bool server, std::uint16_t port) {
  return {IpAddress::v4({10, 9, static_cast<std::uint8_t>(line), static_cast<std::uint8_t>(server ? 2 : 1)}),
          port};
}

// Writes what a brain decides, in full precision: a change that decides the same leaves the file as it was.
class TraceWriter final : public mlvpn::BrainTrace {
 public:
  TraceWriter(std::FILE* file, bool server) : file_(file), end_(server ? 'S' : 'C') {}
  void on_sample(TimePoint now, LinkId link, const mlvpn::Line& line) override {
    std::fprintf(file_, "%c %ld sample %u rate %a pace %a window %a phase %d queue %a\n", end_, ticks(now),
                 link, line.capacity(), line.pacing_rate(), line.window(), static_cast<int>(line.phase()),
                 line.queue_ms());
  }
  void on_departure(TimePoint now, LinkId link, std::uint64_t data_seq) override {
    std::fprintf(file_, "%c %ld send %u %lx\n", end_, ticks(now), link, data_seq);
  }

 private:
  static long ticks(TimePoint now) { return now.time_since_epoch().count(); }
  std::FILE* file_;
  char end_;
};

// One end of the bond: an engine and the loop around it.
class End final : public BondEnd, public Actor {
 public:
  End(EventQueue& events, bool server, const BondOptions& options, std::uint64_t seed, PacketSink& host)
      : events_(events),
        host_(host),
        timer_(events, *this, 1),
        random_(seed * 2 + server),
        trace_(options.brain_trace, server),
        tuning_(options.tuning),
        engine_(events.now(), config(server, options, seed, trace_, tuning_),
                options.sessions ? mlvpn::test::with_sessions() : mlvpn::test::password_only()) {
    for (std::size_t i = 0; i < 2; ++i) {
      mlvpn::LinkConfig link;
      link.name.assign(1, static_cast<char>('A' + i));
      link.upload = i == 0 ? options.rate_a : options.rate_b;
      if (!server) link.remote = endpoint(i, true, static_cast<std::uint16_t>(5080 + i));
      engine_.add_link(events.now(), link);
    }
    timer_.set(events.now());
  }

  void connect(PacketSink& a, PacketSink& b) override { lines_ = {&a, &b}; }
  mlvpn::Engine& engine() { return engine_; }

  void freeze(TimePoint until) {
    frozen_until_ = until;
    timer_.set(until);
  }
  unsigned state_changes() const { return state_changes_; }
  std::uint64_t delivered_bytes() const { return delivered_bytes_; }

  // From the host.
  void receive(TimePoint now, Packet packet) override {
    if (now < frozen_until_) {
      if (tun_.size() < kTunQueue) tun_.push_back(std::move(packet));
      return;
    }
    if (engine_.packet_budget() == 0) return;
    auto buffer = engine_.pool().take();
    if (!buffer) return;
    std::memcpy(buffer->data, packet.data(), packet.size());
    buffer->size = static_cast<std::uint32_t>(packet.size());
    engine_.handle_packets(now, std::span(&*buffer, 1));
    turn(now);
  }

  // From a line.
  void receive_datagram(TimePoint now, LinkId line, Packet& datagram, const Endpoint& from) override {
    if (now < frozen_until_) {
      if (sockets_[line].size() < kSocketQueue) sockets_[line].emplace_back(std::move(datagram), from);
      return;
    }
    const mlvpn::ReceivedRun run{from, datagram, static_cast<std::uint32_t>(datagram.size())};
    engine_.handle_datagrams(now, line, std::span(&run, 1));
    deliver(now);
    engine_.end_round();
    turn(now);
  }

  void on_event(TimePoint now, std::uint64_t token) override {
    if (!timer_.due(now, token)) return;
    if (now < frozen_until_) return timer_.set(frozen_until_);
    lateness_ = sample_lateness();
    wake(now);
    engine_.handle_timeout(now);
    turn(now);
  }

 private:
  // What waited, a batch of each socket a turn, as the driver reads it.
  void wake(TimePoint now) {
    while (!sockets_[0].empty() || !sockets_[1].empty()) {
      for (LinkId line : {LinkId{0}, LinkId{1}}) {
        auto& socket = sockets_[line];
        for (int n = 0; n < kBatch && !socket.empty(); ++n) {
          auto& [datagram, from] = socket.front();
          const mlvpn::ReceivedRun run{from, datagram, static_cast<std::uint32_t>(datagram.size())};
          engine_.handle_datagrams(now, line, std::span(&run, 1));
          deliver(now);
          engine_.end_round();
          socket.pop_front();
        }
      }
      if (const auto due = engine_.poll_timeout(); due && *due <= now) engine_.handle_timeout(now);
      turn(now);
    }
    for (; !tun_.empty(); tun_.pop_front()) receive(now, std::move(tun_.front()));
  }

  static mlvpn::EngineConfig config(bool server, const BondOptions& options, std::uint64_t seed,
                                    TraceWriter& trace, const mlvpn::Tuning& tuning) {
    mlvpn::EngineConfig config;
    config.role = server ? mlvpn::Role::kServer : mlvpn::Role::kClient;
    config.wall_clock_us = 1'700'000'000'000'000;
    config.repair = options.repair;
    if (options.brain_trace != nullptr) config.trace = &trace;
    config.tuning = &tuning;
    config.seed.fill(static_cast<std::uint8_t>(seed * 2 + server));
    return config;
  }

  // No host wakes in time: some 50 us late as a rule, now and then much more.
  Duration sample_lateness() {
    const double usual = -std::log(1.0 - random_.uniform()) * 50;
    return std::chrono::nanoseconds(
        static_cast<std::int64_t>((random_.happens(0.01) ? 10 : 1) * usual * 1e3));
  }

  void deliver(TimePoint now) {
    std::array<PacketRef, 64> out;
    while (const std::size_t n = engine_.poll_deliver(out)) {
      for (std::size_t i = 0; i < n; ++i) delivered_.emplace_back(out[i].data, out[i].data + out[i].size);
      engine_.recycle(std::span(out).first(n));
    }
    (void)now;
  }

  void turn(TimePoint now) {
    deliver(now);
    mlvpn::Transmit transmit;
    while (engine_.poll_transmit(now, transmit)) {
      for (const PacketRef& p : transmit.packets)
        lines_[transmit.path]->receive(now, Packet(p.data, p.data + p.size));
      engine_.recycle(transmit.packets);
    }
    while (const auto event = engine_.poll_event()) {
      state_changes_ += static_cast<unsigned>(event->kind == mlvpn::EventKind::kState);
    }
    if (const auto next = engine_.poll_timeout()) timer_.set(std::max(*next + lateness_, now + 20us));
    // The host may answer at once, which enters this engine again: only now.
    std::vector<Packet> packets;
    packets.swap(delivered_);
    for (Packet& packet : packets) {
      delivered_bytes_ += packet.size() + kAdded;
      host_.receive(now, std::move(packet));
    }
  }

  EventQueue& events_;
  PacketSink& host_;
  Timer timer_;
  Random random_;
  Duration lateness_{0};
  TraceWriter trace_;
  mlvpn::Tuning tuning_;
  mlvpn::Engine engine_;
  std::array<PacketSink*, 2> lines_{};
  std::vector<Packet> delivered_;

  // As of a stock kernel: a tun of 500 packets, and 4 MB of a socket's memory.
  static constexpr std::size_t kTunQueue = 500, kSocketQueue = 1800;
  static constexpr int kBatch = 64;
  TimePoint frozen_until_{};
  std::array<std::deque<std::pair<Packet, Endpoint>>, 2> sockets_;
  std::deque<Packet> tun_;
  unsigned state_changes_ = 0;
  std::uint64_t delivered_bytes_ = 0;
};

class LineEnd final : public PacketSink {
 public:
  LineEnd(BondEnd& end, std::size_t line, Endpoint from)
      : end_(end), line_(static_cast<LinkId>(line)), from_(from) {}
  void receive(TimePoint now, Packet packet) override { end_.receive_datagram(now, line_, packet, from_); }
  void set_from(const Endpoint& from) { from_ = from; }
  const Endpoint& from() const { return from_; }

 private:
  BondEnd& end_;
  LinkId line_;
  Endpoint from_;
};

class EngineBond final : public Bond, public Actor {
 public:
  EngineBond(EventQueue& events, const LineSpecs& a, const LineSpecs& b, std::uint64_t seed,
             const BondOptions& options, PacketSink& office, PacketSink& server)
      : events_(events) {
    make_end(0, options, seed, office);
    make_end(1, options, seed, server);
    const LineSpecs* specs[] = {&a, &b};
    for (std::size_t i = 0; i < 2; ++i) {
      const auto port = static_cast<std::uint16_t>(5080 + i);
      up_ends_[i] = std::make_unique<LineEnd>(*ends_[1], i, endpoint(i, false, 40000));
      down_ends_[i] = std::make_unique<LineEnd>(*ends_[0], i, endpoint(i, true, port));
      up_[i] = std::make_unique<Line>(events, specs[i]->up, seed * 8 + i, kUdpInEthernet, *up_ends_[i]);
      down_[i] =
          std::make_unique<Line>(events, specs[i]->down, seed * 8 + i + 4, kUdpInEthernet, *down_ends_[i]);
    }
    ends_[0]->connect(*up_[0], *up_[1]);
    ends_[1]->connect(*down_[0], *down_[1]);
    if (options.trace) events.post(events.now() + 100ms, *this);
  }
  PacketSink& from_office() override { return *ends_[0]; }
  PacketSink& from_server() override { return *ends_[1]; }
  std::uint32_t mtu() const override { return kInnerMtu; }
  void set_line(std::size_t index, const LineSpec& spec) override {
    up_[index]->queue().set_spec(spec);
    down_[index]->queue().set_spec(spec);
  }
  void cut_line(std::size_t index, bool cut) override {
    up_[index]->queue().set_cut(cut);
    down_[index]->queue().set_cut(cut);
  }
  void change_address(std::size_t index) override {
    Endpoint from = up_ends_[index]->from();
    ++from.port;
    up_ends_[index]->set_from(from);
  }
  void freeze(std::size_t end, Duration duration) override {
    engines_[end]->freeze(events_.now() + duration);
  }
  unsigned state_changes(std::size_t end) const override { return engines_[end]->state_changes(); }
  Line& line(std::size_t index, bool up) override { return up ? *up_[index] : *down_[index]; }
  std::uint64_t delivered_bytes(std::size_t end) const override { return engines_[end]->delivered_bytes(); }
  void begin_recordings(TimePoint now) override {
    for (const auto* lines : {&up_, &down_}) {
      for (const auto& line : *lines) line->queue().begin(now);
    }
  }
  mlvpn::Engine& engine(std::size_t end) override { return engines_[end]->engine(); }

  void on_event(TimePoint now, std::uint64_t) override {
    for (std::size_t end = 0; end < 2; ++end) {
      if (engines_[end] != nullptr) print(now, end);
    }
    events_.post(now + 100ms, *this);
  }

 private:
  void print(TimePoint now, std::size_t end) {
    const auto stats = engine(end).stats();
    std::fprintf(stderr, "%.2f %s queue %zu held %zu lost %lu late %lu dup %lu drop %lu |",
                 std::chrono::duration<double>(now.time_since_epoch()).count() - 3600, end == 0 ? "C" : "S",
                 stats.ingress_queued, stats.reorder_held, stats.holes_lost, stats.late, stats.duplicates,
                 stats.dropped_queue_full);
    for (const auto& v : engine(end).link_stats(now)) {
      std::fprintf(
          stderr, " %s %s %.1f rtt %.0f q %.1f loss %.2f rep %lu (%s) |", v.name.c_str(), to_string(v.state),
          static_cast<double>(v.capacity.value_or(Rate{}).bits_per_second) * 1e-6, v.rtt_ms.value_or(0),
          v.queue_ms.value_or(0), v.tx_loss_percent.value_or(0), v.repaired, v.explanation.c_str());
    }
    std::fprintf(stderr, "\n");
  }

  void make_end(std::size_t end, const BondOptions& options, std::uint64_t seed, PacketSink& host) {
    const Peer upstream = end == 0 ? Peer::kUpstreamOffice : Peer::kUpstreamServer;
    if (options.peer == upstream) {
      ends_[end] = std::make_unique<UpstreamEnd>(events_, end == 1, options.reorder, seed, host);
      return;
    }
    auto engine = std::make_unique<End>(events_, end == 1, options, seed, host);
    engines_[end] = engine.get();
    ends_[end] = std::move(engine);
  }

  EventQueue& events_;
  std::array<std::unique_ptr<BondEnd>, 2> ends_;  // the office's, the server's
  std::array<End*, 2> engines_{};                 // null where the original program is
  std::array<std::unique_ptr<Line>, 2> up_, down_;
  std::array<std::unique_ptr<LineEnd>, 2> up_ends_, down_ends_;
};

}  // namespace

PathFactory bond(const LineSpecs& a, const LineSpecs& b, std::uint64_t seed, const BondOptions& options) {
  return [=](EventQueue& events, PacketSink& office, PacketSink& server) {
    return std::make_unique<EngineBond>(events, a, b, seed, options, office, server);
  };
}

}  // namespace bondd::sim
