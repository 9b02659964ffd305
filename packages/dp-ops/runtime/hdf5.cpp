#include "hdf5.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "engine.h"

namespace dp {
namespace {

constexpr uint64_t kUndefined = std::numeric_limits<uint64_t>::max();
constexpr size_t kMaxName = 255;
constexpr std::string_view kSignature("\x89HDF\r\n\x1a\n", 8);
constexpr const char* kDamaged = "it is damaged";
// Header messages
enum { kDataspace = 1, kDatatype = 3, kExternal = 7, kLayout = 8, kFilters = 11, kAttribute = 12, kContinuation = 16,
       kSymbolTable = 17 };
// Classes of datatypes
enum { kInteger = 0, kFloat = 1, kOpaque = 5, kEnum = 8, kVariableLength = 9 };

[[noreturn]] void other_layout(const std::string& what) {
  throw Error("it uses an HDF5 file layout (" + what +
              ") that .dp files do not have; write it again with the default settings of HDF5 (no libver='latest', no "
              "creation order, no dense storage)");
}

std::string_view slice(std::string_view view, uint64_t offset, uint64_t size) {
  if (offset > view.size() || size > view.size() - offset) throw Error(kDamaged);
  return view.substr(offset, size);
}

/// A little-endian number.
template <class T>
T number(std::string_view view, uint64_t offset) {
  const std::string_view bytes = slice(view, offset, sizeof(T));
  uint64_t value = 0;
  for (size_t i = sizeof(T); i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return static_cast<T>(value);
}

uint8_t byte(std::string_view view, uint64_t offset) { return number<uint8_t>(view, offset); }

uint64_t round8(uint64_t size) { return (size + 7) / 8 * 8; }

/// The name of a member of a group. Raises Error where it does not end.
std::string name_at(std::string_view names, uint64_t offset) {
  if (offset > names.size()) throw Error(kDamaged);
  const std::string_view name = names.substr(offset, kMaxName + 1);
  const size_t end = name.find('\0');
  if (end == std::string_view::npos) throw Error(kDamaged);
  return std::string(name.substr(0, end));
}

struct Attribute {
  std::string_view name, datatype, dataspace, value;
};

Attribute split_attribute(std::string_view body) {
  const uint8_t version = byte(body, 0), flags = byte(body, 1);
  if (version < 1 || version > 3 || (version > 1 && flags != 0)) other_layout("a new kind of attribute");
  uint64_t at = version == 3 ? 9 : 8;
  std::string_view parts[3];
  for (int i = 0; i < 3; ++i) {
    const uint16_t size = number<uint16_t>(body, 2 + 2 * i);
    parts[i] = slice(body, at, size);
    at += version == 1 ? round8(size) : size;
  }
  if (at > body.size()) throw Error(kDamaged);
  std::string_view name = parts[0];
  while (!name.empty() && name.back() == '\0') name.remove_suffix(1);
  return {name, parts[1], parts[2], body.substr(at)};
}

std::vector<int64_t> shape_of(std::string_view dataspace) {
  const uint8_t version = byte(dataspace, 0), rank = byte(dataspace, 1), kind = byte(dataspace, 3);
  if (version < 1 || version > 2 || (version == 2 && kind == 2)) throw Error("it has no values");
  if (rank > 32) throw Error("it has " + std::to_string(rank) + " dimensions; at most 32 are possible");
  std::vector<int64_t> shape;
  for (int i = 0; i < rank; ++i) {
    const uint64_t size = number<uint64_t>(dataspace, (version == 1 ? 8 : 4) + 8 * i);
    if (size > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) throw Error("its shape is impossible");
    shape.push_back(static_cast<int64_t>(size));
  }
  return shape;
}

struct Type {
  std::string name;
  size_t size;
  bool big = false;  // most significant byte first
};

bool is_boolean(std::string_view members) {
  if (members.size() < 12) return false;
  const std::string_view rest = members.substr(12);
  using namespace std::literals;
  const std::string_view padded = "FALSE\0\0\0TRUE\0\0\0\0\0\1"sv, plain = "FALSE\0TRUE\0\0\1"sv;
  return rest.substr(0, padded.size()) == padded || rest.substr(0, plain.size()) == plain;
}

/// (bit offset, precision, exponent position and size, mantissa position and size, bias) -> the name of a float.
std::string float_name(std::string_view b) {
  struct Layout {
    unsigned precision, exponent_at, exponent, mantissa, bias;
    const char* name;
  };
  constexpr Layout known[] = {{16, 10, 5, 10, 15, "float16"},
                              {16, 7, 8, 7, 127, "bfloat16"},
                              {32, 23, 8, 23, 127, "float32"},
                              {64, 52, 11, 52, 1023, "float64"}};
  if (number<uint16_t>(b, 8) != 0 || byte(b, 14) != 0) return "";
  for (const Layout& k : known) {
    if (number<uint16_t>(b, 10) == k.precision && byte(b, 12) == k.exponent_at && byte(b, 13) == k.exponent &&
        byte(b, 15) == k.mantissa && number<uint32_t>(b, 16) == k.bias) {
      return k.name;
    }
  }
  return "";
}

Type type_of(std::string_view body) {
  const uint8_t kind = byte(body, 0) & 15, flags = byte(body, 1), sign = byte(body, 2);
  const uint32_t size = number<uint32_t>(body, 4);
  const bool big = flags & 1;
  if (kind == kInteger && (size == 1 || size == 2 || size == 4 || size == 8) && number<uint16_t>(body, 8) == 0 &&
      number<uint16_t>(body, 10) == 8 * size) {
    return {(flags & 8 ? "int" : "uint") + std::to_string(8 * size), size, big};
  }
  if (kind == kFloat && !(flags & 64) && sign == 8 * size - 1) {
    const std::string name = float_name(body);
    if (!name.empty()) return {name, size, big};
  }
  if (kind == kOpaque && size > 0 && size < (1u << 31)) return {size == 2 ? "bfloat16" : "opaque", size};
  if (kind == kEnum && size == 1 && is_boolean(body.substr(8))) return {"bool", 1};
  throw Error(
      "its datatype is not one of bool, int8 to int64, uint8 to uint64, float16, bfloat16, float32, float64, opaque");
}

double from_half(uint16_t bits) {
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  const double sign = bits >> 15 ? -1.0 : 1.0;
  if (exponent == 31) return sign * (mantissa ? NAN : INFINITY);
  return sign * (exponent ? std::ldexp(1024 + mantissa, exponent - 25) : std::ldexp(mantissa, -24));
}

template <class To, class From>
double reinterpreted(From bits) {
  To value;
  static_assert(sizeof(To) == sizeof(From));
  std::memcpy(&value, &bits, sizeof(To));
  return static_cast<double>(value);
}

double value_of(const Type& type, uint64_t bits) {
  if (type.name == "float64") return reinterpreted<double>(bits);
  if (type.name == "float32") return reinterpreted<float>(static_cast<uint32_t>(bits));
  if (type.name == "bfloat16") return reinterpreted<float>(static_cast<uint32_t>(bits << 16));
  if (type.name == "float16") return from_half(static_cast<uint16_t>(bits));
  if (type.name == "bool") return bits != 0;
  if (type.name[0] == 'u') return static_cast<double>(bits);
  const unsigned unused = 64 - 8 * type.size;
  return static_cast<double>(static_cast<int64_t>(bits << unused) >> unused);
}

/// Where the numbers of a dataset are: in the file, or in the message itself.
std::string_view storage(std::string_view data, std::string_view layout, uint64_t size) {
  const uint8_t version = byte(layout, 0), kind = byte(layout, 1);
  if (version < 3 || version > 4 || kind > 1) {
    throw Error("it is chunked or virtual; only contiguous storage is read");
  }
  if (size == 0) return {};
  if (kind == 0) return slice(slice(layout, 4, number<uint16_t>(layout, 2)), 0, size);
  const uint64_t address = number<uint64_t>(layout, 2), stored = number<uint64_t>(layout, 10);
  if (address == kUndefined) throw Error("it has no data");
  if (stored != size) {
    throw Error(std::to_string(stored) + " bytes are stored where its shape needs " + std::to_string(size));
  }
  return slice(data, address, size);
}

}  // namespace

bool Hdf5::is(std::string_view data) { return data.substr(0, kSignature.size()) == kSignature; }

Hdf5::Hdf5(std::string_view data) : data_(data), budget_(2 * static_cast<uint64_t>(data.size())) {
  if (!is(data)) throw Error(data.empty() ? "it is empty" : "it is not an HDF5 file");
  const uint8_t version = byte(data, 8);
  if (version > 1) other_layout("superblock " + std::to_string(version));
  if (byte(data, 13) != 8 || byte(data, 14) != 8) other_layout("addresses that are not 8 bytes");
  const uint64_t at = version == 0 ? 24 : 28;
  if (number<uint64_t>(data, at) != 0) other_layout("a user block");
  const uint64_t root = number<uint64_t>(data, at + 40);
  end_ = number<uint64_t>(data, at + 16);
  if (end_ > data.size()) {
    throw Error("it is cut off: " + std::to_string(end_) + " bytes were written, " + std::to_string(data.size()) +
                " are left");
  }
  root_ = messages(root);
  read_group();
}

void Hdf5::spend(uint64_t size) {
  if (size > budget_) throw Error("its structures overlap or run in a circle");
  budget_ -= size;
}

std::vector<Hdf5::Message> Hdf5::messages(uint64_t address) {
  const uint8_t version = byte(data_, address);
  if (version != 1) {
    if (version == 'O') other_layout("a new kind of object header");
    throw Error(kDamaged);
  }
  const uint16_t count = number<uint16_t>(data_, address + 2);
  std::vector<std::string_view> blocks = {slice(data_, address + 16, number<uint32_t>(data_, address + 8))};
  std::vector<Message> found;
  while (!blocks.empty()) {
    const std::string_view block = blocks.back();
    blocks.pop_back();
    for (uint64_t at = 0; at + 8 <= block.size() && found.size() < count;) {
      const uint16_t kind = number<uint16_t>(block, at), length = number<uint16_t>(block, at + 2);
      spend(8 + length);
      const std::string_view body = slice(block, at + 8, length);
      found.push_back({kind, (byte(block, at + 4) & 2) != 0, body});
      if (kind == kContinuation) blocks.push_back(slice(data_, number<uint64_t>(body, 0), number<uint64_t>(body, 8)));
      at += 8 + length;
    }
  }
  return found;
}

void Hdf5::read_group() {
  const Message* table = nullptr;
  for (const Message& m : root_) {
    if (m.kind == kSymbolTable && !m.shared && !table) table = &m;
  }
  if (!table) other_layout("a root group without symbol table");
  const uint64_t heap = number<uint64_t>(table->body, 8);
  if (slice(data_, heap, 4) != "HEAP") throw Error(kDamaged);
  const std::string_view names =
      slice(data_, number<uint64_t>(data_, heap + 24), number<uint64_t>(data_, heap + 8));
  std::vector<uint64_t> nodes = {number<uint64_t>(table->body, 0)};
  while (!nodes.empty()) {
    const uint64_t node = nodes.back();
    nodes.pop_back();
    const std::string_view signature = slice(data_, node, 4);
    const uint8_t kind = byte(data_, node + 4);
    const uint16_t used = number<uint16_t>(data_, node + 6);
    spend(8 + 16 * static_cast<uint64_t>(used));
    if (signature == "TREE" && kind == 0) {
      for (uint64_t i = 0; i < used; ++i) nodes.push_back(number<uint64_t>(data_, node + 32 + 16 * i));
    } else if (signature == "SNOD") {
      for (uint64_t i = 0; i < used; ++i) {
        const uint64_t entry = node + 8 + 40 * i;
        const std::string name = name_at(names, number<uint64_t>(data_, entry));
        if (number<uint32_t>(data_, entry + 16) == 2) {
          members_[name] = std::nullopt;
        } else {
          members_[name] = number<uint64_t>(data_, entry + 8);
        }
      }
    } else {
      throw Error(kDamaged);
    }
  }
}

std::string Hdf5::attribute(const std::string& name) {
  for (const Message& m : root_) {
    if (m.kind != kAttribute || m.shared) continue;
    const Attribute a = split_attribute(m.body);
    if (a.name == name) return text(name, a.datatype, a.dataspace, a.value);
  }
  throw Error("its root group has no attribute '" + name + "', so it is not a model file");
}

std::string Hdf5::text(const std::string& name, std::string_view datatype, std::string_view dataspace,
                       std::string_view value) {
  if ((byte(datatype, 0) & 15) != kVariableLength || (byte(datatype, 1) & 15) != 1 || !shape_of(dataspace).empty()) {
    throw Error("its attribute '" + name + "' is not one variable-length string");
  }
  const uint32_t length = number<uint32_t>(value, 0), wanted = number<uint32_t>(value, 12);
  const uint64_t address = number<uint64_t>(value, 4);
  if (slice(data_, address, 4) != "GCOL") throw Error(kDamaged);
  const std::string_view heap = slice(data_, address, number<uint64_t>(data_, address + 8));
  for (uint64_t at = 16; at < heap.size() && heap.size() - at >= 16;) {
    const uint16_t index = number<uint16_t>(heap, at);
    const uint64_t size = number<uint64_t>(heap, at + 8);
    spend(16);
    if (index == wanted && index != 0) {
      spend(length);
      std::string_view found = slice(heap, at + 16, std::min<uint64_t>(length, size));
      while (!found.empty() && found.back() == '\0') found.remove_suffix(1);
      return std::string(found);
    }
    if (size > heap.size()) throw Error(kDamaged);
    at += 16 + round8(size);
  }
  throw Error(kDamaged);
}

Array Hdf5::dataset(const std::string& path) {
  const auto found = path.empty() || path[0] != '/' ? members_.end() : members_.find(path.substr(1));
  if (found == members_.end()) {
    throw Error("its text refers to the dataset '" + path.substr(0, 80) + "', which is not in the file");
  }
  try {
    if (!found->second) throw Error("it is a symbolic link; links are not followed");
    return array(*found->second);
  } catch (const Error& error) {
    throw Error("dataset '" + path + "': " + error.what());
  }
}

Array Hdf5::array(uint64_t header) {
  std::map<int, std::string_view> parts;
  for (const Message& m : messages(header)) {
    if (m.kind == kExternal) throw Error("it is kept in another file; only contiguous plain storage is read");
    if (m.kind == kFilters) throw Error("it is compressed; only contiguous plain storage is read");
    if (m.kind != kDataspace && m.kind != kDatatype && m.kind != kLayout) continue;
    if (m.shared) throw Error("it has a named datatype; only plain types are read");
    parts[m.kind] = m.body;
  }
  if (parts.size() != 3) throw Error("it is not a dataset");
  Array out;
  out.shape = shape_of(parts[kDataspace]);
  const Type type = type_of(parts[kDatatype]);
  out.dtype = type.name;
  uint64_t count = 1;
  for (const int64_t size : out.shape) {
    const uint64_t most = budget_ + 1;  // more cannot be paid; a product of this size does not overflow
    if (size != 0 && count > most / static_cast<uint64_t>(size)) throw Error("its shape is impossible");
    count *= static_cast<uint64_t>(size);
  }
  if (count > budget_ / type.size) throw Error("its structures overlap or run in a circle");
  const uint64_t size = count * type.size;
  spend(size);
  const std::string_view raw = storage(data_, parts[kLayout], size);
  if (type.name == "opaque") return out;  // bytes of another program: nothing that is a number
  out.values.resize(count);
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t bits = 0;
    for (size_t b = 0; b < type.size; ++b) {
      const size_t place = type.big ? b : type.size - 1 - b;
      bits = bits << 8 | static_cast<unsigned char>(raw[i * type.size + place]);
    }
    out.values[i] = value_of(type, bits);
  }
  return out;
}

}  // namespace dp
