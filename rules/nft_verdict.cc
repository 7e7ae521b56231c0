#include "rules/nft_verdict.h"

#include <fmt/format.h>
#include <linux/in.h>
#include <linux/netfilter.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "rules/save_file.h"

namespace bondd::rules {
namespace {

using Kind = NftVerdict::Kind;
using MaybeByte = std::optional<std::uint8_t>;
using MaybeBytes = std::vector<MaybeByte>;

constexpr std::size_t kRegisterBytes = 64;           // NFT_REG32_15
constexpr std::size_t kDeviceNameSize = 16;          // IFNAMSIZ
constexpr int kDepth = 16;                           // NFT_JUMP_STACK_SIZE
constexpr std::uint32_t kNew = 8, kEstablished = 2;  // NF_CT_STATE_BIT

constexpr std::int32_t kAfterConntrack = -200, kAfterDestinationNat = -100,
                       kAfterSourceNat = 100;  // NF_IP_PRI_*

constexpr std::uint32_t kSeenConfirmed = 0x0e, kDestinationNat = 0x20;  // enum ip_conntrack_status

enum class Answer : std::uint8_t { kNo, kMaybe, kYes };

MaybeBytes unknown(std::size_t size) {
  return MaybeBytes(size);
}
template <typename Bytewise>
MaybeBytes known(const Bytewise& bytes) {
  return MaybeBytes(bytes.begin(), bytes.end());
}
MaybeBytes number(std::uint32_t value) {  // as the kernel has it in memory
  std::array<std::uint8_t, sizeof value> bytes{};
  std::memcpy(bytes.data(), &value, sizeof value);
  return known(bytes);
}
MaybeBytes name(const std::string& device) {
  if (device.empty()) return unknown(kDeviceNameSize);
  Bytes bytes(device.begin(), device.end());
  bytes.resize(kDeviceNameSize);
  return known(bytes);
}
void put_port(MaybeBytes& header, std::size_t at, const std::optional<std::uint16_t>& port) {
  if (!port) return;
  header[at] = static_cast<std::uint8_t>(*port >> 8);
  header[at + 1] = static_cast<std::uint8_t>(*port & 0xff);
}

// The bytes of an address that all of a network have.
void put_network(MaybeBytes& header, std::size_t at, const std::optional<IpPrefix>& network) {
  constexpr int kByte = 8;
  for (std::size_t i = 0; network && network->address.is_v4() && i < 4; ++i) {
    if (static_cast<int>(i + 1) * kByte <= network->length) header[at + i] = network->address.data()[i];
  }
}
MaybeBytes mark_bytes(std::uint32_t zero_bits) {
  constexpr std::uint8_t kWhole = 0xff;
  MaybeBytes bytes = number(zero_bits);
  for (MaybeByte& byte : bytes) byte = byte == kWhole ? MaybeByte{std::uint8_t{0}} : std::nullopt;
  return bytes;
}
MaybeBytes device_number(int device) {
  return device == 0 ? unknown(sizeof(std::uint32_t)) : number(static_cast<std::uint32_t>(device));
}

// The headers, as far as they are known.
MaybeBytes network_header(const NftPacket& packet) {
  MaybeBytes header = unknown(20);
  header[0] = std::uint8_t{0x45};
  header[9] = packet.protocol;
  const auto put = [&](std::size_t at, const std::optional<IpAddress>& address) {
    for (std::size_t i = 0; address && address->is_v4() && i < 4; ++i) header[at + i] = address->data()[i];
  };
  put_network(header, 12, packet.source_network);
  put_network(header, 16, packet.destination_network);
  put(12, packet.source);
  put(16, packet.destination);
  return header;
}
MaybeBytes transport_header(const NftPacket& packet) {
  MaybeBytes header = unknown(20);
  put_port(header, 0, packet.source_port);
  put_port(header, 2, packet.destination_port);
  constexpr std::size_t kFlags = 13;
  constexpr std::uint8_t kSyn = 0x02;
  if (packet.protocol == IPPROTO_TCP && !packet.answer) header[kFlags] = kSyn;  // a connection's first packet
  return header;
}

MaybeBytes slice(const MaybeBytes& header, std::size_t offset, std::size_t size) {
  MaybeBytes out = unknown(size);
  for (std::size_t i = 0; i < size && offset + i < header.size(); ++i) out[i] = header[offset + i];
  return out;
}

MaybeBytes loaded(const NftPacket& packet, bool before_conntrack, const NftLoad& load) {
  switch (load.what) {
    case NftLoad::What::kInputName:
      return name(packet.in);
    case NftLoad::What::kOutputName:
      return name(packet.out);
    case NftLoad::What::kNetworkProtocol:
      return {std::uint8_t{NFPROTO_IPV4}};
    case NftLoad::What::kTransportProtocol:
      return {packet.protocol};
    case NftLoad::What::kEtherType:
      return {std::uint8_t{0x08}, std::uint8_t{0x00}};
    case NftLoad::What::kConnectionState:
      if (before_conntrack) return unknown(sizeof(std::uint32_t));
      return number(packet.answer ? kEstablished : kNew);
    case NftLoad::What::kConnectionStatus:
      if (before_conntrack) return unknown(sizeof(std::uint32_t));
      return number((packet.answer ? kSeenConfirmed : 0) | (packet.translated ? kDestinationNat : 0));
    case NftLoad::What::kConnectionDirection:
      if (before_conntrack) return unknown(1);
      return {std::uint8_t{packet.answer}};
    case NftLoad::What::kInputIndex:
      return device_number(packet.in_index);
    case NftLoad::What::kOutputIndex:
      return device_number(packet.out_index);
    case NftLoad::What::kMark:
    case NftLoad::What::kConnectionMark:
      return mark_bytes(packet.zero_bits);
    case NftLoad::What::kReversePath:
      if (!packet.no_way_back) return unknown(kRegisterBytes);
      return MaybeBytes(kDeviceNameSize, std::uint8_t{0});
    case NftLoad::What::kNetworkHeader:
      return slice(network_header(packet), load.offset, load.size);
    case NftLoad::What::kTransportHeader:
      return slice(transport_header(packet), load.offset, load.size);
    case NftLoad::What::kOther:
      return unknown(kRegisterBytes);
  }
  return {};
}

// Equal, or surely not, or unknown.
Answer equal(const MaybeBytes& value, const Bytes& with) {
  Answer answer = Answer::kYes;
  for (std::size_t i = 0; i < with.size(); ++i) {
    if (!value[i]) {
      answer = Answer::kMaybe;
    } else if (*value[i] != with[i]) {
      return Answer::kNo;
    }
  }
  return answer;
}

// The least and the greatest value that it may be, if it may be all between these two.
struct Bounds {
  Bytes least, greatest;
};
std::optional<Bounds> bounds(const MaybeBytes& value) {
  constexpr std::uint8_t kGreatest = 0xff;
  Bounds out;
  bool open = false;
  for (const MaybeByte& byte : value) {
    if (byte && open) return std::nullopt;
    open = !byte;
    out.least.push_back(byte.value_or(std::uint8_t{0}));
    out.greatest.push_back(byte.value_or(kGreatest));
  }
  return out;
}
// Of a condition that is monotone: what holds for both ends holds for all between them.
Answer for_both(bool least, bool greatest) {
  return least != greatest ? Answer::kMaybe : least ? Answer::kYes : Answer::kNo;
}

Answer yes_if(bool condition) {
  return condition ? Answer::kYes : Answer::kNo;
}
Answer inverted(Answer answer) {
  return answer == Answer::kYes ? Answer::kNo : answer == Answer::kNo ? Answer::kYes : Answer::kMaybe;
}

// Runs the rules of one table over one packet.
class Machine {
 public:
  Machine(const NftTable& table, const NftPacket& packet, bool before_conntrack)
      : table_(table), packet_(packet), before_conntrack_(before_conntrack) {}

