// For programs that know the classes of models as deepmd::DeepBaseModel and deepmd::DeepBaseModelDevi.
#pragma once

#include "names.h"
