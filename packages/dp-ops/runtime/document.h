// The document of a model: what a `.dp` file holds.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "array.h"

namespace dp {

using Json = nlohmann::json;

/// A tree of settings, with arrays below keys named "@variables".
///
/// Such an array stands in the tree as the text that `arrays` knows it by, or as null if there is none.
struct Document {
  Json tree;
  std::map<std::string, Array> arrays;

  /// The array that a place of the tree refers to. Raises Error.
  const Array& array(const Json& place) const;
};

/// The document in the bytes of a `.dp` file. Raises Error, without the name of the file, if they are damaged.
Document read_document(const std::string& bytes);

}  // namespace dp
