// An engine for tests: E_i = Σ_j (1 + t_i + 2 t_j) (r² − 0.1 t_j r), and a copy of every table that it gets.
//
// The file that it opens is a text of numbers: cutoff, by_type, types_alone, marks_first, blocks, number of types, sel of
// each or of all, number of shells with radius and number, number of excluded pairs with both types, rows at once, what
// rows and slots are rounded up to; where tables are written; and the version of the record of a model that passes
// messages and whose rows have no weights, 0 of one that passes none.
#include <cmath>
#include <cstdio>
#include <fstream>
#include <mutex>

#include "engine.h"

namespace {

class Pairs : public dp::Engine {
 public:
  explicit Pairs(const dp::Source& source) {
    std::ifstream file(source.path);
    int types = 0, shells = 0, pairs = 0;
    file >> record_.rcut >> record_.by_type >> record_.types_alone >> record_.marks_first >> record_.blocks >> types;
    record_.sel.resize(record_.by_type ? types : 1);
    for (int64_t& sel : record_.sel) file >> sel;
    file >> shells;
    record_.shells.resize(shells);
    for (dp::Shell& shell : record_.shells) file >> shell.radius >> shell.number;
    file >> pairs;
    record_.exclude_pairs.resize(pairs);
    for (auto& pair : record_.exclude_pairs) file >> pair.first >> pair.second;
    file >> rows_ >> round_ >> tables_ >> record_.version;
    record_.message_passing = record_.version > 0;
    if (!file) throw dp::Error(source.path + " is damaged: it ends too early.");
    for (int t = 0; t < types; ++t) record_.type_map.push_back(std::string(1, static_cast<char>('A' + t)));
    record_.outputs = {{"energy", {1}, "eV", true, true, "energy", false},
                        {"mask", {}, "1", false, false, "", false},
                        {"gradient", {3}, "eV/A", false, false, "", false}};
  }

  const dp::Record& record() const override { return record_; }
  const std::string& document() const override { return document_; }
  int64_t rows_at_once() const override { return rows_; }
  int64_t round_rows(int64_t rows) const override { return (rows + round_ - 1) / round_ * round_; }
  int64_t round_slots(int64_t slots) const override { return (slots + round_ - 1) / round_ * round_; }

  void evaluate(const dp::Table& t, dp::Values& values) override {
    values.assign(3, {});
    values[0].assign(t.rows, 0.0);
    values[1].assign(t.rows, 0.0);
    values[2].assign(t.rows * t.slots * 3, 0.0);
    for (int64_t i = 0; i < t.rows; ++i) {
      values[1][i] = t.types[i] >= 0;
      for (int64_t at = i * t.slots; at < (i + 1) * t.slots; ++at) {
        const int64_t type = t.neighbor_types[at];
        if (type < 0) continue;
        const double* d = t.vectors + 3 * at;
        const double r = std::sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]);
        const double scale = 1.0 + t.types[i] + 2.0 * type;
        values[0][i] += scale * (r * r - 0.1 * type * r);
        for (int a = 0; a < 3; ++a) values[2][3 * at + a] = scale * (2.0 - 0.1 * type / r) * d[a];
      }
    }
    write(t);
  }

 private:
  void write(const dp::Table& t) {
    if (tables_ == "-") return;
    const std::lock_guard<std::mutex> lock(mutex_);
    std::FILE* file = std::fopen(tables_.c_str(), "ab");
    const std::vector<int64_t>* blocks[] = {&t.row_blocks, &t.slot_blocks};
    for (const auto* b : blocks) {
      const int64_t count = static_cast<int64_t>(b->size());
      std::fwrite(&count, 8, 1, file);
      std::fwrite(b->data(), 8, count, file);
    }
    std::fwrite(t.types, 8, t.rows, file);
    std::fwrite(t.neighbor_types, 8, t.rows * t.slots, file);
    std::fwrite(t.vectors, 8, t.rows * t.slots * 3, file);
    std::fclose(file);
  }

  dp::Record record_;
  std::string document_, tables_;
  int64_t rows_ = 1, round_ = 1;
  std::mutex mutex_;
};

}  // namespace

extern "C" __attribute__((visibility("default"))) dp::Engine* dp::dp_open_engine(const dp::Source& source) {
  return new Pairs(source);
}
