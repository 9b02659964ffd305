// Picks the instruction set once and forwards the C interface to it.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>

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
  const char* wanted = std::getenv("DP_KERNELS_ISA");
  auto may_use = [&](const char* isa) { return !wanted || std::strcmp(wanted, isa) >= 0; };
  if (may_use("v4") && __builtin_cpu_supports("x86-64-v4")) return dp_v4::kernels();
  if (may_use("v3") && __builtin_cpu_supports("x86-64-v3")) return dp_v3::kernels();
  return dp_v2::kernels();
#else
  return dp_base::kernels();
#endif
}

/// The function, with its exceptions turned into a sentence.
template <class Function>
int guarded(char* message, int64_t size, const Function& function) {
  try {
    function();
    return 0;
  } catch (const std::exception& error) {
    std::snprintf(message, static_cast<size_t>(size), "%s", error.what());
  } catch (...) {
    std::snprintf(message, static_cast<size_t>(size), "unknown error");
  }
  return 1;
}

}  // namespace

const dp::Kernels& dp::kernels() {
  static const dp::Kernels& chosen = best();
  return chosen;
}

extern "C" {

struct dp_potential {
  std::unique_ptr<dp::Potential> potential;
};

DP_EXPORT const char* dp_kernels_isa() { return dp::kernels().isa; }

DP_EXPORT int dp_kernels_threads() { return dp::thread_count(); }

DP_EXPORT dp_potential* dp_potential_new(const dp_potential_settings* settings, char* message, int64_t size) {
  dp_potential* made = nullptr;
  guarded(message, size, [&] {
    made = new dp_potential{std::unique_ptr<dp::Potential>(dp::kernels().make_potential(*settings))};
  });
  return made;
}

DP_EXPORT void dp_potential_free(dp_potential* potential) { delete potential; }

DP_EXPORT int dp_potential_evaluate(const dp_potential* potential, int64_t rows, int64_t slots, const double* vectors,
                                    const int64_t* types, const int64_t* neighbor_types, const int64_t* frame,
                                    const double* fparam, const double* aparam, double* energy, double* gradient,
                                    char* message, int64_t size) {
  return guarded(message, size, [&] {
    const dp::PotentialTable table{rows, slots, vectors, types, neighbor_types, frame, fparam, aparam};
    potential->potential->evaluate(table, energy, gradient);
  });
}
}
