// Tables of neighbourhoods: which neighbours count, and where they stand.
#pragma once

#include <vector>

#include "engine.h"
#include "search.h"

namespace dp {

/// The most neighbours found within the cutoff of one atom, by block of slots, and in all last.
using Crowd = std::vector<int64_t>;

/// Makes tables of some of the rows of a frame, one after the other, in memory that is used again.
class TableBuilder {
 public:
  TableBuilder(const Engine& engine, const Frame& frame, const Search& search);

  /// The table of some central atoms, sorted by type. It is valid until the next call.
  ///
  /// row_of: (natoms,) the row of every atom, with message passing; else null. Raises Error where atoms are too close.
  Table& build(const int* atoms, int64_t count, const int64_t* row_of);

  /// (rows,) the atom of each row of the last table, −1 for padding.
  const std::vector<int>& row_atoms() const { return row_atoms_; }
  /// (rows, slots) the neighbour in each slot, −1 in an empty one.
  const std::vector<int>& slot_atoms() const { return slot_atoms_; }

  const Crowd& crowd() const { return crowd_; }

 private:
  void collect(int atom);
  void check_distance(int atom, const Neighbor& nearest) const;
  void size_blocks(const int* atoms, int64_t count);
  void fill(const int* atoms, int64_t count, const int64_t* row_of);

  const Engine& engine_;
  const Record& record_;
  const Frame& frame_;
  const Search& search_;
  int ntypes_;
  int64_t limit_total_;
  std::vector<int64_t> limits_;  // by block of types
  std::vector<char> excluded_;   // (ntypes, ntypes)
  Crowd crowd_;

  struct Kept {
    Neighbor neighbor;
    int block;  // of slots
  };
  std::vector<Neighbor> found_;
  std::vector<Kept> kept_;
  std::vector<int64_t> kept_start_;  // where the neighbours of each row begin
  std::vector<int64_t> widest_, counts_;

  Table table_;
  std::vector<double> vectors_, aparam_, weight_;
  std::vector<int64_t> index_, types_, neighbor_types_, frame_of_;
  std::vector<int> row_atoms_, slot_atoms_;
};

/// What sizes the blocks of rows get: the lengths of blocks, rounded, for central atoms that are sorted by type.
std::vector<int64_t> row_blocks(const Engine& engine, const Frame& frame, const int* atoms, int64_t count);

}  // namespace dp
