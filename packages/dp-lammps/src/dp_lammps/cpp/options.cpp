#include "options.h"

#include <algorithm>
#include <stdexcept>

namespace dp {
namespace {

const std::vector<std::string> kKeywords = {
    "out_freq",           "out_file",    "fparam", "aparam", "fparam_from_compute", "fparam_from_fix",
    "aparam_from_compute", "charge_spin", "ttm",    "atomic", "relative",            "relative_v",
    "virtual_len",         "spin_norm"};

bool is_keyword(const std::string &word) {
  return std::find(kKeywords.begin(), kKeywords.end(), word) != kKeywords.end();
}

[[noreturn]] void fail(const std::string &message) { throw std::runtime_error(message); }

/// Reads words one after another.
class Reader {
 public:
  Reader(const std::vector<std::string> &words, size_t start, std::string style)
      : words_(words), next_(start), style_(std::move(style)) {}

  bool done() const { return next_ == words_.size(); }

  std::string keyword() { return words_[next_++]; }

  std::string text(const std::string &message) {
    if (done() || is_keyword(words_[next_])) fail(message);
    return words_[next_++];
  }

  double number(const std::string &message) {
    const std::string word = text(message);
    size_t used = 0;
    double value = 0;
    try {
      value = std::stod(word, &used);
    } catch (const std::exception &) {
      used = 0;
    }
    if (used != word.size()) fail(message + " (" + word + " is not a number)");
    return value;
  }

  /// What is added to a size before it divides.
  double level(const std::string &name) {
    const double value = number("Illegal " + name + ", not provided: write `" + name + " LEVEL`");
    if (value < 0) fail("Illegal " + name + ", should be >= 0");
    return value;
  }

  int integer(const std::string &message) {
    const double value = number(message);
    if (value != static_cast<int>(value)) fail(message + " (not an integer)");
    return static_cast<int>(value);
  }

  bool integer_follows() const {
    return !done() && !words_[next_].empty() && words_[next_].find_first_not_of("0123456789") == std::string::npos;
  }

  std::vector<double> numbers(const std::string &name, int count) {
    const std::string message = "Illegal " + name + ", the dimension should be " + std::to_string(count);
    if (count == 0) fail(message + ": the model takes none; remove `" + name + "` from the pair_style line");
    std::vector<double> values;
    for (int k = 0; k < count; ++k) values.push_back(number(message));
    return values;
  }

  [[noreturn]] void unknown(const std::string &word) const {
    std::string known;
    for (auto &name : kKeywords) known += (known.empty() ? "" : ", ") + name;
    fail("Illegal pair_style command: pair_style " + style_ + " does not know the keyword " + word + "; it knows " +
         known);
  }

 private:
  const std::vector<std::string> &words_;
  size_t next_;
  std::string style_;
};

void only_one(const std::vector<std::pair<std::string, bool>> &given) {
  std::string names;
  int count = 0;
  for (auto &[name, present] : given)
    if (present) names += (count++ ? ", " : "") + name;
  if (count > 1) fail("Illegal pair_style command: " + names + " exclude each other; keep one");
}

}  // namespace

std::vector<std::string> model_files(const std::vector<std::string> &words) {
  return {words.begin(), std::find_if(words.begin(), words.end(), is_keyword)};
}

Options parse_options(const std::vector<std::string> &words, const Sizes &sizes, const std::string &style) {
  Options options;
  Reader reader(words, model_files(words).size(), style);
  while (!reader.done()) {
    const std::string key = reader.keyword();
    if (key == "out_freq") {
      options.out_freq = reader.integer("Illegal out_freq, not provided: write `out_freq N`");
      if (options.out_freq < 0) fail("Illegal out_freq, should be >= 0");
    } else if (key == "out_file") {
      options.out_file = reader.text("Illegal out_file, not provided: write `out_file NAME`");
    } else if (key == "fparam") {
      options.fparam = reader.numbers(key, sizes.fparam);
    } else if (key == "aparam") {
      options.aparam = reader.numbers(key, sizes.aparam);
    } else if (key == "charge_spin") {
      options.charge_spin = reader.numbers(key, sizes.charge_spin);
    } else if (key == "fparam_from_compute") {
      options.fparam_compute = reader.text("invalid fparam_from_compute: write `fparam_from_compute COMPUTE-ID`");
    } else if (key == "fparam_from_fix") {
      options.fparam_fix = reader.text("invalid fparam_from_fix: write `fparam_from_fix FIX-ID [INDEX]`");
      if (reader.integer_follows()) options.fparam_index = reader.integer("invalid index of fparam_from_fix");
      if (options.fparam_index < 1) fail("invalid index of fparam_from_fix: elements are counted from 1");
    } else if (key == "aparam_from_compute") {
      options.aparam_compute = reader.text("invalid aparam_from_compute: write `aparam_from_compute COMPUTE-ID`");
    } else if (key == "atomic") {
      options.atomic = true;
    } else if (key == "relative") {
      options.relative = reader.level(key);
    } else if (key == "relative_v") {
      options.relative_virial = reader.level(key);
    } else if (key == "ttm") {
      options.electrons = reader.text("invalid ttm key: should be ttm ttm_fix_id(str)");
      if (sizes.aparam > 1 || (sizes.aparam == 0 && sizes.fparam != 1))
        fail("ttm: a temperature of electrons is one atomic parameter, or one frame parameter of a model without "
             "atomic ones, but this model takes " + std::to_string(sizes.aparam) + " and " + std::to_string(sizes.fparam) +
             ": remove `ttm` from the pair_style line");
    } else if (key == "virtual_len" || key == "spin_norm") {
      fail(key + " belongs to spin models of an old format: convert the model and use pair_style deepspin without it");
    } else {
      reader.unknown(key);
    }
  }
  only_one({{"fparam", !options.fparam.empty()},
            {"fparam_from_compute", !options.fparam_compute.empty()},
            {"fparam_from_fix", !options.fparam_fix.empty()},
            {"ttm", !options.electrons.empty() && sizes.aparam == 0}});
  only_one({{"aparam", !options.aparam.empty()},
            {"aparam_from_compute", !options.aparam_compute.empty()},
            {"ttm", !options.electrons.empty() && sizes.aparam > 0}});
  const std::pair<std::string, int> from_elsewhere[] = {
      {options.fparam_compute.empty() ? "" : "fparam_from_compute", sizes.fparam},
      {options.fparam_fix.empty() ? "" : "fparam_from_fix", sizes.fparam},
      {options.aparam_compute.empty() ? "" : "aparam_from_compute", sizes.aparam}};
  for (auto &[name, count] : from_elsewhere)
    if (!name.empty() && count == 0) fail(name + ": the model takes no such parameters; remove it from the pair_style line");
  return options;
}

}  // namespace dp
