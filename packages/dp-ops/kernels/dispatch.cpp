// Picks the instruction set once and forwards the C interface to it.
#include "dp_kernels.h"
#include "isa.h"
#include "parallel.h"
#include "table_of_kernels.h"

#ifdef DP_X86
namespace dp_v2 {
const dp::Kernels& kernels();
}
namespace dp_v3 {
const dp::Kernels& kernels();
}
namespace dp_v4 {
const dp::Kernels& kernels();
}
#else
namespace dp_base {
const dp::Kernels& kernels();
}
#endif

namespace {

const dp::Kernels& best() {
#ifdef DP_X86
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v4")) return dp_v4::kernels();
  if (__builtin_cpu_supports("x86-64-v3")) return dp_v3::kernels();
  return dp_v2::kernels();
#else
  return dp_base::kernels();
#endif
}

const dp::Kernels& kernels() {
  static const dp::Kernels& chosen = best();
  return chosen;
}

}  // namespace

extern "C" {

DP_EXPORT const char* dp_kernels_isa() { return kernels().isa; }

DP_EXPORT int dp_kernels_threads() { return dp::thread_count(); }
}
