// For programs that know the classes of models as deepmd::DeepSpin and deepmd::DeepSpinModelDevi.
#pragma once

#include "names.h"
