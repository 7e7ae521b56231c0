#include "rules/nft_machine.h"

#include <arpa/inet.h>
#include <linux/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>

#include <array>
#include <cstring>

namespace bondd::rules {
namespace {

using Kind = NftVerdict::Kind;
using MaybeByte = std::optional<std::uint8_t>;
using MaybeBytes = std::vector<MaybeByte>;
using End = Decision::End;

constexpr std::size_t kRegisterBytes = 64;   // NFT_REG32_15
constexpr std::size_t kDeviceNameSize = 16;  // IFNAMSIZ
constexpr int kDepth = 16;                   // NFT_JUMP_STACK_SIZE

constexpr std::uint32_t kNew = NF_CT_STATE_BIT(IP_CT_NEW), kEstablished = NF_CT_STATE_BIT(IP_CT_ESTABLISHED);
constexpr std::uint32_t kSeenConfirmed = IPS_SEEN_REPLY | IPS_ASSURED | IPS_CONFIRMED;

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
MaybeBytes maybe_number(const std::optional<std::uint32_t>& value) {
  return value ? number(*value) : unknown(sizeof(std::uint32_t));
}
MaybeBytes name(const std::string& device, bool none) {
  if (device.empty() && !none) return unknown(kDeviceNameSize);
  Bytes bytes(device.begin(), device.end());
  bytes.resize(kDeviceNameSize);
  return known(bytes);
}
MaybeBytes device_number(int device, bool none) {
  if (device == 0 && !none) return unknown(sizeof(std::uint32_t));
  return number(static_cast<std::uint32_t>(device));
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
Answer inverted_unless(bool inside, Answer answer) {
  return inside ? answer : inverted(answer);
}

Answer within(const MaybeBytes& value, const Bytes& first, const Bytes& last) {
  const auto ends = bounds(value);
  if (!ends) return Answer::kMaybe;
  return std::min(for_both(ends->least >= first, ends->greatest >= first),
                  for_both(ends->least <= last, ends->greatest <= last));
}

Answer among(const std::vector<NftPorts::Range>& ranges, const std::optional<std::uint16_t>& port) {
  if (!port) return Answer::kMaybe;
  return yes_if(std::any_of(ranges.begin(), ranges.end(), [&](const NftPorts::Range& range) {
    return range.first <= *port && *port <= range.last;
  }));
}

// The element of a set that decides about a value, if that can be told.
struct Found {
  Answer inside = Answer::kNo;
  const NftSet::Element* element = nullptr;
};

// The element of an interval set with the greatest key up to a value.
const NftSet::Element* last_up_to(const NftSet& set, const Bytes& value) {
  const NftSet::Element* found = nullptr;
  for (const NftSet::Element& element : set.elements) {
    if (element.key <= value && (found == nullptr || element.key >= found->key)) found = &element;
  }
  return found;
}

Found find_interval(const NftSet& set, const MaybeBytes& value) {
  const auto ends = bounds(value);
  if (!ends) return {Answer::kMaybe};
  const NftSet::Element* found = last_up_to(set, ends->least);
  if (found != last_up_to(set, ends->greatest)) return {Answer::kMaybe};
  return {yes_if(found != nullptr && !found->end), found};
}

// Each part of a concatenated key lies between the two of an element.
Answer within_all(const NftSet& set, const MaybeBytes& value, const NftSet::Element& element) {
  constexpr std::size_t kWord = 4;
  Answer answer = Answer::kYes;
  std::size_t at = 0;
  for (const std::uint8_t size : set.fields) {
    const auto part = [&](const Bytes& bytes) {
      const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(std::min(at, bytes.size()));
      return Bytes(begin, begin + static_cast<std::ptrdiff_t>(std::min<std::size_t>(
                                      size, static_cast<std::size_t>(bytes.end() - begin))));
    };
    answer = std::min(answer, within(slice(value, at, size), part(element.key), part(element.last)));
    at += (size + kWord - 1) / kWord * kWord;
  }
  return answer;
}

Found find_value(const NftSet& set, const MaybeBytes& value) {
  Found out;
  for (const NftSet::Element& element : set.elements) {
    const Answer answer = element.last.empty() ? equal(value, element.key) : within_all(set, value, element);
    if (answer == Answer::kYes) return {Answer::kYes, &element};
    if (answer == Answer::kMaybe) out.inside = Answer::kMaybe;
  }
  return out;
}

}  // namespace

std::optional<std::uint32_t> NftMachine::state() const {
  switch (seen_.tracking) {
    case Tracking::kNotYet:
      return std::uint32_t{NF_CT_STATE_INVALID_BIT};
    case Tracking::kTracked:
      return seen_.packet.answer ? kEstablished : kNew;
    case Tracking::kUntracked:
      return std::uint32_t{NF_CT_STATE_UNTRACKED_BIT};
    case Tracking::kUnknown:
      return std::nullopt;
  }
  return std::nullopt;
}

NftMachine::MaybeBytes NftMachine::loaded(const NftLoad& load) const {
  const NftPacket& packet = seen_.packet;
  const bool unsure = seen_.tracking == Tracking::kUnknown;
  switch (load.what) {
    case NftLoad::What::kInputName:
      return name(packet.in, seen_.no_in);
    case NftLoad::What::kOutputName:
      return name(packet.out, seen_.no_out);
    case NftLoad::What::kNetworkProtocol:
      return {std::uint8_t{NFPROTO_IPV4}};
    case NftLoad::What::kTransportProtocol:
      return {packet.protocol};
    case NftLoad::What::kEtherType:
      return {std::uint8_t{0x08}, std::uint8_t{0x00}};
    case NftLoad::What::kConnectionState:
      return maybe_number(state());
    case NftLoad::What::kConnectionStatus:
      if (unsure) return unknown(sizeof(std::uint32_t));
      return number((packet.answer ? kSeenConfirmed : 0) |
                    (packet.translated ? std::uint32_t{IPS_DST_NAT} : 0));
    case NftLoad::What::kConnectionDirection:
      if (unsure) return unknown(1);
      return {std::uint8_t{packet.answer}};
    case NftLoad::What::kInputIndex:
      return device_number(packet.in_index, seen_.no_in);
    case NftLoad::What::kOutputIndex:
      return device_number(packet.out_index, seen_.no_out);
    case NftLoad::What::kMark:
    case NftLoad::What::kConnectionMark:
      return mark_bytes(packet.zero_bits);
    case NftLoad::What::kReversePath:
      if (!packet.no_way_back) return unknown(kRegisterBytes);
      return MaybeBytes(kDeviceNameSize, std::uint8_t{0});
    case NftLoad::What::kDestinationType:
      return maybe_number(seen_.destination_type);
    case NftLoad::What::kNetworkHeader:
      return slice(network_header(packet), load.offset, load.size);
    case NftLoad::What::kTransportHeader:
      return slice(transport_header(packet), load.offset, load.size);
    case NftLoad::What::kUnread:
    case NftLoad::What::kOther:
      return unknown(kRegisterBytes);
  }
  return {};
}

// NOLINTNEXTLINE(misc-no-recursion): bounded, as the kernel's
Decision NftMachine::run(const NftChain& chain, int depth) {
  if (depth > kDepth) return {End::kUnknown, {}};
  bool may_accept = false, may_leave = false;  // some rule before, so that what follows may not be reached
  const bool reached_before = reached_;
  std::optional<Decision> perhaps;  // a drop of packets of a kind that is not read
  const auto ended = [&](Decision decision) {
    reached_ = reached_before;
    if (decision.end == End::kAccepted && may_leave) decision.end = End::kUnknown;
    if (decision.end == End::kThrough && may_accept) decision.end = End::kUnknown;
    if (decision.end == End::kRefused && (may_accept || may_leave)) decision.end = End::kMayRefuse;
    const bool by_policy = chain.hook && chain.hook->drops && decision.end == End::kThrough;
    if (perhaps && !by_policy && decision.end != End::kRefused && decision.end != End::kMayRefuse)
      return *perhaps;
    if (may_accept || may_leave) decision.nat.reset();
    return decision;
  };
  std::size_t number = 0;
  for (const NftRule& rule : chain.rules) {
    ++number;
    reached_ = reached_before && !may_accept && !may_leave;
    const Outcome outcome = run(rule);
    const bool sure = outcome.match == Answer::kYes;
    if (outcome.match == Answer::kNo) continue;
    if (outcome.untracks) untracks_ = std::max(untracks_, sure && reached_ ? Answer::kYes : Answer::kMaybe);
    if (!outcome.verdict) continue;
    reached_ = reached_ && sure;
    Decision decision = follow(*outcome.verdict, chain, depth);
    if (outcome.verdict->nat) decision.rule = number;
    const bool leaves = outcome.verdict->kind == Kind::kReturn || outcome.verdict->kind == Kind::kGoto;
    switch (decision.end) {
      case End::kThrough:
        if (leaves && sure) return ended(decision);
        may_leave = may_leave || leaves;
        break;
      case End::kAccepted:
      case End::kMayRefuse:
        if (sure) return ended(decision);
        may_accept = true;
        break;
      case End::kUnknown:
        if (leaves && sure) return ended(decision);
        may_accept = true;
        may_leave = may_leave || leaves;
        break;
      case End::kRefused:
        if (sure) return ended(decision);
        if (outcome.unread) perhaps = Decision{End::kMayRefuse, decision.deciding};
        break;
    }
  }
  return ended({});
}

// NOLINTNEXTLINE(misc-no-recursion)
Decision NftMachine::follow(const NftVerdict& verdict, const NftChain& chain, int depth) {
  switch (verdict.kind) {
    case Kind::kAccept:
      return {End::kAccepted, chain.name, verdict.nat};
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

NftMachine::Outcome NftMachine::run(const NftRule& rule) {
  registers_.assign(kRegisterBytes, std::nullopt);
  Outcome outcome;
  for (const NftExpression& expression : rule.expressions) {
    const Answer answer = std::visit([&](const auto& one) { return step(one, outcome); }, expression);
    outcome.match = std::min(outcome.match, answer);
    if (outcome.match == Answer::kNo || outcome.verdict) break;
  }
  if (outcome.verdict && outcome.verdict->nat && outcome.verdict->nat->from_register != 0)
    outcome.verdict->nat->to = address_in(outcome.verdict->nat->from_register);
  return outcome;
}

namespace {
// NFT_REG_1 to 4 have 16 bytes, NFT_REG32_00 (8) and on 4 bytes of the same.
std::size_t place(std::uint32_t number) {
  return number >= 8 ? (number - 8) * 4 : number == 0 ? 0 : (number - 1) * 16;
}
}  // namespace

NftMachine::MaybeBytes NftMachine::get(std::uint32_t from, std::size_t size) const {
  return slice(registers_, place(from), size);
}
void NftMachine::put(std::uint32_t to, const MaybeBytes& bytes) {
  constexpr std::size_t kWord = 4;  // the rest of one is zero
  for (std::size_t i = 0; i < (bytes.size() + kWord - 1) / kWord * kWord; ++i) {
    if (place(to) + i >= registers_.size()) return;
    registers_[place(to) + i] = i < bytes.size() ? bytes[i] : MaybeByte{std::uint8_t{0}};
  }
}

std::optional<IpAddress> NftMachine::address_in(std::uint32_t from) const {
  std::array<std::uint8_t, 4> bytes{};
  const MaybeBytes value = get(from, bytes.size());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (!value[i]) return std::nullopt;
    bytes.at(i) = *value[i];
  }
  return IpAddress::v4(bytes);
}

Answer NftMachine::step(const NftVerdict& verdict, Outcome& outcome) {
  outcome.verdict = verdict;
  return Answer::kYes;
}

// Without a connection a load of what belongs to one ends the rule, but for its state.
Answer NftMachine::step(const NftLoad& load, Outcome& outcome) {
  using What = NftLoad::What;
  const bool of_connection = load.what == What::kConnectionMark || load.what == What::kConnectionStatus ||
                             load.what == What::kConnectionDirection;
  if (of_connection && !has_connection()) return Answer::kNo;
  outcome.unread = outcome.unread || load.what == What::kUnread;
  put(load.to, loaded(load));
  return Answer::kYes;
}

Answer NftMachine::step(const NftHarmless& harmless, Outcome& /*outcome*/) {
  if (harmless.to != 0)
    put(harmless.to, harmless.value.empty() ? unknown(kRegisterBytes) : known(harmless.value));
  return Answer::kYes;
}

Answer NftMachine::step(const NftStates& wanted, Outcome& /*outcome*/) {
  const auto now = state();
  if (!now) return Answer::kMaybe;
  const bool translated = wanted.translated && seen_.packet.translated && has_connection();
  return yes_if((translated || (wanted.states & *now) != 0) == wanted.inside);
}

Answer NftMachine::step(const NftPorts& wanted, Outcome& /*outcome*/) {
  const Answer source = among(wanted.ranges, seen_.packet.source_port),
               destination = among(wanted.ranges, seen_.packet.destination_port);
  switch (wanted.of) {
    case NftPorts::Of::kSource:
      return inverted_unless(wanted.inside, source);
    case NftPorts::Of::kDestination:
      return inverted_unless(wanted.inside, destination);
    case NftPorts::Of::kEither:
      return inverted_unless(wanted.inside, std::max(source, destination));
  }
  return Answer::kMaybe;
}

Answer NftMachine::step(const NftAddressType& wanted, Outcome& /*outcome*/) {
  const auto& type = wanted.source ? seen_.source_type : seen_.destination_type;
  if (!type) return Answer::kMaybe;
  return yes_if(((wanted.types >> *type & 1U) != 0) == wanted.inside);
}

Answer NftMachine::step(const NftNoTrack& /*no_track*/, Outcome& outcome) {
  outcome.untracks = seen_.tracking == Tracking::kNotYet;
  return Answer::kYes;
}

Answer NftMachine::step(const NftReversePath& match, Outcome& /*outcome*/) {
  return seen_.packet.no_way_back ? yes_if(match.inverted) : Answer::kMaybe;
}

Answer NftMachine::step(const NftUnknown& unknown, Outcome& outcome) {
  outcome.unread = outcome.unread || unknown.unread;
  return Answer::kMaybe;
}

Answer NftMachine::step(const NftCompare& compare, Outcome& /*outcome*/) {
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

Answer NftMachine::step(const NftRange& range, Outcome& /*outcome*/) {
  return inverted_unless(range.inside, within(get(range.from, range.first.size()), range.first, range.last));
}

Answer NftMachine::step(const NftBitwise& bitwise, Outcome& /*outcome*/) {
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

Answer NftMachine::step(const NftLookup& lookup, Outcome& outcome) {
  const NftSet* set = table_.set(lookup.set);
  Found found{Answer::kMaybe};
  if (set != nullptr && set->known) {
    const std::size_t size = set->elements.empty() ? 0 : set->elements.front().key.size();
    const MaybeBytes value = get(lookup.from, size);
    found = set->interval && set->fields.empty() ? find_interval(*set, value) : find_value(*set, value);
  }
  if (found.inside == Answer::kMaybe) {
    if (lookup.verdict) outcome.verdict = NftVerdict{Kind::kOther, ""};
    return Answer::kMaybe;
  }
  const bool caught = found.inside == Answer::kNo && set->catches_all;
  if (lookup.verdict && found.inside == Answer::kYes) outcome.verdict = found.element->verdict;
  if (lookup.verdict && caught) outcome.verdict = set->catch_all;
  return yes_if((caught || found.inside == Answer::kYes) == lookup.inside);
}

}  // namespace bondd::rules
