// The words after `pair_style deepmd`.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace dp {

/// Sizes that a model asks for.
struct Sizes {
  int fparam = 0;
  int aparam = 0;
  int charge_spin = 0;
};

struct Options {
  int out_freq = 100;  // 0: never
  std::string out_file = "model_devi.out";
  std::vector<double> fparam, aparam, charge_spin;
  std::string fparam_compute, fparam_fix, aparam_compute;
  std::string electrons;   // the fix ttm whose temperatures are atomic parameters, or their mean the frame parameter
  int fparam_index = 1;  // of the first element of the vector of the fix
  bool atomic = false;
  std::optional<double> relative, relative_virial;
};

/// The names of models, which end at the first keyword.
std::vector<std::string> model_files(const std::vector<std::string> &words);

/// The keywords that follow the models. style: for messages. Raises std::runtime_error.
Options parse_options(const std::vector<std::string> &words, const Sizes &sizes, const std::string &style);

}  // namespace dp
