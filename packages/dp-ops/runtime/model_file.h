// Model files of all kinds: their document, and the record of what a frozen one can do.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine.h"

namespace dp {

/// Members of a frozen file, whatever its kind.
inline constexpr const char* kDocument = "model.dp";
inline constexpr const char* kRecord = "capabilities.json";

/// The ending of a path in small letters, with its dot: ".pth". Empty if there is none.
std::string suffix_of(const std::string& path);

/// The content of a file. Raises Error that names it.
std::string read_file(const std::string& path);

/// The bytes of a source, from the caller or from its file. Raises Error that names it.
std::string source_bytes(const Source& source);

/// Members of a frozen file: a zip archive, a folder, or a TensorFlow graph. Checksums are compared, nothing is executed.
/// Raises Error if it is damaged, or was not written by dp.
std::map<std::string, std::string> frozen_members(const Source& source, const std::vector<std::string>& names);

/// The record of a frozen file. Raises Error, which names `path`, if it is damaged or newer than this program.
Record parse_record(const std::string& text, const std::string& path);

/// Both of a frozen file: what most engines begin with.
struct FrozenFile {
  Record record;
  std::string document;
};
FrozenFile read_frozen(const Source& source);

}  // namespace dp
