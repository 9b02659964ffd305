// What every instruction set supplies: one table of functions.
#pragma once

namespace dp {

struct Kernels {
  const char* isa;
};

}  // namespace dp
