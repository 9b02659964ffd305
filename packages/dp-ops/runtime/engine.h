// What the runtime asks of an engine: open a file, evaluate a table of neighbourhoods.
//
// An engine knows one kind of file and nothing of coordinates, cells, ghosts or neighbour lists; the runtime knows
// those and nothing of frameworks. The table and the outputs are those of docs/frozen.md.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace dp {

/// Whatever is wrong with a file, an input or an engine: a sentence for the user.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Raised for models that an engine does not know, and another one may.
struct OtherEngine : Error {
  using Error::Error;
};

/// One output of a model.
struct OutputDef {
  std::string name;
  std::vector<int64_t> shape;  // of one row; empty for a number
  std::string unit;
  bool reducible = false;
  bool differentiable = false;
  std::string kind;        // energy, dipole, polar, …; empty for masks and gradients
  bool intensive = false;  // whether the value of a frame is the mean instead of the sum
};

/// As many nearest neighbours closer than the radius have a block of slots before the others.
struct Shell {
  double radius = 0;
  int64_t number = 0;
};

/// More types than this are no model, but a damaged file.
inline constexpr int64_t kMostTypes = 4096;

/// What a caller must know of a model: the record of a frozen file, key by key (docs/frozen.md).
struct Record {
  int version = 1;
  std::vector<std::string> type_map;
  double rcut = 0;  // Å
  std::vector<int64_t> sel;
  bool by_type = false;
  bool types_alone = false;
  bool marks_first = false;
  double closest = 0;  // Å
  int64_t blocks = 1;
  std::vector<Shell> shells;
  std::vector<std::pair<int, int>> exclude_pairs;
  bool message_passing = false;
  int64_t message_steps = -1;  // how far messages come, −1 if that is not known; each step at most so many Å:
  double message_radius = 0;
  bool weighted = false;  // whether the table has weights
  std::string precision;
  std::string long_range;  // what the table leaves out of the energy: "", "modifier" or "member"
  int64_t numb_fparam = 0;
  int64_t numb_aparam = 0;
  int64_t dim_chg_spin = 0;
  std::vector<double> spin_scale;  // Å/μB by type: how far virtual atoms are from atoms with spin; empty without spins
  bool has_default_fparam = false;
  std::vector<double> default_fparam;
  std::vector<std::string> inputs;
  std::vector<OutputDef> outputs;
};

/// Rows of central atoms with their neighbours: views of arrays that the caller owns, row-major.
struct Table {
  int64_t rows = 0;    // n
  int64_t slots = 0;   // K
  int64_t frames = 1;  // F
  const double* vectors = nullptr;          // (n, K, 3), r_j − r_i in Å
  const int64_t* index = nullptr;           // (n, K), the row of the neighbour; −1 in an empty slot
  const int64_t* types = nullptr;           // (n,)
  const int64_t* neighbor_types = nullptr;  // (n, K)
  const int64_t* frame = nullptr;           // (n,)
  const double* fparam = nullptr;           // (F, numb_fparam)
  const double* aparam = nullptr;           // (n, numb_aparam)
  const double* weight = nullptr;           // (n,), of weighted models: how much the row counts in what is differentiated
  std::vector<int64_t> row_blocks;          // lengths, which add up to n
  std::vector<int64_t> slot_blocks;         // lengths, which add up to K
};

/// The outputs of a table in the order of `Record::outputs`, each (n, …) row-major; the engine sizes them.
using Values = std::vector<std::vector<double>>;

class Engine {
 public:
  virtual ~Engine() = default;

  virtual const Record& record() const = 0;

  /// The complete `.dp` document inside the file, or its bytes if it is one.
  virtual const std::string& document() const = 0;

  /// Rows that are best evaluated at once: what fits the cache, or amortises a call. Ignored with message passing.
  virtual int64_t rows_at_once() const = 0;

  /// What sizes are rounded up to, so that a program which is compiled for each size is compiled rarely: 1 if any will
  /// do. Blocks of rows and of slots are then filled up with rows and slots of type −1.
  virtual int64_t round_rows(int64_t rows) const { return rows; }
  virtual int64_t round_slots(int64_t slots) const { return slots; }

  /// Whether the engine itself spreads a table over the processors. If not, the runtime evaluates several at once, each in
  /// a thread of its own.
  virtual bool threaded() const { return false; }

  /// Evaluates the table. Thread-safe. Raises Error.
  virtual void evaluate(const Table& table, Values& values) = 0;
};

/// Where a model comes from: a path (of a file or folder) and, if the caller has them, the bytes of the file.
struct Source {
  std::string path;
  const char* bytes = nullptr;
  size_t size = 0;
  int device = 0;
};

/// Each engine is a shared library libdp_engine_NAME.so that exports this function. Raises Error, or OtherEngine.
extern "C" Engine* dp_open_engine(const Source& source);
using OpenEngine = Engine* (*)(const Source&);

}  // namespace dp
