// Two engines that agree on session keys, and who reads their memory.
#pragma once

#include "bondd/mlvpn/core/engine_impl.h"
#include "tests/support/engine_pair.h"

namespace bondd::mlvpn {

// What somebody finds in an engine's memory: each key of each session that it holds.
struct SessionInspector {
  static std::vector<SecretBox*> keys(Engine& engine) {
    std::vector<SecretBox*> found;
    for (const LinkId id : engine.impl_->ids) {
      SessionKeys& keys = engine.impl_->find(id)->keys_;
      if (keys.current_) found.insert(found.end(), {&keys.current_->opens, &keys.current_->seals});
      if (keys.former_) found.push_back(&keys.former_->opens);
      for (auto& offer : keys.offers_)
        found.insert(found.end(), {&offer.session.opens, &offer.session.seals});
    }
    return found;
  }
  static std::size_t offers(Engine& engine, LinkId link) {
    return engine.impl_->find(link)->keys_.offers_.size();
  }
};

namespace test {

struct SessionPair : Pair {
  SessionPair(const EngineConfig& client_config, const EngineConfig& server_config)
      : Pair(client_config, server_config, with_sessions(), with_sessions()) {}
  SessionPair() : SessionPair(engine_config(Role::kClient, 1), engine_config(Role::kServer, 2)) {}

  // The process of one end is another one.
  void restart(Role role, std::uint8_t seed, Secrets secrets = with_sessions(), bool announce = true) {
    EngineConfig config = engine_config(role, seed);
    config.announce = announce;
    restart(role, config, std::move(secrets));
  }
  void restart(Role role, const EngineConfig& config, Secrets secrets = with_sessions()) {
    Rig& rig = role == Role::kClient ? client : server;
    rig.engine = std::make_unique<Engine>(rig.now, config, std::move(secrets));
    for (const LinkId i : kBoth) {
      LinkConfig link{.name = i == 0 ? "ovh" : "orange"};
      if (role == Role::kClient) link.remote = kServers[i];
      rig.engine->add_link(rig.now, link);
    }
  }
  void expect_sessions(const char* when) {
    for (Rig* rig : {&client, &server}) {
      for (const LinkId link : kBoth) {
        EXPECT_EQ(rig->state(link), LinkState::kUp) << when;
        EXPECT_EQ(rig->stats(link).protection, Protection::kSession) << when;
        EXPECT_TRUE(rig->stats(link).peer_is_bondd) << when;
      }
    }
    expect_carried(when);
  }
};

}  // namespace test
}  // namespace bondd::mlvpn
