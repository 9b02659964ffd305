// An array of a model document.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dp {

/// Numbers in row-major order. All types of numbers fit into double as they are used in models.
struct Array {
  std::vector<int64_t> shape;  // empty for a number
  std::vector<double> values;
  std::string dtype;  // how they were stored: bool, int32, float64, …
};

}  // namespace dp
