// The classes and functions of deepmd.hpp in the namespace deepmd.
#pragma once

#include "deepmd.hpp"

namespace deepmd {

using hpp::convert_nlist;
using hpp::convert_pbtxt_to_pb;
using hpp::DeepBaseModel;
using hpp::DeepBaseModelDevi;
using hpp::deepmd_exception;
using hpp::DeepPot;
using hpp::DeepPotModelDevi;
using hpp::DeepSpin;
using hpp::DeepSpinModelDevi;
using hpp::DeepTensor;
using hpp::DipoleChargeModifier;
using hpp::InputNlist;
using hpp::read_file_to_string;
using hpp::select_by_type;
using hpp::select_map;

}  // namespace deepmd
