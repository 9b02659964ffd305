#include "table_sum.h"

#include "parallel.h"

#define DP_NAME(name, kind) name##_##kind
#define DP_STREAM
#define DP_WHERE Cpu{}
#include "table_sum_c.h"

using namespace DP_NAMESPACE;

extern "C" {
DP_TABLE_FUNCTIONS(double, f64)
DP_TABLE_FUNCTIONS(float, f32)
}
