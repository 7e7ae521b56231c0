// The Internet checksum (RFC 1071), fast enough to verify every packet that is
// coalesced: about 20 ns for 1400 bytes with AVX2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace bondd::mlvpn {

// Adds the 16-bit words of `data` to `sum`. The words are summed in the host's
// order, which the checksum allows: what folds out is stored as it is. An odd
// last byte counts as followed by 0. Partial sums may be added together when
// each part but the last has an even length.
std::uint64_t checksum_add(std::span<const std::uint8_t> data, std::uint64_t sum = 0);

// Folds to 16 bits, not complemented; to be stored with memcpy.
std::uint16_t checksum_fold(std::uint64_t sum);

// The pseudo-header's sum of TCP or UDP. `addresses` is source and destination
// as they stand in the IP header (8 or 32 bytes); `length` is of L4 header and data.
std::uint64_t pseudo_header_sum(std::span<const std::uint8_t> addresses, std::uint8_t protocol,
                                std::size_t length);

}  // namespace bondd::mlvpn
