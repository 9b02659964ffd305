// A model and the evaluation of frames with it: neighbours, chunks of rows, sums.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "engine.h"
#include "frame.h"
#include "search.h"

namespace dp {

/// What is computed of a frame, for an output of c components (1 for an energy).
struct Result {
  std::vector<double> total;          // (c,)
  std::vector<double> atomic;         // (natoms, c)
  std::vector<double> mask;           // (natoms,) 1 for atoms with an output
  std::vector<double> force;          // (c, natoms, 3), −∂total/∂coord
  std::vector<double> virial;         // (c, 9)
  std::vector<double> atomic_virial;  // (c, natoms, 9)
  std::vector<double> magnetic;       // (natoms, 3), −∂total/∂spin, of models with spins
};

/// What a caller needs beside totals.
struct Wanted {
  bool derivatives = true;
  bool atomic_virial = false;
  const double* weights = nullptr;  // (natoms, c): derivatives of Σ weight · atomic output, as if c were 1
};

class Model {
 public:
  /// Raises Error.
  explicit Model(const Source& source);

  const Engine& engine() const { return *engine_; }
  const Record& record() const { return engine_->record(); }
  const OutputDef& output() const { return record().outputs.at(0); }
  int ntypes() const { return static_cast<int>(record().type_map.size()); }
  int components() const;
  int dim_fparam() const { return static_cast<int>(record().numb_fparam - record().dim_chg_spin); }
  bool has_default_fparam() const { return dim_fparam() > 0 && record().has_default_fparam; }
  /// Number of types with spin.
  int spin_types() const;
  /// Radius of a neighbour list that has all pairs of virtual atoms within the cutoff, Å. max_spin: the longest spin, μB.
  double list_cutoff(double max_spin) const;
  /// Names of the types with blanks in between.
  std::string type_map() const;
  /// Types whose atoms have an output, from the document.
  std::vector<int> selected_types() const;

  /// Charge and multiplicity for frames that have none. Raises Error for a wrong number of numbers.
  void set_charge_spin(const double* values, int size);

  /// Raises Error.
  Result evaluate(const Frame& frame, const Wanted& wanted);

 private:
  void check(const Frame& frame, const Wanted& wanted) const;
  Result evaluate_table(const Frame& frame, const Wanted& wanted);
  std::vector<double> frame_parameters(const Frame& frame) const;
  const Search& search(const Frame& frame, std::unique_ptr<Search>& own);
  std::vector<int> centers(const Frame& frame) const;
  std::vector<int64_t> rows_of_atoms(const Frame& frame, const std::vector<int>& centers) const;
  void warn_crowd(const std::vector<int64_t>& crowd);

  std::unique_ptr<Engine> engine_;
  int threads_ = 1;                   // that share the tables of a call
  std::unique_ptr<ListSearch> list_;  // the list of the last call with ago = 0
  std::vector<int> owners_;           // of its atoms, with message passing
  std::vector<double> charge_spin_;
  bool warned_ = false;
};

}  // namespace dp
