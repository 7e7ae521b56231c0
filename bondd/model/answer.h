// What is known of a question about the world: unknown is neither yes nor no.
#pragma once

#include <cstdint>

namespace bondd::model {

enum class Answer : std::uint8_t { kUnknown, kNo, kYes };

}  // namespace bondd::model
