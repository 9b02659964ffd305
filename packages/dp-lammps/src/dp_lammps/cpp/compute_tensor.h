// compute deeptensor/atom: dipoles or polarizabilities of atoms.
#pragma once

#include <string>
#include <vector>

#include "compute.h"

struct DP_DeepTensor;

namespace dp {

class ComputeTensor : public LAMMPS_NS::Compute {
 public:
  ComputeTensor(LAMMPS_NS::LAMMPS *lmp, int narg, char **arg);
  ~ComputeTensor() override;

  void init() override;
  void init_list(int id, LAMMPS_NS::NeighList *list) override;
  void compute_peratom() override;
  double memory_usage() override;

 private:
  void check() const;

  DP_DeepTensor *model_ = nullptr;
  LAMMPS_NS::NeighList *list_ = nullptr;
  std::vector<char> selected_;  // by type of the model: whether its atoms have a tensor
  double **values_ = nullptr;
  int allocated_rows_ = 0;
};

}  // namespace dp
