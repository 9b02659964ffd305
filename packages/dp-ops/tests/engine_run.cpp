// Evaluates a table with an engine: engine_run ENGINE.so MODEL INPUTS THREADS
// Each line of INPUTS is an array: its name, f (float64) or i (int64), number of dimensions, sizes, values.
// Prints the names of the outputs, then each as a line of numbers; or a line that begins with "error: ".
// THREADS threads evaluate at once, three times each, and must find the same.
#include <dlfcn.h>

#include <fstream>
#include <iomanip>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <thread>

#include "runtime/engine.h"

struct Arrays {
  std::map<std::string, std::vector<double>> numbers;
  std::map<std::string, std::vector<int64_t>> integers, sizes;
};

static Arrays read(const char* path) {
  Arrays all;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream in(line);
    std::string name;
    char kind;
    size_t dimensions;
    in >> name >> kind >> dimensions;
    std::vector<int64_t> sizes(dimensions);
    int64_t count = 1;
    for (auto& size : sizes) {
      in >> size;
      count *= size;
    }
    all.sizes[name] = sizes;
    for (int64_t k = 0; k < count; ++k) {
      double value;
      in >> value;
      if (kind == 'i') all.integers[name].push_back(static_cast<int64_t>(value));
      else all.numbers[name].push_back(value);
    }
  }
  return all;
}

static dp::Table table_of(Arrays& a) {
  dp::Table table;
  table.rows = a.sizes["vectors"][0];
  table.slots = a.sizes["vectors"][1];
  table.frames = a.sizes["fparam"][0];
  table.vectors = a.numbers["vectors"].data();
  table.index = a.integers["index"].data();
  table.types = a.integers["types"].data();
  table.neighbor_types = a.integers["neighbor_types"].data();
  table.frame = a.integers["frame"].data();
  table.fparam = a.numbers["fparam"].data();
  table.aparam = a.numbers["aparam"].data();
  table.weight = a.numbers["weight"].data();
  for (int k = 0; a.sizes.count("rows_" + std::to_string(k)); ++k) {
    table.row_blocks.push_back(a.sizes["rows_" + std::to_string(k)][0]);
  }
  for (int k = 0; a.sizes.count("slots_" + std::to_string(k)); ++k) {
    table.slot_blocks.push_back(a.sizes["slots_" + std::to_string(k)][0]);
  }
  return table;
}

static void run(const char* library, const char* model, const char* inputs, int count) {
  void* handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (!handle) throw dp::Error(dlerror());
  const auto open = reinterpret_cast<dp::OpenEngine>(dlsym(handle, "dp_open_engine"));
  dp::Source source;
  source.path = model;
  const std::unique_ptr<dp::Engine> engine(open(source));
  if (engine->document().empty()) throw dp::Error("no document");
  Arrays arrays = read(inputs);
  const dp::Table table = table_of(arrays);
  std::vector<dp::Values> found(static_cast<size_t>(count));
  std::vector<std::string> errors(static_cast<size_t>(count));
  std::vector<std::thread> threads;
  for (int k = 0; k < count; ++k) {
    threads.emplace_back([&, k] {
      try {
        for (int repeat = 0; repeat < 3; ++repeat) engine->evaluate(table, found[static_cast<size_t>(k)]);
      } catch (const std::exception& error) {
        errors[static_cast<size_t>(k)] = error.what();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& error : errors) {
    if (!error.empty()) throw dp::Error(error);
  }
  for (const auto& values : found) {
    for (size_t k = 0; k < values.size(); ++k) {
      for (size_t i = 0; i < values[k].size(); ++i) {
        if (!(std::abs(values[k][i] - found[0][k][i]) <= 1e-12 * (1 + std::abs(found[0][k][i])))) {
          throw dp::Error("threads find other numbers");
        }
      }
    }
  }
  for (const auto& output : engine->record().outputs) std::cout << output.name << " ";
  std::cout << "\n" << std::setprecision(17);
  for (const auto& values : found[0]) {
    for (const double value : values) std::cout << value << " ";
    std::cout << "\n";
  }
}

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  try {
    run(argv[1], argv[2], argv[3], std::stoi(argv[4]));
  } catch (const std::exception& error) {
    std::cout << "error: " << error.what() << "\n";
  }
  return 0;
}
