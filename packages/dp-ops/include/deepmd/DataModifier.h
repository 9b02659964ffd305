// For programs that know the classes of models as deepmd::DipoleChargeModifier.
#pragma once

#include "names.h"
