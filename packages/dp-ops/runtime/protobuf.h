// The fields of protobuf messages.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine.h"

namespace dp {

inline uint64_t protobuf_number(std::string_view message, size_t& at) {
  uint64_t value = 0;
  for (int k = 0; k < 10 && at < message.size(); ++k) {
    const auto byte = static_cast<unsigned char>(message[at++]);
    value |= static_cast<uint64_t>(byte & 127) << 7 * k;
    if (byte < 128) return value;
  }
  throw Error("the number at byte " + std::to_string(at) + " has no end");
}

/// Calls found(number, content) for each field of a message that has bytes. Raises Error for what is no message.
template <class Found>
void each_field(std::string_view message, const Found& found) {
  for (size_t at = 0; at < message.size();) {
    const uint64_t key = protobuf_number(message, at);
    uint64_t size = 0;
    switch (key & 7) {
      case 0: protobuf_number(message, at); continue;
      case 1: size = 8; break;
      case 2: size = protobuf_number(message, at); break;
      case 5: size = 4; break;
      default: throw Error("at byte " + std::to_string(at) + " is no field of a protobuf message");
    }
    if (size > message.size() - at) throw Error("it ends after " + std::to_string(message.size()) + " bytes, too early");
    if ((key & 7) == 2) found(key >> 3, message.substr(at, size));
    at += size;
  }
}

}  // namespace dp
