// A reader of the part of HDF5 that `.dp` files use, safe on hostile bytes: superblock 0 or 1, a symbol-table root group,
// scalar variable-length string attributes, and contiguous datasets of plain numbers. Anything else is refused by name.
//
// Every structure and every array read is paid from a budget of twice the size of the data, which an honest file needs
// less than half of; loops and overlapping structures run out of it. So time and memory are linear in the size.
//
// Layout: the HDF5 File Format Specification, version 3.0 (The HDF Group).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "array.h"

namespace dp {

/// Attributes and datasets of the root group of an HDF5 file in memory, which must outlive the reader.
///
/// All functions raise Error, without the name of the file, for bytes that are damaged or out of the subset.
class Hdf5 {
 public:
  explicit Hdf5(std::string_view data);

  /// Whether the bytes begin as those of an HDF5 file.
  static bool is(std::string_view data);

  /// Where the file ends; what follows is of no meaning in HDF5.
  uint64_t end() const { return end_; }

  /// The text of a scalar variable-length string attribute of the root group.
  std::string attribute(const std::string& name);

  /// The array at an absolute path. Brain floats, which are opaque pairs of bytes, become numbers.
  Array dataset(const std::string& path);

 private:
  struct Message {
    uint16_t kind;
    bool shared;
    std::string_view body;
  };

  void spend(uint64_t size);
  std::vector<Message> messages(uint64_t address);
  void read_group();
  std::string text(const std::string& name, std::string_view datatype, std::string_view dataspace,
                   std::string_view value);
  Array array(uint64_t header);

  std::string_view data_;
  uint64_t budget_, end_ = 0;
  std::vector<Message> root_;
  std::map<std::string, std::optional<uint64_t>> members_;  // address of the header; none for a symbolic link
};

}  // namespace dp
