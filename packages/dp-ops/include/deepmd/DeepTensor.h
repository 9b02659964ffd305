// For programs that know the classes of models as deepmd::DeepTensor.
#pragma once

#include "names.h"
