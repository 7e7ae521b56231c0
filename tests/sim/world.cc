#include "tests/sim/world.h"

#include <algorithm>

namespace bondd::sim {

using namespace std::chrono_literals;

void Host::receive(TimePoint now, Packet packet) {
  const auto address = parse_address(packet);
  if (!address) return;
  for (const auto& [flow, handler] : handlers_) {
    if (flow == address->flow) return handler(now, packet);
  }
}

void Host::on_flow(std::uint16_t flow, Handler handler) {
  handlers_.emplace_back(flow, std::move(handler));
}

namespace {

constexpr std::size_t kEthernet = 14;
constexpr std::uint16_t kPingFlow = 7, kGameFlow = 27015, kBulkFlow = 40000;

class SingleLine final : public Path {
 public:
  SingleLine(EventQueue& events, const LineSpecs& specs, std::uint64_t seed, PacketSink& office,
             PacketSink& server)
      : up_(events, specs.up, seed * 2 + 1, kEthernet, server),
        down_(events, specs.down, seed * 2 + 2, kEthernet, office) {}
  PacketSink& from_office() override { return up_; }
  PacketSink& from_server() override { return down_; }
  std::uint32_t mtu() const override { return 1500; }
  void begin_recordings(TimePoint now) override {
    up_.queue().begin(now);
    down_.queue().begin(now);
  }

 private:
  Line up_, down_;
};

class Alternating final : public PacketSink {
 public:
  Alternating(PacketSink& a, PacketSink& b) : a_(a), b_(b) {}
  void receive(TimePoint now, Packet packet) override {
    first_ = !first_;
    (first_ ? a_ : b_).receive(now, std::move(packet));
  }

 private:
  PacketSink& a_;
  PacketSink& b_;
  bool first_ = false;
};

class RoundRobin final : public Path {
 public:
  RoundRobin(EventQueue& events, const LineSpecs& a, const LineSpecs& b, std::uint64_t seed,
             PacketSink& office, PacketSink& server)
      : a_(events, a, seed * 4 + 1, office, server),
        b_(events, b, seed * 4 + 3, office, server),
        up_(a_.from_office(), b_.from_office()),
        down_(a_.from_server(), b_.from_server()) {}
  PacketSink& from_office() override { return up_; }
  PacketSink& from_server() override { return down_; }
  std::uint32_t mtu() const override { return 1500; }
  void begin_recordings(TimePoint now) override {
    a_.begin_recordings(now);
    b_.begin_recordings(now);
  }

 private:
  SingleLine a_, b_;
  Alternating up_, down_;
};

// A bulk flow of either kind, with what the outcome needs of it.
struct BulkFlow {
  std::unique_ptr<TcpSender> tcp_sender;
  std::unique_ptr<TcpReceiver> tcp_receiver;
  std::unique_ptr<QuicSender> quic_sender;
  std::unique_ptr<QuicReceiver> quic_receiver;

