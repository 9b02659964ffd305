#include "spin.h"

#include <algorithm>
#include <cmath>

namespace dp {

SpinFrame::SpinFrame(const Frame& given, const Record& record, const std::vector<int>& owners)
    : given_(given), nlocal_(given.nlocal()), nghost_(given.nghost), scale_(given.natoms, 0.0), frame_(given) {
  if (given.natoms && !given.spin) throw Error("The model needs the spins of the atoms; none were given.");
  const int ntypes = static_cast<int>(record.type_map.size());
  coord_.resize(6 * static_cast<size_t>(given.natoms));
  types_.resize(2 * static_cast<size_t>(given.natoms));
  for (int i = 0; i < given.natoms; ++i) {
    const bool real = is_real(given.types[i], ntypes);
    if (real) scale_[i] = record.spin_scale[given.types[i]];
    types_[moved(i)] = real ? given.types[i] : -1;
    types_[partner(i)] = real ? given.types[i] + ntypes : -1;
    for (int a = 0; a < 3; ++a) {
      const double x = given.coord[3 * static_cast<size_t>(i) + a], s = given.spin[3 * static_cast<size_t>(i) + a];
      if (real && !std::isfinite(s)) throw Error("The spin of atom " + std::to_string(i) + " is no number.");
      coord_[3 * static_cast<size_t>(moved(i)) + a] = x;
      coord_[3 * static_cast<size_t>(partner(i)) + a] = x + (scale_[i] ? scale_[i] * s : 0.0);
    }
  }
  if (given.aparam) {
    const size_t size = static_cast<size_t>(nlocal_) * record.numb_aparam;
    aparam_.assign(2 * size, 0.0);
    std::copy_n(given.aparam, size, aparam_.begin());
    frame_.aparam = aparam_.data();
  }
  frame_.natoms = 2 * given.natoms;
  frame_.nghost = 2 * nghost_;
  frame_.coord = coord_.data();
  frame_.types = types_.data();
  if (!given.nlist) return;
  if (given.ago <= 0) expand_list(owners);
  frame_.nlist = &list_;
}

/// Every atom and its virtual atom see all neighbours, the virtual atoms of these, and each other.
void SpinFrame::expand_list(const std::vector<int>& owners) {
  const DP_Nlist& list = *given_.nlist;
  check_list(list, nlocal_);
  const auto expanded = [&](int atom, int other) {
    std::vector<int> found = {other};
    for (int k = 0; k < list.numneigh[atom]; ++k) {
      const int j = list.firstneigh[atom][k] & list.mask;
      if (j < 0 || j >= given_.natoms) {
        throw Error("The neighbour list has atom " + std::to_string(j) + " beside atom " + std::to_string(atom) + ", but there are " +
                    std::to_string(given_.natoms) + " atoms. Is the mask set?");
      }
      found.push_back(moved(j));
      found.push_back(partner(j));
    }
    return found;
  };
  neighbors_.resize(2 * static_cast<size_t>(nlocal_));
  for (int row = 0; row < list.inum; ++row) {
    const int i = list.ilist[row];
    if (i < 0 || i >= nlocal_) continue;
    for (const int atom : {moved(i), partner(i)}) {
      neighbors_[atom] = expanded(i, atom == moved(i) ? partner(i) : moved(i));
      rows_.push_back(atom);
    }
  }
  for (std::vector<int>& row : neighbors_) {
    counts_.push_back(static_cast<int>(row.size()));
    first_.push_back(row.data());
  }
  list_.inum = static_cast<int>(rows_.size());
  list_.ilist = rows_.data();
  list_.numneigh = counts_.data();
  list_.firstneigh = first_.data();
  if (owners.empty()) return;
  mapping_.resize(types_.size());
  for (int i = 0; i < given_.natoms; ++i) {
    mapping_[moved(i)] = owners[i] < 0 ? -1 : moved(owners[i]);
    mapping_[partner(i)] = owners[i] < 0 ? -1 : partner(owners[i]);
  }
  list_.mapping = mapping_.data();
}

Result SpinFrame::folded(const Result& found) const {
  const size_t n = given_.natoms;
  Result out;
  out.total = found.total;
  out.virial = found.virial;
  out.atomic.resize(n);
  out.mask.resize(n);
  out.force.resize(found.force.size() / 2);
  out.magnetic.resize(out.force.size());
  out.atomic_virial.resize(found.atomic_virial.size() / 2);
  for (size_t i = 0; i < n; ++i) {
    const size_t real = moved(static_cast<int>(i)), other = partner(static_cast<int>(i));
    out.atomic[i] = found.atomic[real];
    out.mask[i] = found.mask[real];
    for (size_t a = 0; a < 3 && !out.force.empty(); ++a) {
      const double pulled = found.force[3 * other + a];
      out.force[3 * i + a] = found.force[3 * real + a] + pulled;
      out.magnetic[3 * i + a] = scale_[i] * pulled;
      for (size_t b = 0; b < 3; ++b) {
        const double kept = scale_[i] ? pulled * scale_[i] * given_.spin[3 * i + b] : 0.0;
        out.virial[3 * a + b] -= kept;
        if (out.atomic_virial.empty()) continue;
        const size_t at = 3 * a + b;
        out.atomic_virial[9 * i + at] = found.atomic_virial[9 * real + at] + found.atomic_virial[9 * other + at] - kept;
      }
    }
  }
  return out;
}

}  // namespace dp
