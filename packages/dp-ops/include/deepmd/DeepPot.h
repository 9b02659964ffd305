// For programs that know the classes of models as deepmd::DeepPot and deepmd::DeepPotModelDevi.
#pragma once

#include "names.h"