  enum class End : std::uint8_t { kAccepted, kRefused, kThrough, kUnknown };
  struct Decision {
    End end = End::kThrough;
    std::string deciding;
  };

  // NOLINTNEXTLINE(misc-no-recursion): bounded, as the kernel's
  Decision run(const NftChain& chain, int depth = 0) {
    if (depth > kDepth) return {End::kUnknown, {}};
    bool may_be_accepted = false;
    for (const NftRule& rule : chain.rules) {
      const Outcome outcome = run(rule);
      if (outcome.match == Answer::kNo || !outcome.verdict) continue;
      const bool sure = outcome.match == Answer::kYes;
      const Decision decision = follow(*outcome.verdict, chain, depth);
      switch (decision.end) {
        case End::kThrough:
          if (outcome.verdict->kind == Kind::kReturn || outcome.verdict->kind == Kind::kGoto) {
            if (sure) return {may_be_accepted ? End::kUnknown : End::kThrough, {}};
            may_be_accepted = true;  // what follows may not be reached
          }
          break;
        case End::kAccepted:
          if (sure) return decision;
          may_be_accepted = true;
          break;
        case End::kUnknown:
          may_be_accepted = true;
          break;
        case End::kRefused:
          if (sure) return may_be_accepted ? Decision{End::kUnknown, {}} : decision;
          break;
      }
    }
    return {may_be_accepted ? End::kUnknown : End::kThrough, {}};
  }

