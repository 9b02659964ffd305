#include "part.h"

#include <map>

namespace dp {
namespace {

constexpr double kMargin = 1 + 1e-12;  // of squares of radii, which models compare after other roundings

/// Mark the atoms that are so many steps away from marked ones.
void spread(const Record& record, const Search& search, std::vector<char>& marked) {
  const double square = record.message_radius * record.message_radius * kMargin;
  std::vector<int> border, next;
  for (size_t i = 0; i < marked.size(); ++i) {
    if (marked[i]) border.push_back(static_cast<int>(i));
  }
  std::vector<Neighbor> found;
  for (int64_t step = 0; step < record.message_steps && !border.empty(); ++step) {
    next.clear();
    for (const int atom : border) {
      found.clear();
      search.neighbors(atom, found);
      for (const Neighbor& n : found) {
        if (n.square > square || marked[n.atom]) continue;
        marked[n.atom] = 1;
        next.push_back(n.atom);
      }
    }
    border.swap(next);
  }
}

}  // namespace

std::vector<int> rows_of_part(const Record& record, const Frame& frame, const Search& search, const std::vector<int>& centers) {
  std::vector<char> marked(frame.natoms, 0);
  bool any = false;
  for (const int i : centers) {
    marked[i] = frame.part.holds(i);
    any |= marked[i] != 0;
  }
  if (!any) return {};
  if (record.message_passing) {
    if (record.message_steps < 0) return centers;
    spread(record, search, marked);
    int type = -1;
    for (const int i : centers) {  // the first of each type
      if (frame.types[i] != type) marked[i] = 1;
      type = frame.types[i];
    }
  }
  std::vector<int> rows;
  for (const int i : centers) {
    if (marked[i]) rows.push_back(i);
  }
  return rows;
}

void fill_stand_ins(const Frame& frame, const std::vector<int>& centers, std::vector<int64_t>& row) {
  std::map<int, int64_t> of_type;
  for (const int i : centers) of_type.emplace(frame.types[i], row[i]);
  for (int i = 0; i < frame.natoms; ++i) {
    const auto found = of_type.find(frame.types[i]);
    if (row[i] < 0 && found != of_type.end()) row[i] = found->second;
  }
}

}  // namespace dp
