// A model behind the C API of dp-ops: owns it, turns its stored messages into exceptions, and remembers which neighbour
// list it has seen. Units are those of the C API: angstrom, eV.
#pragma once

#include <string>
#include <vector>

struct DP_DeepPot;
struct DP_DeepSpin;
struct DP_Nlist;

namespace dp {

/// The atoms of a rank, locals first, with a full neighbour list of the locals.
struct Atoms {
  int nlocal = 0;
  int nghost = 0;
  std::vector<double> coord;            // (nlocal + nghost, 3)
  std::vector<double> spin;             // (nlocal + nghost, 3); only for models with spin
  std::vector<int> type;                // (nlocal + nghost); −1: does not exist for the model
  double cell[9];                       // rows are lattice vectors
  std::vector<int> ilist, numneigh;     // (nlocal)
  std::vector<int *> firstneigh;        // (nlocal)
  std::vector<int> owner;               // (nlocal + nghost), the local atom of each; empty if some are on other ranks
  int mask = -1;                        // bits of an entry that are the index
  std::vector<double> fparam;           // empty: the default of the model
  std::vector<double> aparam;           // (nlocal, dim), or of all atoms if the model says so
  std::vector<double> charge_spin;      // empty: the default of the model
};

/// Their neighbour list for the C API, to be freed with DP_DeleteNlist; it refers to the memory of the atoms.
DP_Nlist *new_list(const Atoms &atoms);

struct Result {
  double energy = 0;
  double virial[9] = {};
  std::vector<double> force, magnetic;  // (nlocal + nghost, 3)
  std::vector<double> atom_energy;      // (nlocal + nghost); empty unless asked for
  std::vector<double> atom_virial;      // (nlocal + nghost, 9); empty unless asked for
};

class Model {
 public:
  /// bytes: the content of the file, if another rank has read it. Raises std::runtime_error.
  Model(const std::string &path, bool with_spin, int device, const std::string &bytes);
  ~Model();
  Model(Model &&) noexcept;
  Model(const Model &) = delete;
  Model &operator=(const Model &) = delete;

  double cutoff() const;  // Å
  /// The reach of neighbour lists, Å: more than the cutoff where spins up to max_spin, μB, are virtual atoms. Raises
  /// std::runtime_error.
  double list_cutoff(double max_spin) const;
  int types() const;
  int dim_fparam() const;
  int dim_aparam() const;
  int dim_charge_spin() const;
  bool default_fparam() const;
  bool aparam_of_ghosts() const;
  bool passes_messages() const;
  std::vector<std::string> type_map() const;

  /// The neighbour list has changed: the next evaluation reads it anew.
  void forget_list() { seen_ = false; }

  /// Evaluates the local atoms. Raises std::runtime_error.
  void evaluate(const Atoms &atoms, bool per_atom, Result &result);

  /// Evaluates the energies of count atoms from the first on, with their derivatives by all local ones, whose neighbours
  /// the library finds; ghosts and lists of atoms are not read. Raises std::runtime_error.
  void evaluate_part(const Atoms &atoms, int first, int count, bool per_atom, Result &result);

 private:
  void check() const;

  std::string path_;
  DP_DeepPot *pot_ = nullptr;
  DP_DeepSpin *spin_ = nullptr;
  bool seen_ = false;
};

}  // namespace dp
