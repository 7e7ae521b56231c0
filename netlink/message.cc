#include "netlink/message.h"

#include <cassert>

namespace bondd::netlink {

Message::Message(std::uint16_t type, std::uint16_t flags) {
  nlmsghdr* header = mnl_nlmsg_put_header(buffer_.data());
  header->nlmsg_type = type;
  header->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
}

void Message::put_bytes(std::uint16_t type, const void* data, std::size_t size) {
  [[maybe_unused]] const bool fits = mnl_attr_put_check(get(), buffer_.size(), type, size, data);
  assert(fits);
}

void Message::put_u8(std::uint16_t type, std::uint8_t value) {
  put_bytes(type, &value, sizeof(value));
}

void Message::put_u32(std::uint16_t type, std::uint32_t value) {
  put_bytes(type, &value, sizeof(value));
}

void Message::put_text(std::uint16_t type, std::string_view text) {
  put_bytes(type, text.data(), text.size());
}

void Message::put_name(std::uint16_t type, std::string_view name) {
  const std::string copy(name);
  put_bytes(type, copy.c_str(), copy.size() + 1);
}

void Message::put_address(std::uint16_t type, const IpAddress& address) {
  put_bytes(type, address.data(), address.size());
}

nlattr* Message::begin_nest(std::uint16_t type) {
  nlattr* const outer = mnl_attr_nest_start_check(get(), buffer_.size(), type);
  assert(outer != nullptr);
  return outer;
}

Attributes::Attributes(const nlmsghdr* message, std::size_t header_size) {
  const auto* begin =
      static_cast<const char*>(mnl_nlmsg_get_payload_offset(message, static_cast<std::size_t>(header_size)));
  const auto* end = static_cast<const char*>(mnl_nlmsg_get_payload_tail(message));
  if (begin < end) note(begin, static_cast<std::size_t>(end - begin));
}

Attributes::Attributes(const nlattr* nest) {
  if (nest != nullptr) note(mnl_attr_get_payload(nest), mnl_attr_get_payload_len(nest));
}

Attributes::Attributes(const void* data, std::size_t size) {
  note(data, size);
}

void Attributes::note(const void* data, std::size_t size) {
  for_each_attribute(data, size, [this](const nlattr* attribute) {
    const std::uint16_t type = mnl_attr_get_type(attribute);
    if (type < kTypes) found_[type] = attribute;
  });
}

std::string Attributes::text(std::uint16_t type) const {
  const nlattr* attribute = find(type);
  if (attribute == nullptr) return "";
  const std::string_view whole(static_cast<const char*>(mnl_attr_get_payload(attribute)),
                               mnl_attr_get_payload_len(attribute));
  return std::string(whole.substr(0, whole.find('\0')));
}

std::optional<IpAddress> Attributes::address(std::uint16_t type) const {
  const nlattr* attribute = find(type);
  if (attribute == nullptr) return std::nullopt;
  return address_from(mnl_attr_get_payload(attribute), mnl_attr_get_payload_len(attribute));
}

std::optional<IpAddress> address_from(const void* data, std::size_t size) {
  std::array<std::uint8_t, 4> v4{};
  std::array<std::uint8_t, 16> v6{};
  if (size == v4.size()) {
    std::memcpy(v4.data(), data, size);
    return IpAddress::v4(v4);
  }
  if (size == v6.size()) {
    std::memcpy(v6.data(), data, size);
    return IpAddress::v6(v6);
  }
  return std::nullopt;
}

}  // namespace bondd::netlink
