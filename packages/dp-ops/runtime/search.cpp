#include "search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

#include "engine.h"

namespace dp {
namespace {

/// More neighbours than this are no matter, but a wrong unit or a wrong cell.
constexpr double kMostNeighbors = 20000;
/// More images than this of a cell across the cutoff are those of a wrong cell.
constexpr double kMostImages = 1000;
/// Farther from the origin, Å, numbers do not tell neighbours apart.
constexpr double kFarthest = 1e12;

void cross(const double* a, const double* b, double* out) {
  out[0] = a[1] * b[2] - a[2] * b[1];
  out[1] = a[2] * b[0] - a[0] * b[2];
  out[2] = a[0] * b[1] - a[1] * b[0];
}

double norm(const double* a) { return std::sqrt(a[0] * a[0] + a[1] * a[1] + a[2] * a[2]); }

int floor_div(int a, int b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

}  // namespace

void check_finite(const Frame& frame, int ntypes) {
  for (int i = 0; i < frame.natoms; ++i) {
    const double* x = frame.coord + 3 * i;
    if (is_real(frame.types[i], ntypes) && !(std::isfinite(x[0]) && std::isfinite(x[1]) && std::isfinite(x[2]))) {
      std::ostringstream text;
      text << "Atom " << i << " has the coordinates [" << x[0] << ", " << x[1] << ", " << x[2] << "], which are no numbers.";
      throw Error(text.str());
    }
  }
}

GridSearch::GridSearch(const Frame& frame, double rcut, int ntypes)
    : frame_(frame), rcut_(rcut), ntypes_(ntypes), periodic_(frame.cell != nullptr) {
  check_finite(frame, ntypes);
  std::vector<int> real;
  for (int i = 0; i < frame.natoms; ++i) {
    if (is_real(frame.types[i], ntypes)) real.push_back(i);
  }
  choose_bins(real);
  sort_into_bins(real);
}

void GridSearch::choose_bins(const std::vector<int>& real) {
  std::fill(&cell_[0][0], &cell_[0][0] + 9, 0.0);
  if (periodic_) {
    std::copy(frame_.cell, frame_.cell + 9, &cell_[0][0]);
  } else {
    for (int c = 0; c < 3; ++c) {
      double low = 0, high = 0;
      for (size_t k = 0; k < real.size(); ++k) {
        const double x = frame_.coord[3 * real[k] + c];
        if (std::abs(x) > kFarthest) {
          std::ostringstream text;
          text << "Atom " << real[k] << " has the coordinate " << x << " Å; the farthest possible are " << kFarthest << " Å away.";
          throw Error(text.str());
        }
        low = k ? std::min(low, x) : x;
        high = k ? std::max(high, x) : x;
      }
      origin_[c] = low;
      cell_[c][c] = std::max(high - low, rcut_);
    }
  }
  double faces[3][3];
  for (int c = 0; c < 3; ++c) cross(cell_[(c + 1) % 3], cell_[(c + 2) % 3], faces[c]);
  const double volume = cell_[0][0] * faces[0][0] + cell_[0][1] * faces[0][1] + cell_[0][2] * faces[0][2];
  if (!(std::abs(volume) > 1e-10 * norm(cell_[0]) * norm(cell_[1]) * norm(cell_[2])) || !std::isfinite(volume)) {
    throw Error("The cell has no volume. Give three lattice vectors as rows in Å, or none for open boundaries.");
  }
  const double expected = real.size() / std::abs(volume) * 4.0 / 3.0 * M_PI * rcut_ * rcut_ * rcut_;
  if (periodic_ && expected > kMostNeighbors) {
    std::ostringstream text;
    text << real.size() << " atoms in a cell of " << std::abs(volume) << " Å³ have about " << expected
         << " neighbours within " << rcut_ << " Å each. The cell is too small, or the cutoff too large: check that "
         << "lengths are in Å.";
    throw Error(text.str());
  }
  // no more bins than a few for each atom, however far apart the atoms are
  const double most = 8.0 * static_cast<double>(real.size()) + 64.0;
  double counts[3];
  for (int c = 0; c < 3; ++c) {
    for (int k = 0; k < 3; ++k) inverse_[k][c] = faces[c][k] / volume;
    heights_[c] = std::abs(volume) / norm(faces[c]);
    if (!(rcut_ <= kMostImages * heights_[c])) {
      std::ostringstream text;
      text << "The cell is " << heights_[c] << " Å thick, which is too thin for a cutoff of " << rcut_
           << " Å. Check that lengths are in Å.";
      throw Error(text.str());
    }
    counts[c] = std::clamp(2.0 * heights_[c] / rcut_, 1.0, most);
  }
  while (counts[0] * counts[1] * counts[2] > most) {
    double& largest = *std::max_element(counts, counts + 3);
    largest = std::max(1.0, largest / 2);
  }
  for (int c = 0; c < 3; ++c) {
    bins_[c] = static_cast<int>(counts[c]);
    reach_[c] = static_cast<int>(std::ceil(rcut_ * bins_[c] / heights_[c] + 1e-9));
    if (!periodic_) reach_[c] = std::min(reach_[c], bins_[c]);
  }
}

void GridSearch::sort_into_bins(const std::vector<int>& real) {
  wrapped_.resize(3 * frame_.natoms);
  shift_.assign(frame_.natoms, {0, 0, 0});
  bin_of_.resize(frame_.natoms);
  const size_t count = static_cast<size_t>(bins_[0]) * bins_[1] * bins_[2];
  start_.assign(count + 1, 0);
  order_.resize(real.size());
  const auto flat = [&](const std::array<int, 3>& b) {
    return (static_cast<size_t>(b[0]) * bins_[1] + b[1]) * bins_[2] + b[2];
  };
  for (const int i : real) {
    const double* x = frame_.coord + 3 * i;
    double* w = wrapped_.data() + 3 * i;
    for (int c = 0; c < 3; ++c) w[c] = x[c] - origin_[c];
    for (int c = 0; c < 3; ++c) {
      const double f = (x[0] - origin_[0]) * inverse_[0][c] + (x[1] - origin_[1]) * inverse_[1][c] +
                       (x[2] - origin_[2]) * inverse_[2][c];
      const double whole = periodic_ ? std::floor(f) : 0.0;
      if (!(std::abs(whole) <= 1e6)) throw Error("Atom " + std::to_string(i) + " is more than a million cells away.");
      shift_[i][c] = static_cast<int>(whole);
      bin_of_[i][c] = std::clamp(static_cast<int>((f - whole) * bins_[c]), 0, bins_[c] - 1);
      for (int k = 0; k < 3; ++k) w[k] -= whole * cell_[c][k];
    }
    ++start_[flat(bin_of_[i]) + 1];
  }
  for (size_t b = 0; b < count; ++b) start_[b + 1] += start_[b];
  std::vector<int> next(start_.begin(), start_.end() - 1);
  for (const int i : real) order_[next[flat(bin_of_[i])]++] = i;
}

void GridSearch::neighbors(int atom, std::vector<Neighbor>& found) const {
  const size_t before = found.size();
  const double square = rcut_ * rcut_, margin = square * (1 + 1e-9);
  const double *x = frame_.coord + 3 * atom, *w = wrapped_.data() + 3 * atom;
  const std::array<int, 3>& bin = bin_of_[atom];
  int image[3];
  for (int a = bin[0] - reach_[0]; a <= bin[0] + reach_[0]; ++a) {
    image[0] = floor_div(a, bins_[0]);
    if (!periodic_ && image[0]) continue;
    for (int b = bin[1] - reach_[1]; b <= bin[1] + reach_[1]; ++b) {
      image[1] = floor_div(b, bins_[1]);
      if (!periodic_ && image[1]) continue;
      for (int c = bin[2] - reach_[2]; c <= bin[2] + reach_[2]; ++c) {
        image[2] = floor_div(c, bins_[2]);
        if (!periodic_ && image[2]) continue;
        double offset[3];
        for (int k = 0; k < 3; ++k) {
          offset[k] = image[0] * cell_[0][k] + image[1] * cell_[1][k] + image[2] * cell_[2][k] - w[k];
        }
        const size_t at = (static_cast<size_t>(a - image[0] * bins_[0]) * bins_[1] + (b - image[1] * bins_[1])) * bins_[2] +
                          (c - image[2] * bins_[2]);
        for (int p = start_[at]; p < start_[at + 1]; ++p) {
          const int j = order_[p];
          const double* y = wrapped_.data() + 3 * j;
          const double d[3] = {y[0] + offset[0], y[1] + offset[1], y[2] + offset[2]};
          if (d[0] * d[0] + d[1] * d[1] + d[2] * d[2] > margin) continue;
          if (j == atom && !image[0] && !image[1] && !image[2]) continue;
          // from the positions as they were given, so that wrapping loses no digits
          const double* z = frame_.coord + 3 * j;
          Neighbor n{0, {z[0] - x[0], z[1] - x[1], z[2] - x[2]}, j, frame_.types[j]};
          if (periodic_) {
            for (int e = 0; e < 3; ++e) {
              const int s = image[e] + shift_[atom][e] - shift_[j][e];
              for (int k = 0; k < 3; ++k) n.vector[k] += s * cell_[e][k];
            }
          }
          for (int k = 0; k < 3; ++k) n.square += n.vector[k] * n.vector[k];
          if (n.square <= square) found.push_back(n);
        }
      }
    }
  }
  if (found.size() - before > 2 * kMostNeighbors) {
    throw Error("Atom " + std::to_string(atom) + " has " + std::to_string(found.size() - before) +
                " neighbours. Are the coordinates in nm? Lengths are in Å.");
  }
}

void check_list(const DP_Nlist& list, int nlocal) {
  if (list.inum > 0 && (!list.ilist || !list.numneigh || !list.firstneigh)) {
    throw Error("The neighbour list has no arrays of rows and neighbours.");
  }
  for (int row = 0; row < list.inum; ++row) {
    const int i = list.ilist[row];
    if (i < 0 || i >= nlocal) continue;
    if (list.numneigh[i] < 0 || (list.numneigh[i] > 0 && !list.firstneigh[i])) {
      throw Error("The neighbour list has " + std::to_string(list.numneigh[i]) + " neighbours of atom " + std::to_string(i) +
                  ", but no array of them.");
    }
  }
}

ListSearch::ListSearch(const Frame& frame, int ntypes)
    : types_(frame.types, frame.types + frame.natoms), natoms_(frame.natoms), nghost_(frame.nghost) {
  const DP_Nlist& list = *frame.nlist;
  const int nlocal = frame.nlocal();
  check_list(list, nlocal);
  std::vector<char> has_row(nlocal, 0);
  for (int row = 0; row < list.inum; ++row) {
    const int i = list.ilist[row];
    if (i < 0 || i >= natoms_) {
      throw Error("Row " + std::to_string(row) + " of the neighbour list is of atom " + std::to_string(i) + ", but there are " +
                  std::to_string(natoms_) + " atoms.");
    }
    if (i >= nlocal || has_row[i] || !is_real(frame.types[i], ntypes)) continue;
    has_row[i] = 1;
    centers_.push_back(i);
  }
  start_.assign(nlocal + 1, 0);
  for (int i = 0; i < nlocal; ++i) start_[i + 1] = start_[i] + (has_row[i] ? list.numneigh[i] : 0);
  entries_.reserve(start_[nlocal]);
  for (int i = 0; i < nlocal; ++i) {
    for (int k = 0; has_row[i] && k < list.numneigh[i]; ++k) {
      const int j = list.firstneigh[i][k] & list.mask;
      if (j < 0 || j >= natoms_) {
        throw Error("The neighbour list has atom " + std::to_string(j) + " beside atom " + std::to_string(i) + ", but there are " +
                    std::to_string(natoms_) + " atoms. Is the mask set?");
      }
      if (j != i && is_real(frame.types[j], ntypes)) entries_.push_back(j);
    }
    start_[i + 1] = static_cast<int64_t>(entries_.size());
  }
}

void ListSearch::move(const Frame& frame, double rcut) {
  if (frame.natoms != natoms_ || frame.nghost != nghost_) {
    throw Error("The neighbour list was made for " + std::to_string(natoms_) + " atoms with " + std::to_string(nghost_) +
                " ghosts, and there are " + std::to_string(frame.natoms) + " with " + std::to_string(frame.nghost) +
                " now. Give ago = 0 when the list changed.");
  }
  const auto [kept, given] = std::mismatch(types_.begin(), types_.end(), frame.types);
  if (kept != types_.end()) {
    throw Error("Atom " + std::to_string(kept - types_.begin()) + " has type " + std::to_string(*given) +
                ", but the neighbour list was made when it had type " + std::to_string(*kept) + ". Give ago = 0 when types change.");
  }
  coord_ = frame.coord;
  square_ = rcut * rcut;
}

void ListSearch::neighbors(int atom, std::vector<Neighbor>& found) const {
  const double* x = coord_ + 3 * static_cast<int64_t>(atom);
  for (int64_t p = start_[atom]; p < start_[atom + 1]; ++p) {
    const int j = entries_[p];
    const double* y = coord_ + 3 * static_cast<int64_t>(j);
    const double d[3] = {y[0] - x[0], y[1] - x[1], y[2] - x[2]};
    const double square = d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
    if (square <= square_) found.push_back({square, {d[0], d[1], d[2]}, j, types_[j]});
  }
}

}  // namespace dp
