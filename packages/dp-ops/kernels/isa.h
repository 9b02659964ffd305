// Every kernel source is compiled once for each instruction set, in a namespace of its own, so that no inline function
// of one is taken for that of another by the linker.
#pragma once

#ifndef DP_ISA
#define DP_ISA base
#endif
#define DP_JOIN_(a, b) a##b
#define DP_JOIN(a, b) DP_JOIN_(a, b)
#define DP_NAMESPACE DP_JOIN(dp_, DP_ISA)

#ifdef __CUDACC__
#define DP_HD __host__ __device__
#else
#define DP_HD
#endif

/// What other libraries may call.
#define DP_EXPORT __attribute__((visibility("default")))
