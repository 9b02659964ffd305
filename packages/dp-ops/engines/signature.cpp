#include "engines/signature.h"

#include <cstdint>
#include <string_view>

#include "runtime/protobuf.h"

namespace dp {
namespace {

/// The content of the last field of bytes with that number.
std::string_view field(std::string_view message, uint64_t number) {
  std::string_view last;
  each_field(message, [&](uint64_t k, std::string_view content) {
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
  each_field(meta_graph, [&](uint64_t number, std::string_view entry) {
    if (number != 5 || field(entry, 1) != name) return;
    each_field(field(entry, 2), [&](uint64_t kind, std::string_view tensor) {
      if (kind == 1) add_tensor(signature.inputs, tensor);
      if (kind == 2) add_tensor(signature.outputs, tensor);
    });
  });
  return signature;
}

}  // namespace dp
