#include "record.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "search.h"

namespace dp {
namespace {

constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
constexpr int64_t kMostParameters = 1000000;
constexpr int64_t kMostComponents = 10000;  // of a tensor

bool within(int64_t value, int64_t low, int64_t high) { return value >= low && value <= high; }

/// How many numbers there are for each row, or −1.
int64_t size_of(const OutputDef& output) {
  int64_t size = 1;
  for (const int64_t s : output.shape) {
    if (!within(s, 1, kMostComponents) || (size *= s) > kMostComponents) return -1;
  }
  return size;
}

/// What is wrong with the neighbours that a model wants; empty if nothing is.
std::string wrong_neighbors(const Record& r, int64_t types) {
  if (!(r.rcut > 0) || !std::isfinite(r.rcut)) return "a cutoff of " + std::to_string(r.rcut) + " Å";
  if (r.blocks != 1 && r.blocks != types) return std::to_string(r.blocks) + " blocks for " + std::to_string(types) + " types";
  if (r.by_type && (r.blocks != types || static_cast<int64_t>(r.sel.size()) != types)) {
    return std::to_string(r.sel.size()) + " numbers of neighbours (sel) in " + std::to_string(r.blocks) + " blocks for " +
           std::to_string(types) + " types";
  }
  if (r.sel.empty() || r.sel.size() > static_cast<size_t>(kMostTypes)) return std::to_string(r.sel.size()) + " numbers of neighbours (sel)";
  for (const int64_t n : r.sel) {
    if (!within(n, 0, kMost)) return std::to_string(n) + " neighbours (sel)";
  }
  if (r.shells.size() > static_cast<size_t>(kMostTypes)) return std::to_string(r.shells.size()) + " shells";
  for (const Shell& shell : r.shells) {
    if (!std::isfinite(shell.radius) || !within(shell.number, 0, kMost)) return "a shell of " + std::to_string(shell.number) + " neighbours";
  }
  for (const auto& [a, b] : r.exclude_pairs) {
    if (!within(std::min(a, b), 0, types - 1) || !within(std::max(a, b), 0, types - 1)) {
      return "an excluded pair of types " + std::to_string(a) + " and " + std::to_string(b) + ", and only " + std::to_string(types) + " types";
    }
  }
  if (!within(r.message_steps, -1, kMost) || !std::isfinite(r.message_radius)) {
    return "messages that come " + std::to_string(r.message_steps) + " steps";
  }
  return std::isfinite(r.closest) ? "" : "a pair table without a beginning";
}

/// The same of its inputs and outputs.
std::string wrong_numbers(const Record& r) {
  if (!within(r.dim_chg_spin, 0, 2) || r.dim_chg_spin == 1) return std::to_string(r.dim_chg_spin) + " numbers of charge and spin";
  if (!within(r.numb_fparam, r.dim_chg_spin, kMostParameters)) return std::to_string(r.numb_fparam) + " frame parameters";
  if (!within(r.numb_aparam, 0, kMostParameters)) return std::to_string(r.numb_aparam) + " atomic parameters";
  if (r.has_default_fparam && static_cast<int64_t>(r.default_fparam.size()) != r.numb_fparam) {
    return std::to_string(r.default_fparam.size()) + " default values of " + std::to_string(r.numb_fparam) + " frame parameters";
  }
  if (!r.spin_scale.empty() && r.spin_scale.size() != r.type_map.size()) return "lengths of spins for other types";
  if (r.outputs.empty()) return "no outputs";
  const int64_t components = size_of(r.outputs[0]);
  for (const OutputDef& output : r.outputs) {
    const int64_t size = size_of(output);
    if (size < 0 || (output.name == "mask" && size != 1) || (output.name == "gradient" && size != 3 * components)) {
      return "the output " + output.name + " of an impossible shape";
    }
  }
  return "";
}

}  // namespace

void check_record(const Record& record, const std::string& path) {
  const int64_t named = static_cast<int64_t>(record.type_map.size());
  std::string wrong = within(named, 1, kMostTypes) ? "" : std::to_string(named) + " types";
  if (wrong.empty()) wrong = wrong_neighbors(record, table_types(record));
  if (wrong.empty()) wrong = wrong_numbers(record);
  if (!wrong.empty()) throw Error(path + " is damaged: it has " + wrong + ". Copy or write it again.");
}

void check_values(const Record& record, const Table& table, const Values& values) {
  bool right = values.size() == record.outputs.size();
  for (size_t k = 0; right && k < values.size(); ++k) {
    const OutputDef& output = record.outputs[k];
    const bool first = k == 0, mask = output.name == "mask", gradient = output.name == "gradient";
    if (!first && !mask && !gradient) continue;  // nothing reads the others
    const int64_t each = size_of(output) * (gradient ? table.slots : 1);
    right = static_cast<int64_t>(values[k].size()) == table.rows * each;
  }
  if (!right) throw Error("The model gives another number of values than its file says. It is damaged; copy or write it again.");
}

}  // namespace dp
