// The rows that some of the atoms of a frame depend on, where messages pass between rows.
#pragma once

#include <vector>

#include "search.h"

namespace dp {

/// The atoms of a frame whose rows decide the outputs of its part, of those that may have rows; both sorted by type.
///
/// With messages these are the part, the atoms that it reaches in `message_steps` steps, and one atom of each type, which
/// stands for those beyond.
std::vector<int> rows_of_part(const Record& record, const Frame& frame, const Search& search, const std::vector<int>& centers);

/// Give every atom without a row that of an atom of its type: what comes from there reaches nobody in the part, or depends
/// on the type alone. row: (natoms,), −1 for atoms without.
void fill_stand_ins(const Frame& frame, const std::vector<int>& centers, std::vector<int64_t>& row);

}  // namespace dp
