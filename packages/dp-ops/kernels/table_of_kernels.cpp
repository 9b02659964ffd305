#include "table_of_kernels.h"

#include "isa.h"

#define DP_TEXT_(x) #x
#define DP_TEXT(x) DP_TEXT_(x)

namespace DP_NAMESPACE {

dp::Potential* make_potential(const dp_potential_settings& settings);

const dp::Kernels& kernels() {
  static const dp::Kernels table{DP_TEXT(DP_ISA), make_potential, kEmbedding, kNetwork, kAttention, kTable};
  return table;
}

}  // namespace DP_NAMESPACE
