// Networks, descriptors and fittings of a model document, as the kernels take them.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "kernels/dp_kernels.h"
#include "runtime/document.h"
#include "runtime/engine.h"

namespace dp::native {

/// Says that a model is for another engine, and why.
[[noreturn]] void unknown(const std::string& what);

/// Keeps what the settings of a potential point to.
struct Storage {
  std::deque<std::vector<double>> numbers;
  std::deque<std::vector<int64_t>> counts;
  std::deque<std::vector<int32_t>> indices;
  std::deque<std::vector<uint8_t>> flags;
  std::deque<std::vector<dp_layer>> layers;
  std::deque<std::vector<dp_function>> functions;

  const double* keep(std::vector<double> values) { return numbers.emplace_back(std::move(values)).data(); }
};

/// The array below "@variables" of a part by its name; nullptr if it is null or not there.
const Array* variable(const Document& document, const Json& part, const char* name);

/// "float64" or "float32". Raises Error for others.
std::string canonical(const Json& part);

/// Raises Error if the part is newer than this program.
void check_version(const Json& part, const char* name, int newest);

/// A layer of a document, kept in storage.
dp_layer read_layer(const Document& document, const Json& layer, Storage& storage);

/// The layers of a network.
std::vector<dp_layer> read_layers(const Document& document, const Json& network, Storage& storage);

/// The values of a network, for small inputs that are needed once.
std::vector<double> evaluate(const std::vector<dp_layer>& layers, std::vector<double> x);

/// The vectors of all types and of no type, which is 0: (ntypes + 1, dim).
std::vector<double> read_type_vectors(const Document& document, const Json& embedding, int64_t& dim);

/// The electrons of an element as 118 numbers. Raises Error for other names.
std::vector<double> electrons(const std::string& element);

/// What the runtime must know of a descriptor, and the descriptor for the kernels.
struct Described {
  dp_descriptor settings{};
  std::vector<int64_t> sel;
  bool by_type = false, marks_first = false, single = false, excludes = false;
  int64_t width = 0;  // numbers of the descriptor
};

/// The descriptors of a document: one, or those of a hybrid.
std::vector<Described> read_descriptors(const Document& document, const Json& descriptor, int64_t ntypes,
                                        Storage& storage);

}  // namespace dp::native