 private:
  struct Outcome {
    Answer match = Answer::kYes;
    std::optional<NftVerdict> verdict;
  };

  // NOLINTNEXTLINE(misc-no-recursion)
  Decision follow(const NftVerdict& verdict, const NftChain& chain, int depth) {
    switch (verdict.kind) {
      case Kind::kAccept:
        return {End::kAccepted, chain.name};
      case Kind::kDrop:
      case Kind::kReject:
        return {End::kRefused, chain.name};
      case Kind::kContinue:
      case Kind::kReturn:
        return {End::kThrough, {}};
      case Kind::kJump:
      case Kind::kGoto: {
        const NftChain* target = table_.chain(verdict.chain);
        return target == nullptr ? Decision{End::kUnknown, {}} : run(*target, depth + 1);
      }
      case Kind::kOther:
        return {End::kUnknown, {}};
    }
    return {End::kUnknown, {}};
  }

  Outcome run(const NftRule& rule) {
    registers_.assign(kRegisterBytes, std::nullopt);
    Outcome outcome;
    for (const NftExpression& expression : rule.expressions) {
      const Answer answer = std::visit([&](const auto& one) { return step(one, outcome); }, expression);
      outcome.match = std::min(outcome.match, answer);
      if (outcome.match == Answer::kNo || outcome.verdict) break;
    }
    return outcome;
  }

  // NFT_REG_1 to 4 have 16 bytes, NFT_REG32_00 (8) and on 4 bytes of the same.
  static std::size_t place(std::uint32_t number) {
    return number >= 8 ? (number - 8) * 4 : number == 0 ? 0 : (number - 1) * 16;
  }
  [[nodiscard]] MaybeBytes get(std::uint32_t from, std::size_t size) const {
    return slice(registers_, place(from), size);
  }
  void put(std::uint32_t to, const MaybeBytes& bytes) {
    for (std::size_t i = 0; i < bytes.size() && place(to) + i < registers_.size(); ++i)
      registers_[place(to) + i] = bytes[i];
  }

  Answer step(const NftVerdict& verdict, Outcome& outcome) {
    outcome.verdict = verdict;
    return Answer::kYes;
  }
  Answer step(const NftLoad& load, Outcome& /*outcome*/) {
    put(load.to, loaded(packet_, before_conntrack_, load));
    return Answer::kYes;
  }
  Answer step(const NftHarmless& harmless, Outcome& /*outcome*/) {
    if (harmless.to != 0) put(harmless.to, unknown(kRegisterBytes));
    return Answer::kYes;
  }
  Answer step(const NftStates& wanted, Outcome& /*outcome*/) {
    if (before_conntrack_) return Answer::kMaybe;
    const bool inside = (wanted.states & (packet_.answer ? kEstablished : kNew)) != 0;
    return yes_if(inside == wanted.inside);
  }
  Answer step(const NftReversePath& match, Outcome& /*outcome*/) {
    return packet_.no_way_back ? yes_if(match.inverted) : Answer::kMaybe;
  }
  Answer step(const NftUnknown& /*unknown*/, Outcome& /*outcome*/) { return Answer::kMaybe; }

