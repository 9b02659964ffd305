#include "engines/signature.h"

#include <cstdint>
#include <string_view>

#include "runtime/engine.h"

namespace dp {
namespace {

enum : int { NUMBER = 0, EIGHT_BYTES = 1, BYTES = 2, FOUR_BYTES = 5 };  // kinds of fields of protobuf messages

uint64_t read_number(std::string_view& rest) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64 && !rest.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(rest.front());
    rest.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 127) << shift;
    if (byte < 128) return value;
  }
  throw Error("A protobuf message ends inside a number.");
}

/// Calls `found(number, content)` for each field of bytes.
template <class Found>
void each_field(std::string_view rest, Found found) {
  while (!rest.empty()) {
    const uint64_t key = read_number(rest);
    uint64_t size = 0;
    switch (key & 7) {
      case NUMBER: read_number(rest); continue;
      case EIGHT_BYTES: size = 8; break;
      case FOUR_BYTES: size = 4; break;
      case BYTES: size = read_number(rest); break;
      default: throw Error("A protobuf message has a field of an unknown kind.");
    }
    if (size > rest.size()) throw Error("A protobuf message ends inside a field.");
    if ((key & 7) == BYTES) found(static_cast<int>(key >> 3), rest.substr(0, size));
    rest.remove_prefix(size);
  }
}

/// The content of the last field of bytes with that number.
std::string_view field(std::string_view message, int number) {
  std::string_view last;
  each_field(message, [&](int k, std::string_view content) {
    if (k == number) last = content;
  });
  return last;
}

/// An entry of a map from strings to TensorInfo.
void add_tensor(std::map<std::string, std::string>& names, std::string_view entry) {
  names[std::string(field(entry, 1))] = std::string(field(field(entry, 2), 1));
}

}  // namespace

Signature read_signature(const std::string& meta_graph, const std::string& name) {
  Signature signature;
  each_field(meta_graph, [&](int number, std::string_view entry) {
    if (number != 5 || field(entry, 1) != name) return;
    each_field(field(entry, 2), [&](int kind, std::string_view tensor) {
      if (kind == 1) add_tensor(signature.inputs, tensor);
      if (kind == 2) add_tensor(signature.outputs, tensor);
    });
  });
  return signature;
}

}  // namespace dp
