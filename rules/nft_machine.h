// Runs the rules of one table over what is known of a packet. Only for this directory's .cc files.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

#include "rules/nft_ruleset.h"
#include "rules/nft_verdict.h"

namespace bondd::rules {

enum class Answer : std::uint8_t { kNo, kMaybe, kYes };

// What connection tracking has done with a packet when a chain sees it.
enum class Tracking : std::uint8_t {
  kNotYet,     // the packet has no connection: its state is "invalid", and it has no connection's mark
  kTracked,    // it has one
  kUntracked,  // NOTRACK: as kNotYet, but the state is "untracked"
  kUnknown,
};

// A packet as one base chain sees it.
struct SeenPacket {
  NftPacket packet;
  Tracking tracking = Tracking::kTracked;
  bool no_in = false, no_out = false;  // the kernel tells the chain no device: its name is empty
  std::optional<std::uint32_t> source_type, destination_type;  // RTN_LOCAL
};

struct Decision {
  enum class End : std::uint8_t {
    kAccepted,
    kRefused,
    kMayRefuse,  // refused, unless something that is not known lets it through before
    kThrough,    // no rule decides
    kUnknown,    // let through, or no rule decides
  };
  End end = End::kThrough;
  std::string deciding;  // the chain with the verdict
  // Of kAccepted by a rule that surely does NAT: what it does, and its place in that chain, from 1.
  std::optional<NftNat> nat = std::nullopt;
  std::size_t rule = 0;
};

class NftMachine {
 public:
  // Both borrowed.
  NftMachine(const NftTable& table, const SeenPacket& seen) : table_(table), seen_(seen) {}

  Decision run(const NftChain& chain) { return run(chain, 0); }
  // Whether a rule that was met takes the packet out of connection tracking.
  [[nodiscard]] Answer untracks() const { return untracks_; }

 private:
  struct Outcome {
    Answer match = Answer::kYes;
    std::optional<NftVerdict> verdict;
    bool untracks = false;
    bool unread = false;  // whether it matches depends on what is not read of the packet
  };
  using MaybeByte = std::optional<std::uint8_t>;
  using MaybeBytes = std::vector<MaybeByte>;

  Decision run(const NftChain& chain, int depth);
  Decision follow(const NftVerdict& verdict, const NftChain& chain, int depth);
  Outcome run(const NftRule& rule);

  [[nodiscard]] bool has_connection() const {
    return seen_.tracking == Tracking::kTracked || seen_.tracking == Tracking::kUnknown;
  }
  [[nodiscard]] std::optional<std::uint32_t> state() const;
  [[nodiscard]] MaybeBytes loaded(const NftLoad& load) const;
  [[nodiscard]] MaybeBytes get(std::uint32_t from, std::size_t size) const;
  void put(std::uint32_t to, const MaybeBytes& bytes);
  [[nodiscard]] std::optional<IpAddress> address_in(std::uint32_t from) const;

  Answer step(const NftVerdict& verdict, Outcome& outcome);
  Answer step(const NftLoad& load, Outcome& outcome);
  Answer step(const NftHarmless& harmless, Outcome& outcome);
  Answer step(const NftStates& wanted, Outcome& outcome);
  Answer step(const NftPorts& wanted, Outcome& outcome);
  Answer step(const NftAddressType& wanted, Outcome& outcome);
  Answer step(const NftNoTrack& no_track, Outcome& outcome);
  Answer step(const NftReversePath& match, Outcome& outcome);
  Answer step(const NftUnknown& unknown, Outcome& outcome);
  Answer step(const NftCompare& compare, Outcome& outcome);
  Answer step(const NftRange& range, Outcome& outcome);
  Answer step(const NftBitwise& bitwise, Outcome& outcome);
  Answer step(const NftLookup& lookup, Outcome& outcome);

  const NftTable& table_;
  const SeenPacket& seen_;
  MaybeBytes registers_;
  Answer untracks_ = Answer::kNo;
  bool reached_ = true;  // surely, the rule that runs
};

}  // namespace bondd::rules
