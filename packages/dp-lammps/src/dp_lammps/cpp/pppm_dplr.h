// kspace_style pppm/dplr: the PPPM of LAMMPS, whose forces on atoms are kept for fix dplr instead of being added.
#pragma once

#include <memory>
#include <vector>

#include "kspace.h"

namespace dp {

/// Owns the built-in style rather than deriving from it: its header is in no wheel.
class PppmDplr : public LAMMPS_NS::KSpace {
 public:
  explicit PppmDplr(LAMMPS_NS::LAMMPS *lmp);
  ~PppmDplr() override;

  void settings(int narg, char **arg) override;
  void init() override;
  void setup() override;
  void reset_grid() override;
  void compute(int eflag, int vflag) override;
  double memory_usage() override;

  /// (local atoms, 3) forces of the last computation, in units of LAMMPS.
  const std::vector<double> &forces() const { return forces_; }

 private:
  void pass_options();
  void take_results(bool per_atom);

  std::unique_ptr<LAMMPS_NS::KSpace> inner_;
  std::vector<double> forces_;
};

}  // namespace dp
