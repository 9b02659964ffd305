// libdp_kernels_cuda.so: the bodies of table_sum.h on a graphics processor. Arrays are in its memory.
#include "parallel.h"
#include "table_sum.h"

#define DP_NAME(name, kind) name##_##kind##_cuda
#define DP_STREAM , cudaStream_t stream
#define DP_WHERE Gpu{stream}
#include "table_sum_c.h"

using namespace DP_NAMESPACE;

extern "C" {
DP_ENVIRONMENT_FUNCTION(double, f64)
DP_ENVIRONMENT_FUNCTION(float, f32)

DP_EXPORT void dp_table_sum_cuda(const dp_table* t, void* a, cudaStream_t stream) { any_table_sum(Gpu{stream}, *t, a); }

DP_EXPORT void dp_table_slope_cuda(const dp_table* t, const void* ga, void* gr, void* gweights, cudaStream_t stream) {
  any_table_slope(Gpu{stream}, *t, ga, gr, gweights);
}

/// The last error of the runtime of CUDA, as its name; "cudaSuccess" if there was none.
DP_EXPORT const char* dp_cuda_error() { return cudaGetErrorName(cudaGetLastError()); }
}
