// What every instruction set supplies: one table of functions.
#pragma once

#include "potential.h"
#include "training/table.h"

namespace dp {

struct Kernels {
  const char* isa;
  Potential* (*make_potential)(const dp_potential_settings&);
  const EmbeddingTable& embedding;
  const NetworkTable& network;
  const AttentionTable& attention;
  const TableTable& table;
};

/// Those that this process uses.
const Kernels& kernels();

}  // namespace dp
