// What every instruction set supplies: one table of functions.
#pragma once

#include "potential.h"

namespace dp {

struct Kernels {
  const char* isa;
  Potential* (*make_potential)(const dp_potential_settings&);
};

}  // namespace dp
