// A client and a server engine with two lines between them, byte by byte.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <map>

#include "tests/support/mlvpn_peer.h"

namespace bondd::mlvpn::test {

using namespace std::chrono_literals;

inline constexpr LinkId kBoth[2] = {0, 1};
inline const Endpoint kServers[2] = {endpoint("203.0.113.10", 1194), endpoint("203.0.113.10", 1196)};
inline const Endpoint kClients[2] = {endpoint("198.51.101.2", 40001), endpoint("198.51.102.2", 40002)};

// A client and a server engine; line i has a one-way delay and can be cut.
struct Pair {
  Rig client, server;
  Duration delay[2] = {10ms, 10ms};
  bool cut[2] = {false, false};
  bool mute[2] = {false, false};  // to the client
  IpAddress own{};                // of the client, where a socket tells to which one something came
  struct Flying {
    bool to_server;
    LinkId line, port;  // of the client, of the server
    Bytes bytes;
  };
  std::multimap<TimePoint, Flying> air;
  std::uint64_t sent_into_cut = 0;  // DATA
  // What somebody in the lines sees and may change: empty bytes are dropped.
  std::function<void(Flying&)> in_the_line = [](Flying&) {};

  static EngineConfig config_of(Role role, std::uint8_t seed, bool announce) {
    EngineConfig config = engine_config(role, seed);
    config.announce = announce;
    return config;
  }

  // Without `announce` both take the other for an upstream program.
  explicit Pair(LinkConfig a = {.name = "ovh"}, LinkConfig b = {.name = "orange"}, bool announce = true)
      : Pair(config_of(Role::kClient, 1, announce), config_of(Role::kServer, 2, announce), password_only(),
             password_only(), {a, b}) {}

  // Any two ends.
  Pair(const EngineConfig& a, const EngineConfig& b, Secrets of_client, Secrets of_server,
       std::array<LinkConfig, 2> configs = {LinkConfig{.name = "ovh"}, LinkConfig{.name = "orange"}})
      : client(a, std::move(of_client)), server(b, std::move(of_server)) {
    for (int i = 0; i < 2; ++i) {
      LinkConfig config = configs[static_cast<std::size_t>(i)];
      config.remote = kServers[i];
      EXPECT_EQ(client.engine->add_link(client.now, config), i);
      config.remote.reset();
      EXPECT_EQ(server.engine->add_link(server.now, config), i);
    }
  }

  void launch(Rig& from, bool to_server) {
    from.collect();
    std::array<bool, 2> unreachable{};
    for (Sent& s : from.sent) {
      if (to_server && !s.to.local.is_unspecified() && s.to.local != own) {
        unreachable[s.path] = true;  // sendmsg(2) from an address that the machine no longer has
        continue;
      }
      // The server's packets leave for the address that it knows, from their link's port.
      const LinkId port = to_server ? (s.to.port == kServers[0].port ? 0 : 1) : s.path;
      const LinkId line = to_server ? s.path : (s.to == kClients[0] ? 0 : 1);
      if (cut[line] || (mute[line] && !to_server)) {
        const auto p = decode(s.bytes);
        sent_into_cut += p && p->type == kData;
        continue;
      }
      Flying flying{to_server, line, port, s.bytes};
      in_the_line(flying);
      if (!flying.bytes.empty()) air.emplace(from.now + delay[line], std::move(flying));
    }
    from.sent.clear();
    for (const LinkId path : {LinkId{0}, LinkId{1}}) {
      if (unreachable[path]) from.engine->path_failed(from.now, path, "Network is unreachable");
    }
  }

  void run_for(Duration duration) {
    const TimePoint end = client.now + duration;
    for (;;) {
      launch(client, true);
      launch(server, false);
      TimePoint next = end;
      if (!air.empty()) next = std::min(next, air.begin()->first);
      for (Rig* rig : {&client, &server}) {
        if (const auto t = rig->engine->poll_timeout()) next = std::min(next, *t);
      }
      next = std::max(next, client.now);
      client.now = server.now = next;
      for (Rig* rig : {&client, &server}) {
        const auto t = rig->engine->poll_timeout();
        if (t && *t <= next) rig->engine->handle_timeout(next);
      }
      while (!air.empty() && air.begin()->first <= next) {
        const Flying f = air.begin()->second;
        air.erase(air.begin());
        if (f.to_server) {
          server.receive(f.port, kClients[f.line], f.bytes);
        } else {
          client.receive(f.line, {kServers[f.port].address, kServers[f.port].port, own}, f.bytes);
        }
      }
      if (next >= end) {
        launch(client, true);
        launch(server, false);
        break;
      }
    }
  }

  // `n` packets a millisecond apart, numbered from `first`; answered one to one
  // when `both`.
  void stream(Rig& from, int n, int first = 0, bool both = false) {
    for (int i = 0; i < n; ++i) {
      from.from_tun(text("p" + std::to_string(first + i)));
      if (both) (&from == &client ? server : client).from_tun(text("r"));
      run_for(1ms);
    }
  }

  // A hundred packets in each direction arrive.
  void expect_carried(const char* when) {
    for (Rig* from : {&client, &server}) {
      Rig& to = from == &client ? server : client;
      to.delivered.clear();
      stream(*from, 100);
      run_for(200ms);
      EXPECT_EQ(to.delivered.size(), 100U) << when;
    }
  }
};

}  // namespace bondd::mlvpn::test
