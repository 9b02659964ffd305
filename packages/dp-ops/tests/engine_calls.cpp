// An engine as plain C functions, for ctypes.
#include <dlfcn.h>

#include <cstring>
#include <iomanip>
#include <memory>
#include <sstream>

#include "runtime/engine.h"

namespace {

thread_local std::string text;

template <class List, class Item>
std::string listed(const List& list, Item item) {
  std::ostringstream out;
  out << std::setprecision(17) << "[";
  for (size_t k = 0; k < list.size(); ++k) {
    out << (k ? "," : "");
    item(out, list[k]);
  }
  out << "]";
  return out.str();
}

std::string record_text(const dp::Record& r) {
  auto plain = [](std::ostream& out, const auto& x) { out << x; };
  auto quoted = [](std::ostream& out, const auto& x) { out << '"' << x << '"'; };
  auto truth = [](bool x) { return x ? "true" : "false"; };
  std::ostringstream out;
  out << std::setprecision(17) << "{\"version\":" << r.version << ",\"type_map\":" << listed(r.type_map, quoted)
      << ",\"rcut\":" << r.rcut << ",\"sel\":" << listed(r.sel, plain) << ",\"by_type\":" << truth(r.by_type)
      << ",\"types_alone\":" << truth(r.types_alone) << ",\"marks_first\":" << truth(r.marks_first)
      << ",\"closest\":" << r.closest << ",\"blocks\":" << r.blocks << ",\"shells\":"
      << listed(r.shells, [](std::ostream& o, const dp::Shell& s) { o << "[" << s.radius << "," << s.number << "]"; })
      << ",\"exclude_pairs\":"
      << listed(r.exclude_pairs, [](std::ostream& o, const auto& p) { o << "[" << p.first << "," << p.second << "]"; })
      << ",\"message_passing\":" << truth(r.message_passing) << ",\"precision\":\"" << r.precision
      << "\",\"numb_fparam\":" << r.numb_fparam << ",\"dim_chg_spin\":" << r.dim_chg_spin
      << ",\"numb_aparam\":" << r.numb_aparam << ",\"default_fparam\":"
      << (r.has_default_fparam ? listed(r.default_fparam, plain) : "null") << ",\"long_range\":"
      << (r.long_range.empty() ? "null" : "\"" + r.long_range + "\"") << ",\"inputs\":" << listed(r.inputs, quoted)
      << ",\"outputs\":" << listed(r.outputs, [&](std::ostream& o, const dp::OutputDef& d) {
           o << "{\"name\":\"" << d.name << "\",\"kind\":\"" << d.kind << "\",\"shape\":" << listed(d.shape, plain)
             << ",\"unit\":\"" << d.unit << "\",\"reducible\":" << truth(d.reducible)
             << ",\"differentiable\":" << truth(d.differentiable) << ",\"intensive\":" << truth(d.intensive) << "}";
         })
      << "}";
  return out.str();
}

}  // namespace

extern "C" {

// NULL with the sentence in engine_text() if it cannot be opened
dp::Engine* engine_open(const char* library, const char* path) {
  try {
    void* handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!handle) throw dp::Error(dlerror());
    const auto open = reinterpret_cast<dp::OpenEngine>(dlsym(handle, "dp_open_engine"));
    dp::Source source;
    source.path = path;
    auto* engine = open(source);
    text = record_text(engine->record());
    return engine;
  } catch (const std::exception& error) {
    text = error.what();
    return nullptr;
  }
}

// the record of the engine that was opened last, or what went wrong
const char* engine_text() { return text.c_str(); }

void engine_close(dp::Engine* engine) { delete engine; }

// energy (rows,), mask (rows,), gradient (rows, slots, 3); returns 1 if something went wrong
int engine_evaluate(dp::Engine* engine, int64_t rows, int64_t slots, int64_t frames, const double* vectors,
                    const int64_t* index, const int64_t* types, const int64_t* neighbor_types, const int64_t* frame,
                    const double* fparam, const double* aparam, int64_t blocks, const int64_t* row_blocks,
                    int64_t slot_count, const int64_t* slot_blocks, double* energy, double* mask, double* gradient) {
  try {
    dp::Table table;
    table.rows = rows, table.slots = slots, table.frames = frames;
    table.vectors = vectors, table.index = index, table.types = types, table.neighbor_types = neighbor_types;
    table.frame = frame, table.fparam = fparam, table.aparam = aparam;
    table.row_blocks.assign(row_blocks, row_blocks + blocks);
    table.slot_blocks.assign(slot_blocks, slot_blocks + slot_count);
    dp::Values values;
    engine->evaluate(table, values);
    double* const to[] = {energy, mask, gradient};
    for (size_t k = 0; k < values.size(); ++k) std::memcpy(to[k], values[k].data(), values[k].size() * sizeof(double));
    return 0;
  } catch (const std::exception& error) {
    text = error.what();
    return 1;
  }
}
}
