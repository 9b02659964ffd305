// The functions of training.h by the widest instruction set that this processor has.
#include "training/table.h"

#if defined(__x86_64__)
namespace dp_v2 {
extern const dp::TrainingTable kTraining;
}
namespace dp_v3 {
extern const dp::TrainingTable kTraining;
}
namespace dp_v4 {
extern const dp::TrainingTable kTraining;
}
#endif

namespace {

const dp::TrainingTable& table() {
#if defined(__x86_64__)
  static const dp::TrainingTable& chosen = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                                                   __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")
                                               ? dp_v4::kTraining
                                           : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? dp_v3::kTraining
                                                                                                             : dp_v2::kTraining;
  return chosen;
#else
  return DP_NAMESPACE::kTraining;
#endif
}

}  // namespace

int64_t dp_embedding_kept(const dp_embedding* e) { return table().kept(e); }

void dp_embedding_sum(const dp_embedding* e, void* a, void* kept) { table().sum(e, a, kept); }

void dp_embedding_slope(const dp_embedding* e, const void* ga, const void* kept, void* gr) {
  table().slope(e, ga, kept, gr);
}

void dp_embedding_transposed_slope(const dp_embedding* e, const void* v, const void* kept, void* of_ga) {
  table().transposed_slope(e, v, kept, of_ga);
}

void dp_embedding_gradients(const dp_embedding* e, const void* gu, const void* ga, const void* v, const void* kept) {
  table().gradients(e, gu, ga, v, kept);
}
