#include "archive.h"

#include <algorithm>
#include <cstdint>

#include "checksum.h"
#include "engine.h"

namespace dp {
namespace {

constexpr size_t kEndSize = 22, kEntrySize = 46, kHeaderSize = 30;

template <class T>
T number(std::string_view bytes, uint64_t at) {
  if (at > bytes.size() || sizeof(T) > bytes.size() - at) throw Error("its table of contents is cut off");
  uint64_t value = 0;
  for (size_t i = sizeof(T); i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return static_cast<T>(value);
}

std::string_view slice(std::string_view bytes, uint64_t at, uint64_t size) {
  if (at > bytes.size() || size > bytes.size() - at) throw Error("a part of it is missing");
  return bytes.substr(at, size);
}

/// Where the record at the end of the archive begins; a comment of up to 65535 bytes may follow.
size_t find_end(std::string_view bytes) {
  if (bytes.size() < kEndSize) throw Error("it is no zip archive");
  const size_t last = bytes.size() - kEndSize;
  const size_t found = bytes.rfind("PK\5\6", last);
  if (found == std::string_view::npos || last - found > 65535) throw Error("it is no whole zip archive");
  return found;
}

struct Entry {
  std::string name;
  uint16_t method;
  uint32_t crc;
  std::string_view content;
};

Entry entry_at(std::string_view bytes, uint64_t& at) {
  if (slice(bytes, at, 4) != "PK\1\2") throw Error("its table of contents is changed");
  const uint32_t size = number<uint32_t>(bytes, at + 20), header = number<uint32_t>(bytes, at + 42);
  const uint16_t name = number<uint16_t>(bytes, at + 28);
  if (size == UINT32_MAX || header == UINT32_MAX) throw Error("it is larger than 4 GB, which no model is");
  const uint64_t begin =
      uint64_t{header} + kHeaderSize + number<uint16_t>(bytes, header + 26) + number<uint16_t>(bytes, header + 28);
  Entry entry = {std::string(slice(bytes, at + kEntrySize, name)), number<uint16_t>(bytes, at + 10),
                 number<uint32_t>(bytes, at + 16), slice(bytes, begin, size)};
  at += kEntrySize + name + number<uint16_t>(bytes, at + 30) + number<uint16_t>(bytes, at + 32);
  return entry;
}

}  // namespace

std::map<std::string, std::string> read_archive(std::string_view bytes, const std::vector<std::string>& names) {
  const size_t end = find_end(bytes);
  const uint16_t count = number<uint16_t>(bytes, end + 10);
  uint64_t at = number<uint32_t>(bytes, end + 16);
  std::map<std::string, std::string> found;
  uint64_t read = 0;
  for (int i = 0; i < count; ++i) {
    const Entry entry = entry_at(bytes, at);
    const std::string last = entry.name.substr(entry.name.rfind('/') + 1);
    const bool wanted = std::find(names.begin(), names.end(), last) != names.end();
    if (entry.method != 0) {
      if (wanted) throw Error(entry.name + " is compressed; only stored members are read");
      continue;
    }
    read += entry.content.size();
    if (read > bytes.size()) throw Error("its members overlap");
    if (crc32(entry.content) != entry.crc) throw Error(entry.name + " is changed or cut off");
    if (wanted) found[last] = std::string(entry.content);
  }
  return found;
}

}  // namespace dp
