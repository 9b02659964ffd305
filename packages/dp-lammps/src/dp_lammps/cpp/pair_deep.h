// pair_style deepmd and pair_style deepspin: forces of deep potentials, and how far several of them are apart.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "deviation.h"
#include "model.h"
#include "options.h"
#include "pair.h"

namespace dp {

class PairDeep : public LAMMPS_NS::Pair {
 public:
  PairDeep(LAMMPS_NS::LAMMPS *lmp, bool with_spin);
  ~PairDeep() override;

  void compute(int eflag, int vflag) override;
  void settings(int narg, char **arg) override;
  void coeff(int narg, char **arg) override;
  void init_style() override;
  double init_one(int i, int j) override;
  void *extract(const char *name, int &dim) override;

  // a restart file holds no model: its path is in the input, which follows read_restart
  void write_restart(FILE *) override {}
  void write_restart_settings(FILE *) override {}
  void read_restart(FILE *) override {}
  void read_restart_settings(FILE *) override {}

  int pack_forward_comm(int n, int *list, double *buf, int pbc_flag, int *pbc) override;
  void unpack_forward_comm(int n, int first, double *buf) override;
  int pack_reverse_comm(int n, int first, double *buf) override;
  void unpack_reverse_comm(int n, int *list, double *buf) override;

  int dim_fparam() const { return sizes_.fparam; }
  double energy_unit() const { return energy_unit_; }  // units of LAMMPS in an eV
  /// The place of each type of LAMMPS, from 1 on, in another type map; −1 for types that the model does not see.
  std::vector<int> types_in(const std::vector<std::string> &names) const;
  bool single_model() const { return models_.size() == 1; }
  /// The energy of all ranks with this as the only frame parameter, of atoms as they are; forces stay as they are.
  double energy_at(double fparam);

 private:
  // settings
  void load(const std::vector<std::string> &files);
  void agree(const std::string &problem);
  void allocate();
  void open_file();
  void report();

  // parameters.cpp
  void check_sources();
  void fill_fparam();
  void fill_aparam();

  // one evaluation
  void fill_atoms();
  void fill_list();
  void evaluate(Model &model, bool per_atom, Result &result);
  void evaluate_whole(Model &model, bool per_atom, Result &result);
  std::string attempt(const std::function<void()> &evaluation) const;  // what is wrong in it, and what to write
  void add(const Result &result, bool ghosts);
  void add_per_atom(const Result &result);
  void write_deviation();
  std::vector<double> per_tag(const std::vector<double> &values);

  // init
  void check_special_bonds();
  void reach_virtual_atoms();

  const bool with_spin_;
  const std::string name_;
  std::vector<Model> models_;
  std::vector<std::string> files_;
  Options options_;
  Sizes sizes_;
  DeviationFile file_;
  bool whole_ = false;  // messages between atoms of several ranks, each of which knows all atoms

  double cutoff_ = 0;       // of neighbours, in units of LAMMPS
  double max_spin_ = 0;     // the longest spin for which the cutoff is enough, μB
  double length_ = 1;       // units of LAMMPS in an angstrom
  double energy_unit_ = 1;  // units of LAMMPS in an eV
  double **scale_ = nullptr;
  std::vector<int> type_of_;  // of the model, for each type of LAMMPS from 1 on; −1: none

  Atoms atoms_;
  std::vector<Result> results_;
  LAMMPS_NS::bigint calls_ = -1;  // builds of the neighbour list when it was read last

  // what is exchanged with the owners of ghosts: width numbers for each atom
  std::vector<double> exchanged_;
  int width_ = 0;
};

}  // namespace dp
