// Building and reading rtnetlink messages with libmnl. Only for this directory's .cc files.
#pragma once

#include <libmnl/libmnl.h>
#include <linux/netlink.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "bondd/base/ip.h"

namespace bondd::netlink {

// One request: header, family header, attributes. Big enough for all that we send; putting
// more is a bug of ours and asserted.
class Message {
 public:
  Message(std::uint16_t type, std::uint16_t flags);
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;

  // The family header (ifinfomsg, rtmsg, …), zeroed. Call once, before any put().
  template <typename Header>
  Header& header() {
    return *static_cast<Header*>(mnl_nlmsg_put_extra_header(get(), sizeof(Header)));
  }

  void put_u8(std::uint16_t type, std::uint8_t value);
  void put_u32(std::uint16_t type, std::uint32_t value);
  void put_bytes(std::uint16_t type, const void* data, std::size_t size);
  void put_text(std::uint16_t type, std::string_view text);  // without a final 0
  void put_name(std::uint16_t type, std::string_view name);  // with a final 0
  void put_address(std::uint16_t type, const IpAddress& address);

  // Puts a nested attribute that `fill` fills.
  template <typename Fill>
  void nest(std::uint16_t type, Fill fill) {
    nlattr* const outer = begin_nest(type);
    fill();
    mnl_attr_nest_end(get(), outer);
  }

  nlmsghdr* get() { return reinterpret_cast<nlmsghdr*>(buffer_.data()); }

 private:
  nlattr* begin_nest(std::uint16_t type);

  alignas(nlmsghdr) std::array<char, 4096> buffer_{};
};

// Calls `visit` with each attribute in `size` bytes at `data`; stops at one that is cut off.
// (libmnl's own loops are macros that C++ does not take.)
template <typename Visit>
void for_each_attribute(const void* data, std::size_t size, Visit visit) {
  const auto* const end = static_cast<const char*>(data) + size;
  const auto* attribute = static_cast<const nlattr*>(data);
  while (mnl_attr_ok(attribute, static_cast<int>(end - reinterpret_cast<const char*>(attribute)))) {
    visit(attribute);
    attribute = mnl_attr_next(attribute);
  }
}

// The attributes of a message or of a nested attribute, by type. Points into the message.
class Attributes {
 public:
  // `header_size`: that of the family header before them.
  Attributes(const nlmsghdr* message, std::size_t header_size);
  explicit Attributes(const nlattr* nest);
  Attributes(const void* data, std::size_t size);

  [[nodiscard]] const nlattr* find(std::uint16_t type) const {
    return type < kTypes ? found_[type] : nullptr;
  }
  // Empty when it is missing or too short.
  [[nodiscard]] std::optional<std::uint8_t> u8(std::uint16_t type) const { return value<std::uint8_t>(type); }
  [[nodiscard]] std::optional<std::uint32_t> u32(std::uint16_t type) const {
    return value<std::uint32_t>(type);
  }
  [[nodiscard]] std::string text(std::uint16_t type) const;                  // "" when missing
  [[nodiscard]] std::optional<IpAddress> address(std::uint16_t type) const;  // by its length

  template <typename T>
  [[nodiscard]] std::optional<T> value(std::uint16_t type) const {
    const nlattr* attribute = find(type);
    if (attribute == nullptr || mnl_attr_get_payload_len(attribute) < sizeof(T)) return std::nullopt;
    T result;
    std::memcpy(&result, mnl_attr_get_payload(attribute), sizeof(T));
    return result;
  }

 private:
  static constexpr std::size_t kTypes = 128;  // the kernel's longest list, IFLA_*, has under 70

  void note(const void* data, std::size_t size);

  std::array<const nlattr*, kTypes> found_{};
};

std::optional<IpAddress> address_from(const void* data, std::size_t size);

}  // namespace bondd::netlink
