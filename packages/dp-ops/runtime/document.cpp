#include "document.h"

#include "checksum.h"
#include "engine.h"
#include "hdf5.h"

namespace dp {
namespace {

constexpr int kMaxDepth = 64;          // more levels than any model has
constexpr int64_t kMaxItems = 4000000;  // networks for each pair of 118 types need about a million

/// Refuse text that would fill memory or stack when parsed.
void check_size(const std::string& text) {
  int depth = 0;
  int64_t items = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
      continue;
    }
    if (c == '"') quoted = true;
    if (c == '[' || c == '{') {
      if (++depth > kMaxDepth) {
        throw Error("its text is nested deeper than " + std::to_string(kMaxDepth) + " levels");
      }
    }
    if (c == ']' || c == '}') --depth;
    items += c == ',' || c == '[' || c == '{';
  }
  if (items > kMaxItems) throw Error("its text holds more than " + std::to_string(kMaxItems) + " items");
}

/// Read the arrays that are named below "@variables".
void read_arrays(const Json& node, bool inside, Hdf5& file, std::map<std::string, Array>& arrays) {
  if (node.is_object()) {
    for (const auto& [key, value] : node.items()) read_arrays(value, inside || key == "@variables", file, arrays);
  } else if (node.is_array()) {
    for (const Json& value : node) read_arrays(value, inside, file, arrays);
  } else if (inside && !node.is_null()) {
    if (!node.is_string()) throw Error("'@variables' holds " + node.dump() + " where the path of a dataset is expected");
    const std::string path = node.get<std::string>();
    if (!arrays.count(path)) arrays[path] = file.dataset(path);
  }
}

/// Refuse what changed since it was written: behind the end of the file is the checksum of all until there. Files of other
/// programs have nothing there. A changed end is told by the checksum, which is at the very end of the bytes.
void check_seal(std::string_view bytes, uint64_t end) {
  constexpr std::string_view beginning = "dp sha256 ";
  constexpr size_t length = beginning.size() + 64;
  const bool sealed = bytes.size() >= length && bytes.substr(bytes.size() - length, beginning.size()) == beginning;
  if (end == bytes.size() && !sealed) return;
  if (bytes.substr(end) != std::string(beginning) + sha256_hex(bytes.substr(0, end))) {
    throw Error("it is damaged: what follows its " + std::to_string(end) + " bytes is not their checksum");
  }
}

}  // namespace

const Array& Document::array(const Json& place) const {
  const auto found = place.is_string() ? arrays.find(place.get<std::string>()) : arrays.end();
  if (found == arrays.end()) throw Error("an array of the model is missing; the file is damaged");
  return found->second;
}

Document read_document(const std::string& bytes) {
  Hdf5 file(bytes);
  check_seal(bytes, file.end());
  const std::string text = file.attribute("json");
  check_size(text);
  Document document;
  try {
    document.tree = Json::parse(text);
  } catch (const Json::parse_error& error) {
    throw Error("its text is not JSON from character " + std::to_string(error.byte) + " on");
  }
  if (!document.tree.is_object()) throw Error("its text is not a JSON object");
  read_arrays(document.tree, false, file, document.arrays);
  return document;
}

}  // namespace dp