  Answer step(const NftCompare& compare, Outcome& /*outcome*/) {
    const MaybeBytes value = get(compare.from, compare.with.size());
    if (compare.is == NftCompare::Is::kEqual) return equal(value, compare.with);
    if (compare.is == NftCompare::Is::kOther) return inverted(equal(value, compare.with));
    const auto ends = bounds(value);
    if (!ends) return Answer::kMaybe;
    const auto& [least, greatest] = *ends;
    switch (compare.is) {
      case NftCompare::Is::kLess:
        return for_both(least < compare.with, greatest < compare.with);
      case NftCompare::Is::kLessOrEqual:
        return for_both(least <= compare.with, greatest <= compare.with);
      case NftCompare::Is::kGreater:
        return for_both(least > compare.with, greatest > compare.with);
      case NftCompare::Is::kGreaterOrEqual:
        return for_both(least >= compare.with, greatest >= compare.with);
      case NftCompare::Is::kEqual:
      case NftCompare::Is::kOther:
        break;
    }
    return Answer::kMaybe;
  }

  Answer step(const NftRange& range, Outcome& /*outcome*/) {
    const auto ends = bounds(get(range.from, range.first.size()));
    if (!ends) return Answer::kMaybe;
    const Answer from = for_both(ends->least >= range.first, ends->greatest >= range.first);
    const Answer to = for_both(ends->least <= range.last, ends->greatest <= range.last);
    const Answer answer = std::min(from, to);
    return range.inside ? answer : inverted(answer);
  }

  Answer step(const NftBitwise& bitwise, Outcome& /*outcome*/) {
    MaybeBytes value = get(bitwise.from, bitwise.mask.size());
    for (std::size_t i = 0; i < value.size(); ++i) {
      if (bitwise.mask[i] == 0) value[i] = std::uint8_t{0};
      if (!value[i]) continue;
      const std::uint8_t toggle = i < bitwise.toggle.size() ? bitwise.toggle[i] : std::uint8_t{0};
      value[i] = static_cast<std::uint8_t>((*value[i] & bitwise.mask[i]) ^ toggle);
    }
    put(bitwise.to, value);
    return Answer::kYes;
  }

  Answer step(const NftLookup& lookup, Outcome& outcome) {
    const NftSet* set = table_.set(lookup.set);
    if (set == nullptr || !set->known) return maybe_any(lookup, outcome);
    const std::size_t size = set->elements.empty() ? 0 : set->elements.front().key.size();
    const MaybeBytes value = get(lookup.from, size);
    const NftSet::Element* found = nullptr;
    if (set->interval) {
      const auto ends = bounds(value);
      if (!ends) return maybe_any(lookup, outcome);
      found = last_up_to(*set, ends->least);
      if (found != last_up_to(*set, ends->greatest)) return maybe_any(lookup, outcome);
    } else {
      for (const NftSet::Element& element : set->elements) {
        const Answer answer = equal(value, element.key);
        if (answer == Answer::kMaybe) return maybe_any(lookup, outcome);
        if (answer == Answer::kYes) found = &element;
      }
    }
    const bool inside = found != nullptr && !found->end;
    if (lookup.verdict && inside) outcome.verdict = found->verdict;
    return yes_if(inside == lookup.inside);
  }

  // The element of an interval set that decides about a value.
  static const NftSet::Element* last_up_to(const NftSet& set, const Bytes& value) {
    const NftSet::Element* found = nullptr;
    for (const NftSet::Element& element : set.elements) {
      if (element.key <= value && (found == nullptr || element.key >= found->key)) found = &element;
    }
    return found;
  }

