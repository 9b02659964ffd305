// What the C interface has in its hands when it has a potential, whatever the instruction set and the precision.
#pragma once

#include "dp_kernels.h"

namespace dp {

/// The table of docs/frozen.md.
struct PotentialTable {
  int64_t rows, slots;
  const double* vectors;
  const int64_t* types;
  const int64_t* neighbor_types;
  const int64_t* frame;
  const double* fparam;
  const double* aparam;
};

class Potential {
 public:
  virtual ~Potential() = default;
  virtual void evaluate(const PotentialTable& table, double* energy, double* gradient) const = 0;
};

}  // namespace dp
