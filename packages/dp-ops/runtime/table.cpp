#include "table.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <sstream>

namespace dp {
namespace {

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

/// The nearest first. Those at the same distance have an order too, so that which of them count does not depend on the
/// order in which they were found.
bool before(const Neighbor& a, const Neighbor& b) {
  if (a.square != b.square) return a.square < b.square;
  if (a.atom != b.atom) return a.atom < b.atom;
  return std::lexicographical_compare(a.vector, a.vector + 3, b.vector, b.vector + 3);
}

}  // namespace

std::vector<int64_t> row_blocks(const Engine& engine, const Frame& frame, const int* atoms, int64_t count) {
  std::vector<int64_t> blocks(engine.record().blocks, 0);
  for (int64_t i = 0; i < count; ++i) ++blocks[blocks.size() > 1 ? frame.types[atoms[i]] : 0];
  for (int64_t& size : blocks) size = engine.round_rows(size);
  return blocks;
}

TableBuilder::TableBuilder(const Engine& engine, const Frame& frame, const Search& search)
    : engine_(engine),
      record_(engine.record()),
      frame_(frame),
      search_(search),
      ntypes_(table_types(record_)) {
  const int64_t total = std::accumulate(record_.sel.begin(), record_.sel.end(), int64_t{0});
  limit_total_ = record_.types_alone ? kNoLimit : total;
  limits_ = record_.by_type ? record_.sel : std::vector<int64_t>(record_.blocks, total);
  excluded_.assign(static_cast<size_t>(ntypes_) * ntypes_, 0);
  for (const auto& [a, b] : record_.exclude_pairs) excluded_[a * ntypes_ + b] = excluded_[b * ntypes_ + a] = 1;
  crowd_.assign(record_.blocks + 1, 0);
}

/// Find the neighbours of one atom and append those that count, by block and distance.
void TableBuilder::collect(int atom) {
  found_.clear();
  search_.neighbors(atom, found_);
  std::sort(found_.begin(), found_.end(), before);
  const bool by_block = record_.blocks > 1;
  counts_.assign(record_.blocks, 0);
  const size_t others = kept_.size();
  const char* excluded = excluded_.data() + static_cast<size_t>(frame_.types[atom]) * ntypes_;
  bool first = true;
  for (size_t rank = 0; rank < found_.size(); ++rank) {
    const Neighbor& n = found_[rank];
    const int block = by_block ? n.type : 0;
    const int64_t place = counts_[block]++;
    if (static_cast<int64_t>(rank) >= limit_total_ || place >= limits_[block]) continue;
    int slot_block = block;
    if (!record_.shells.empty()) {
      for (const Shell& shell : record_.shells) slot_block += place >= shell.number || n.square >= shell.radius * shell.radius;
    }
    if (excluded[n.type]) continue;
    if (first) check_distance(atom, n);
    first = false;
    kept_.push_back({n, slot_block});
  }
  if (!found_.empty() && found_[0].square == 0) check_distance(atom, found_[0]);
  for (size_t b = 0; b < counts_.size(); ++b) crowd_[b] = std::max(crowd_[b], counts_[b]);
  crowd_.back() = std::max(crowd_.back(), static_cast<int64_t>(found_.size()));
  std::stable_sort(kept_.begin() + others, kept_.end(), [](const Kept& a, const Kept& b) { return a.block < b.block; });
}

void TableBuilder::check_distance(int atom, const Neighbor& nearest) const {
  if (record_.closest < 0) return;  // virtual atoms may be where their atoms are
  std::ostringstream text;
  if (nearest.square == 0) {
    text << "Atoms " << atom << " and " << nearest.atom << " are at the same place. Remove one of them.";
  } else if (nearest.square < record_.closest * record_.closest) {
    text << "Atoms " << atom << " and " << nearest.atom << " are " << std::sqrt(nearest.square) << " Å apart, but the pair table of "
         << "the model begins at " << record_.closest << " Å. Give a table that begins at shorter distances.";
  } else {
    return;
  }
  throw Error(text.str());
}

void TableBuilder::size_blocks(const int* atoms, int64_t count) {
  const size_t slot_blocks = record_.blocks + record_.shells.size();
  widest_.assign(slot_blocks, 0);
  for (int64_t row = 0; row < count; ++row) {
    counts_.assign(slot_blocks, 0);
    for (int64_t p = kept_start_[row]; p < kept_start_[row + 1]; ++p) ++counts_[kept_[p].block];
    for (size_t b = 0; b < slot_blocks; ++b) widest_[b] = std::max(widest_[b], counts_[b]);
  }
  table_.slot_blocks.clear();
  for (const int64_t w : widest_) table_.slot_blocks.push_back(engine_.round_slots(w + record_.marks_first));
  table_.row_blocks = row_blocks(engine_, frame_, atoms, count);
  table_.rows = std::accumulate(table_.row_blocks.begin(), table_.row_blocks.end(), int64_t{0});
  table_.slots = std::accumulate(table_.slot_blocks.begin(), table_.slot_blocks.end(), int64_t{0});
}

void TableBuilder::fill(const int* atoms, int64_t count, const int64_t* row_of) {
  const int64_t n = table_.rows, k = table_.slots, width = record_.numb_aparam;
  // with marks_first empty slots tell the type of the first atom
  const int first = frame_.natoms ? frame_.types[0] : -1;
  const int64_t empty = record_.marks_first && is_real(first, ntypes_) ? -2 - first : -1;
  vectors_.assign(n * k * 3, 0.0);
  index_.assign(n * k, -1);
  neighbor_types_.assign(n * k, -1);
  slot_atoms_.assign(n * k, -1);
  types_.assign(n, -1);
  frame_of_.assign(n, 0);
  aparam_.assign(n * width, 0.0);
  weight_.assign(n, 0.0);
  row_atoms_.assign(n, -1);
  std::vector<int64_t> next(table_.row_blocks.size(), 0);
  for (size_t b = 1; b < next.size(); ++b) next[b] = next[b - 1] + table_.row_blocks[b - 1];
  for (int64_t r = 0; r < count; ++r) {
    const int atom = atoms[r], type = frame_.types[atom];
    const int64_t row = next[next.size() > 1 ? type : 0]++;
    types_[row] = type;
    row_atoms_[row] = atom;
    weight_[row] = frame_.part.holds(atom);
    if (width) std::copy_n(frame_.aparam + atom * width, width, aparam_.data() + row * width);
    std::fill_n(neighbor_types_.begin() + row * k, k, empty);
    int64_t begin = 0, slot = 0;
    int block = 0;
    for (int64_t p = kept_start_[r]; p < kept_start_[r + 1]; ++p) {
      const Kept& kept = kept_[p];
      while (block < kept.block) {
        begin += table_.slot_blocks[block++];
        slot = 0;
      }
      const int64_t at = row * k + begin + slot++;
      std::copy_n(kept.neighbor.vector, 3, vectors_.data() + 3 * at);
      // only models that pass messages look at it
      index_[at] = row_of ? row_of[kept.neighbor.atom] : row;
      neighbor_types_[at] = kept.neighbor.type;
      slot_atoms_[at] = kept.neighbor.atom;
    }
  }
}

Table& TableBuilder::build(const int* atoms, int64_t count, const int64_t* row_of) {
  kept_.clear();
  kept_start_.assign(1, 0);
  for (int64_t r = 0; r < count; ++r) {
    collect(atoms[r]);
    kept_start_.push_back(static_cast<int64_t>(kept_.size()));
  }
  size_blocks(atoms, count);
  fill(atoms, count, row_of);
  table_.frames = 1;
  table_.vectors = vectors_.data();
  table_.index = index_.data();
  table_.types = types_.data();
  table_.neighbor_types = neighbor_types_.data();
  table_.frame = frame_of_.data();
  table_.aparam = aparam_.data();
  table_.weight = weight_.data();
  return table_;
}

}  // namespace dp
