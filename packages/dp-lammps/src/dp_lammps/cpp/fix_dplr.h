// fix dplr: Wannier centroids follow their atoms, and the electric forces on them reach the atoms they depend on.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "fix.h"
#include "model.h"

struct DP_DeepTensor;
struct DP_DipoleChargeModifier;

namespace dp {

class FixDplr : public LAMMPS_NS::Fix {
 public:
  FixDplr(LAMMPS_NS::LAMMPS *lmp, int narg, char **arg);
  ~FixDplr() override;

  int setmask() override;
  void init() override;
  void init_list(int id, LAMMPS_NS::NeighList *list) override;
  void setup_pre_exchange() override { pre_exchange(); }
  void setup_pre_force(int vflag) override { pre_force(vflag); }
  void setup(int vflag) override { post_force(vflag); }
  void min_setup(int vflag) override { post_force(vflag); }
  void pre_exchange() override;
  void pre_force(int vflag) override;
  void post_force(int vflag) override;
  void min_pre_exchange() override { pre_exchange(); }
  void min_pre_force(int vflag) override { pre_force(vflag); }
  void min_post_force(int vflag) override { post_force(vflag); }
  double compute_scalar() override;
  double compute_vector(int n) override;
  int pack_reverse_comm(int n, int first, double *buf) override;
  void unpack_reverse_comm(int n, int *list, double *buf) override;

 private:
  void parse(int narg, char **arg);
  void open(const std::string &model);
  void find_pairs();
  void read_field();
  void add_field(std::vector<double> &electric);
  void check(const char *message) const;

  DP_DeepTensor *dipoles_ = nullptr;
  DP_DipoleChargeModifier *modifier_ = nullptr;
  std::vector<char> selected_;  // by type of the model: whether its atoms have a centroid

  std::vector<int> centroid_of_;              // by type of LAMMPS: the type of its centroids; 0: none
  std::vector<int> bond_types_;
  std::string field_[3] = {"0", "0", "0"};    // numbers, or v_name
  int pair_index_ = 0;

  class PairDeep *pair_ = nullptr;
  LAMMPS_NS::NeighList *list_ = nullptr;
  std::vector<int> type_of_;                  // of the model, for each type of LAMMPS from 1 on; −1: none
  Atoms atoms_;
  std::vector<int> pairs_;                    // atom, centroid, atom, centroid, …
  std::vector<double> dipole_;                // of each pair, in units of LAMMPS
  std::vector<double> correction_;            // (atoms and ghosts, 3)
  double efield_[3] = {};                     // force on a charge of one
  double work_[4] = {};                       // of this rank: energy in the field, force by the field
};

}  // namespace dp
