#include "table_sum.h"

#include "parallel.h"

#define DP_NAME(name, kind) name##_##kind
#define DP_STREAM
#define DP_WHERE Cpu{}
#include "table_sum_c.h"

using namespace DP_NAMESPACE;

extern "C" {
DP_ENVIRONMENT_FUNCTION(double, f64)
DP_ENVIRONMENT_FUNCTION(float, f32)
}
