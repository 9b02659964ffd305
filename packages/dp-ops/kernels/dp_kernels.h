/* The C interface of libdp_kernels.so: plain pointers, nothing of any framework. Arrays are row-major. */
#ifndef DP_KERNELS_H
#define DP_KERNELS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The instruction set that is used on this processor: "v2", "v3", "v4" (of x86-64) or "base". */
const char* dp_kernels_isa(void);

/* How many threads a call uses. */
int dp_kernels_threads(void);


#ifdef __cplusplus
}
#endif
#endif
