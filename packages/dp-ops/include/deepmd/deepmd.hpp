// The C++ interface to models of dp: classes over the C interface, headers only, C++11.
//
// Arrays are flat and row-major, in the units of c_api.h; sizes of parameters and outputs are explained there. Everything
// raises deepmd_exception.
#pragma once

#include <algorithm>
#include <cmath>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "c_api.h"

namespace deepmd {
namespace hpp {

struct deepmd_exception : public std::runtime_error {
  deepmd_exception() : std::runtime_error("DeePMD-kit C API Error!") {}
  explicit deepmd_exception(const std::string& message)
      : std::runtime_error("DeePMD-kit C API Error: " + message) {}
};

namespace detail {

/// The text behind a pointer that belongs to the caller, which is freed.
inline std::string taken(const char* text) {
  const std::string copy(text ? text : "");
  DP_DeleteChar(text);
  return copy;
}

inline void raise_if(const std::string& message) {
  if (!message.empty()) throw deepmd_exception(message);
}

template <class T>
const T* data(const std::vector<T>& values) {
  return values.empty() ? nullptr : values.data();
}

}  // namespace detail
}  // namespace hpp
}  // namespace deepmd

#include "hpp/nlist.hpp"
// after what they need
#include "hpp/parameters.hpp"
#include "hpp/pot.hpp"
#include "hpp/spin.hpp"
#include "hpp/tensor.hpp"