  static Answer maybe_any(const NftLookup& lookup, Outcome& outcome) {
    if (lookup.verdict) outcome.verdict = NftVerdict{Kind::kOther, ""};
    return Answer::kMaybe;
  }

  const NftTable& table_;
  const NftPacket& packet_;
  bool before_conntrack_;
  MaybeBytes registers_;
};

using Stage = NftRefusal::Stage;

// Where a base chain with this hook meets the packet; nothing: never.
std::optional<Stage> stage_of(NftPacket::Hook way, std::uint32_t hook) {
  const bool arrives = way != NftPacket::Hook::kOutput, leaves = way != NftPacket::Hook::kInput;
  if (hook == NF_INET_PRE_ROUTING) return arrives ? std::optional(Stage::kPrerouting) : std::nullopt;
  if (hook == NF_INET_POST_ROUTING) return leaves ? std::optional(Stage::kPostrouting) : std::nullopt;
  switch (way) {
    case NftPacket::Hook::kInput:
      return hook == NF_INET_LOCAL_IN ? std::optional(Stage::kMain) : std::nullopt;
    case NftPacket::Hook::kForward:
      return hook == NF_INET_FORWARD ? std::optional(Stage::kMain) : std::nullopt;
    case NftPacket::Hook::kOutput:
      return hook == NF_INET_LOCAL_OUT ? std::optional(Stage::kMain) : std::nullopt;
  }
  return std::nullopt;
}

// What is known of the packet there.
NftPacket at(const NftPacket& packet, Stage stage, std::int32_t priority) {
  NftPacket out = packet;
  switch (stage) {
    case Stage::kPrerouting:
      out.out.clear();
      out.out_index = 0;
      if (packet.translated && priority <= kAfterDestinationNat) {
        out.destination.reset();
        out.destination_network.reset();
        out.destination_port.reset();
        out.translated = false;
      }
      break;
    case Stage::kMain:
      break;
    case Stage::kPostrouting:
      out.in.clear();
      out.in_index = 0;
      if (priority >= kAfterSourceNat) {
        out.source.reset();
        out.source_network.reset();
        out.source_port.reset();
      }
      break;
  }
  return out;
}

std::string name_of(const NftTable& table) {
  return fmt::format("{} {}", table.family == NFPROTO_INET ? "inet" : "ip", table.name);
}

std::optional<NftRefusal> refusal(const NftTable& table, const NftChain& chain, const NftPacket& packet,
                                  std::uint32_t written) {
  if (!chain.hook || chain.hook->type == "nat") return std::nullopt;
  const auto stage = stage_of(packet.hook, chain.hook->number);
  if (!stage) return std::nullopt;
  const bool early = *stage == Stage::kPrerouting || packet.hook == NftPacket::Hook::kOutput;
  NftPacket there = at(packet, *stage, chain.hook->priority);
  there.zero_bits &= ~written;
  const auto decision = Machine(table, there, early && chain.hook->priority <= kAfterConntrack).run(chain);
  const bool policy = decision.end == Machine::End::kThrough && chain.hook->drops;
  if (decision.end != Machine::End::kRefused && !policy) return std::nullopt;
  return NftRefusal{name_of(table), chain.name, policy ? chain.name : decision.deciding, policy, *stage};
}

}  // namespace

std::vector<NftRefusal> refusals(const NftRuleset& ruleset, const NftPacket& packet) {
  std::vector<NftRefusal> out;
  const std::uint32_t written = written_mark_bits(ruleset);
  for (const NftTable& table : ruleset.tables) {
    if (table.dormant || (table.family != NFPROTO_IPV4 && table.family != NFPROTO_INET)) continue;
    for (const NftChain& chain : table.chains) {
      if (auto found = refusal(table, chain, packet, written)) out.push_back(std::move(*found));
    }
  }
  return out;
}

}  // namespace bondd::rules
