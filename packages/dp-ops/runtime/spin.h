// Atoms with spins: the frame of atoms and virtual atoms that a model sees in place of the caller's, and the way back.
//
// An atom of type t with the spin s has a virtual atom of type t + T at r + scale[t] · s, see docs/frozen.md.
#pragma once

#include <vector>

#include "frame.h"
#include "model.h"

namespace dp {

class SpinFrame {
 public:
  /// The frame of local atoms, their virtual atoms, ghosts, and their virtual atoms. Raises Error without spins.
  ///
  /// owners: (natoms,) of the atoms of the caller, needed for a new list with message passing, else empty.
  SpinFrame(const Frame& given, const Record& record, const std::vector<int>& owners);

  const Frame& frame() const { return frame_; }

  /// What was computed of this frame, for the frame of the caller. Virtual atoms keep their distance where the cell is
  /// strained, so that their part of the virial is taken away.
  Result folded(const Result& found) const;

 private:
  int moved(int atom) const { return atom < nlocal_ ? atom : atom + nlocal_; }
  int partner(int atom) const { return moved(atom) + (atom < nlocal_ ? nlocal_ : nghost_); }
  void expand_list(const std::vector<int>& owners);

  const Frame& given_;
  int nlocal_, nghost_;
  std::vector<double> scale_;  // (natoms,) Å/μB, 0 for atoms without spin
  std::vector<double> coord_, aparam_;
  std::vector<int> types_, mapping_, rows_, counts_;
  std::vector<std::vector<int>> neighbors_;
  std::vector<int*> first_;
  DP_Nlist list_;
  Frame frame_;
};

}  // namespace dp
