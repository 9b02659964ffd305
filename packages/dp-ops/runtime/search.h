// Neighbours of single atoms, found when they are asked for: nothing is kept for all pairs.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "engine.h"
#include "frame.h"

namespace dp {

struct Neighbor {
  double square;     // of the distance, Å²
  double vector[3];  // from the central atom, Å
  int atom;          // of the frame
  int type;
};

/// Gives the neighbours of an atom, in no order. May be used by several threads at once.
class Search {
 public:
  virtual ~Search() = default;

  /// Append the neighbours within the cutoff that are no virtual atoms.
  virtual void neighbors(int atom, std::vector<Neighbor>& found) const = 0;
};

/// Neighbours among all atoms and their periodic images, by sorting atoms into the bins of a grid.
class GridSearch : public Search {
 public:
  /// Raises Error for coordinates or a cell that make no sense.
  GridSearch(const Frame& frame, double rcut, int ntypes);

  void neighbors(int atom, std::vector<Neighbor>& found) const override;

 private:
  void choose_bins(const std::vector<int>& real);
  void sort_into_bins(const std::vector<int>& real);

  const Frame& frame_;
  double rcut_;
  int ntypes_;
  bool periodic_;
  double cell_[3][3], inverse_[3][3];  // of the box that contains all atoms where boundaries are open
  double origin_[3] = {0, 0, 0};
  double heights_[3];  // distances of opposite faces
  int bins_[3], reach_[3];
  std::vector<double> wrapped_;             // (natoms, 3), inside of the cell
  std::vector<std::array<int, 3>> shift_;   // (natoms,) cells that were subtracted
  std::vector<std::array<int, 3>> bin_of_;  // (natoms,)
  std::vector<int> start_, order_;          // atoms of each bin
};

/// Raises Error if arrays of a list are missing: those of its rows, and those of the neighbours of local atoms.
void check_list(const DP_Nlist& list, int nlocal);

/// Neighbours from the list of a caller, kept for the calls in which only coordinates change.
class ListSearch : public Search {
 public:
  /// Copy the list: rows of local atoms, without virtual atoms. Raises Error for impossible entries.
  ListSearch(const Frame& frame, int ntypes);

  /// Look at a frame with the same atoms at other places. Raises Error if they, or their types, are not the same.
  void move(const Frame& frame, double rcut);

  /// The atoms that have a row in the list, in its order.
  const std::vector<int>& centers() const { return centers_; }

  void neighbors(int atom, std::vector<Neighbor>& found) const override;

 private:
  const double* coord_ = nullptr;
  std::vector<int> types_;  // those that the list was read for
  double square_ = 0;
  int natoms_, nghost_;
  std::vector<int> centers_;
  std::vector<int64_t> start_;  // (nlocal + 1,)
  std::vector<int> entries_;
};

/// Raises Error for coordinates that are no numbers.
void check_finite(const Frame& frame, int ntypes);

/// How many types atoms and virtual atoms have together.
inline int table_types(const Record& record) {
  return static_cast<int>(record.type_map.size()) * (record.spin_scale.empty() ? 1 : 2);
}

inline bool is_real(int type, int ntypes) { return type >= 0 && type < ntypes; }

}  // namespace dp