  std::uint64_t delivered() const {
    return tcp_receiver ? tcp_receiver->delivered() : quic_receiver->delivered();
  }
  std::uint64_t again() const { return tcp_sender ? tcp_sender->retransmissions() : quic_sender->lost(); }
};

BulkFlow make_bulk(EventQueue& events, const Experiment& experiment, std::uint16_t flow, Path& path,
                   Host& office, Host& server) {
  Address data{experiment.download, experiment.bulk == Bulk::kTcp ? Protocol::kTcp : Protocol::kUdp, flow};
  Address back = data;
  back.to_office = !data.to_office;
  PacketSink& out = experiment.download ? path.from_server() : path.from_office();
  PacketSink& in = experiment.download ? path.from_office() : path.from_server();
  Host& source = experiment.download ? server : office;
  Host& target = experiment.download ? office : server;
  BulkFlow bulk;
  if (experiment.bulk == Bulk::kTcp) {
    const TcpOptions options{.mss = path.mtu() - static_cast<std::uint32_t>(kTcpHeaders),
                             .window = experiment.tcp_window};
    bulk.tcp_sender = std::make_unique<TcpSender>(events, data, options, out);
    bulk.tcp_receiver = std::make_unique<TcpReceiver>(events, back, in);
    source.on_flow(flow, [s = bulk.tcp_sender.get()](TimePoint now, const Packet& p) { s->receive(now, p); });
    target.on_flow(flow,
                   [r = bulk.tcp_receiver.get()](TimePoint now, const Packet& p) { r->receive(now, p); });
  } else {
    bulk.quic_sender = std::make_unique<QuicSender>(events, data, path.mtu() - kUdpHeaders, 6 << 20, out);
    bulk.quic_receiver = std::make_unique<QuicReceiver>(events, back, in);
    source.on_flow(flow,
                   [s = bulk.quic_sender.get()](TimePoint now, const Packet& p) { s->receive(now, p); });
    target.on_flow(flow,
                   [r = bulk.quic_receiver.get()](TimePoint now, const Packet& p) { r->receive(now, p); });
  }
  return bulk;
}

}  // namespace

PathFactory single_line(const LineSpecs& specs, std::uint64_t seed) {
  return [=](EventQueue& events, PacketSink& office, PacketSink& server) {
    return std::make_unique<SingleLine>(events, specs, seed, office, server);
  };
}

PathFactory round_robin(const LineSpecs& a, const LineSpecs& b, std::uint64_t seed) {
  return [=](EventQueue& events, PacketSink& office, PacketSink& server) {
    return std::make_unique<RoundRobin>(events, a, b, seed, office, server);
  };
}

Outcome run(const Experiment& experiment, const PathFactory& factory) {
  EventQueue events;
  Host office, server;
  const auto path = factory(events, office, server);
  events.run_until(events.now() + experiment.idle);

  const TimePoint start = events.now() + experiment.light;
  const TimePoint from = start + experiment.warm_up;
  SmallStream ping(events, {false, Protocol::kUdp, kPingFlow}, experiment.ping_interval, 56,
                   path->from_office(), &path->from_server());
  SmallStream game(events, {true, Protocol::kUdp, kGameFlow}, 16667us, 90, path->from_server(), nullptr);
  for (Host* host : {&office, &server}) {
    host->on_flow(kPingFlow, [&](TimePoint now, const Packet& p) { ping.receive(now, p); });
    host->on_flow(kGameFlow, [&](TimePoint now, const Packet& p) { game.receive(now, p); });
  }
  ping.measure_from(from);
  game.measure_from(from);
  if (experiment.with_ping) ping.start(events.now());
  if (experiment.with_game) game.start(events.now());
  events.run_until(start);
  path->begin_recordings(start);

  std::vector<BulkFlow> flows;
  for (int i = 0; i < experiment.flows; ++i) {
    flows.push_back(
        make_bulk(events, experiment, static_cast<std::uint16_t>(kBulkFlow + i), *path, office, server));
    if (flows.back().tcp_sender) flows.back().tcp_sender->start(start);
    if (flows.back().quic_sender) flows.back().quic_sender->start(start);
  }
  if (experiment.plan) experiment.plan(events, *path);

  const auto delivered = [&] {
    std::uint64_t sum = 0;
    for (const BulkFlow& flow : flows) sum += flow.delivered();
    return sum;
  };
  Outcome outcome;
  std::uint64_t before = 0, at_start = 0, again = 0;
  for (Duration t{0}; t < experiment.warm_up + experiment.measured; t += 1s) {
    if (t == experiment.warm_up) {
      at_start = delivered();
      for (const BulkFlow& flow : flows) again += flow.again();
      if (!flows.empty() && flows[0].tcp_receiver) flows[0].tcp_receiver->watch_gaps(from);
    }
    outcome.per_second.push_back(0);
    for (const Duration half : {500ms, 1000ms}) {
      events.run_until(start + t + half);
      const double mbit = static_cast<double>(delivered() - before) * 8e-6;
      before = delivered();
      outcome.per_second.back() += mbit;
      outcome.per_half_second.push_back(mbit * 2);
      if (experiment.each_half_second) experiment.each_half_second(events.now(), *path);
    }
  }
  outcome.mbit = static_cast<double>(delivered() - at_start) * 8e-6 /
                 std::chrono::duration<double>(experiment.measured).count();
  for (const BulkFlow& flow : flows) {
    outcome.retransmissions += flow.again();
    if (flow.tcp_sender) outcome.timeouts += flow.tcp_sender->timeouts();
  }
  outcome.retransmissions -= again;
  if (!flows.empty() && flows[0].tcp_receiver) {
    outcome.longest_gap_ms =
        std::chrono::duration<double, std::milli>(flows[0].tcp_receiver->longest_gap()).count();
  }
  outcome.ping = ping.delays();
  outcome.game = game.delays();
  outcome.events = events.posted();
  return outcome;
}

}  // namespace bondd::sim
