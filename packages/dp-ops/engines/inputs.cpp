#include "engines/inputs.h"

namespace dp {

void check_table(const Record& record, const Table& table) {
  const auto sum = [](const std::vector<int64_t>& v) { return std::accumulate(v.begin(), v.end(), int64_t{0}); };
  const size_t blocks = table.row_blocks.size() + table.slot_blocks.size();
  if (sum(table.row_blocks) != table.rows || sum(table.slot_blocks) != table.slots || table.frames < 1 ||
      record.inputs.size() != 7 + record.weighted + blocks || (record.weighted && !table.weight)) {
    throw Error("The blocks of the table do not fit its rows and slots, or the model. Please report this.");
  }
}

Inputs::Inputs(const Record& record, const Table& table) {
  check_table(record, table);
  const int64_t n = table.rows, k = table.slots;
  static const int64_t nothing = 0;  // arrays of no numbers need an address
  const auto add = [&](const void* data, bool integers, std::vector<int64_t> sizes) {
    Input input{data ? data : &nothing, integers, static_cast<int>(sizes.size()), {0, 0, 0}};
    std::copy(sizes.begin(), sizes.end(), input.sizes);
    all_.push_back(input);
  };
  add(table.vectors, false, {n, k, 3});
  add(table.index, true, {n, k});
  add(table.types, true, {n});
  add(table.neighbor_types, true, {n, k});
  add(table.frame, true, {n});
  add(table.fparam, false, {table.frames, record.numb_fparam});
  add(table.aparam, false, {n, record.numb_aparam});
  if (record.weighted) add(table.weight, false, {n});
  lengths_only_.resize(static_cast<size_t>(std::max({n, k, int64_t{1}})));
  for (const auto* blocks : {&table.row_blocks, &table.slot_blocks}) {
    for (const int64_t count : *blocks) add(lengths_only_.data(), true, {count});
    lengths_.insert(lengths_.end(), blocks->begin(), blocks->end());
  }
  lengths_.push_back(table.frames);
}

void Inputs::pad_frames(int64_t frames) {
  Input& given = all_[5];
  const auto* numbers = static_cast<const double*>(given.data);
  if (given.sizes[1] > 0) fparam_.assign(numbers, numbers + given.count());
  given.sizes[0] = lengths_.back() = frames;
  fparam_.resize(static_cast<size_t>(std::max<int64_t>(given.count(), 1)));
  given.data = fparam_.data();
}

int64_t rows_with(const Record& record, int64_t slots) {
  const int64_t width = std::accumulate(record.sel.begin(), record.sel.end(), int64_t{0});
  return std::clamp<int64_t>(slots / std::max<int64_t>(width, 1), 16, 4096);
}

bool set_empty(const Record& record, const Table& table, Values& values) {
  if (table.rows > 0) return false;
  values.assign(record.outputs.size(), {});
  return true;
}

}  // namespace dp
