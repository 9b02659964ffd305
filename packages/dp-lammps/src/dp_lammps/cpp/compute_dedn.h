// compute deepmd/fparam/dedn: derivative of the energy by the frame parameter.
#pragma once

#include <string>

#include "compute.h"

namespace dp {

class ComputeDedn : public LAMMPS_NS::Compute {
 public:
  ComputeDedn(LAMMPS_NS::LAMMPS *lmp, int narg, char **arg);

  void init() override;
  double compute_scalar() override;

 private:
  double source_value();

  char kind_;         // v, c or f
  std::string name_;  // of the variable, compute or fix
  int index_ = 0;     // of the element of its vector, from 1 on; 0: its scalar
  double delta_ = 1e-6;
  class PairDeep *pair_ = nullptr;
};

}  // namespace dp
