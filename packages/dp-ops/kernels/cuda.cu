// libdp_kernels_cuda.so: the bodies of table_sum.h on a graphics processor. Arrays are in its memory, except `info`.
#include "parallel.h"
#include "table_sum.h"

#define DP_NAME(name, kind) name##_##kind##_cuda
#define DP_STREAM , cudaStream_t stream
#define DP_WHERE Gpu{stream}
#include "table_sum_c.h"

using namespace DP_NAMESPACE;

extern "C" {
DP_TABLE_FUNCTIONS(double, f64)
DP_TABLE_FUNCTIONS(float, f32)

/// The last error of the runtime of CUDA, as its name; "cudaSuccess" if there was none.
DP_EXPORT const char* dp_cuda_error() { return cudaGetErrorName(cudaGetLastError()); }
}
