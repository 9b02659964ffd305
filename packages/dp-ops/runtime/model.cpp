#include "model.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <numeric>
#include <sstream>

#include "document.h"
#include "loader.h"
#include "part.h"
#include "record.h"
#include "spin.h"
#include "table.h"
#include "threads.h"

namespace dp {
namespace {

/// The place of an output among those of a model, −1 if it has none of that name.
int output_index(const Record& record, const std::string& name) {
  for (size_t k = 0; k < record.outputs.size(); ++k) {
    if (record.outputs[k].name == name) return static_cast<int>(k);
  }
  return -1;
}

int64_t ceil_of(int64_t number, int64_t by) { return (number + by - 1) / by; }

/// What one thread adds up over its tables. What belongs to one row alone goes to the result, which threads share.
class Sums {
 public:
  Sums(const Record& record, const Frame& frame, int components, const Wanted& wanted, Result& shared)
      : total(components, 0.0), record_(record), natoms_(frame.natoms), components_(components), part_(frame.part),
        wanted_(wanted), shared_(shared) {
    const size_t derived = wanted.weights ? 1 : components, natoms = frame.natoms;
    if (wanted.derivatives) {
      force.assign(derived * natoms * 3, 0.0);
      virial.assign(derived * 9, 0.0);
    }
    if (wanted.atomic_virial) atomic_virial.assign(derived * natoms * 9, 0.0);
  }

  void add(const Table& table, const TableBuilder& places, const Values& values) {
    const int mask = output_index(record_, "mask");
    for (int64_t row = 0; row < table.rows; ++row) {
      const int atom = places.row_atoms()[row];
      if (atom < 0) continue;
      const double* value = values[0].data() + row * components_;
      for (int c = 0; c < components_ && part_.holds(atom); ++c) {
        total[c] += value[c];
        shared_.atomic[static_cast<size_t>(atom) * components_ + c] = value[c];
      }
      if (part_.holds(atom)) shared_.mask[atom] = mask < 0 ? 1.0 : values[mask][row];
      if (wanted_.derivatives) add_row(table, places, values, row, atom);
    }
  }

  std::vector<double> total, force, virial, atomic_virial;

 private:
  /// With g = ∂total/∂vector of a slot: +g is a force on the central atom, −g on the neighbour, −g ⊗ vector its virial.
  void add_row(const Table& table, const TableBuilder& places, const Values& values, int64_t row, int atom) {
    const std::vector<double>& gradient = values[output_index(record_, "gradient")];
    const int* neighbors = places.slot_atoms().data() + row * table.slots;
    for (int64_t slot = 0; slot < table.slots; ++slot) {
      const int j = neighbors[slot];
      if (j < 0) continue;
      const int64_t at = row * table.slots + slot;
      const double* d = table.vectors + 3 * at;
      double weighted[3] = {0, 0, 0};
      for (int c = 0; c < components_ && wanted_.weights; ++c) {
        const double* g = gradient.data() + 3 * (at * components_ + c);
        for (int a = 0; a < 3; ++a) weighted[a] += wanted_.weights[static_cast<size_t>(atom) * components_ + c] * g[a];
      }
      for (int c = 0; c < (wanted_.weights ? 1 : components_); ++c) {
        const double* g = wanted_.weights ? weighted : gradient.data() + 3 * (at * components_ + c);
        double* force = this->force.data() + static_cast<size_t>(c) * natoms_ * 3;
        double* virial = this->virial.data() + 9 * c;
        for (int a = 0; a < 3; ++a) {
          force[3 * static_cast<size_t>(atom) + a] += g[a];
          force[3 * static_cast<size_t>(j) + a] -= g[a];
          for (int b = 0; b < 3; ++b) virial[3 * a + b] -= g[a] * d[b];
        }
        if (wanted_.atomic_virial) {
          double* of_atom = this->atomic_virial.data() + 9 * (static_cast<size_t>(c) * natoms_ + j);
          for (int a = 0; a < 3; ++a) {
            for (int b = 0; b < 3; ++b) of_atom[3 * a + b] -= g[a] * d[b];
          }
        }
      }
    }
  }

  const Record& record_;
  int natoms_, components_;
  Part part_;
  Wanted wanted_;
  Result& shared_;
};

/// The sum of an array over threads, in their order.
std::vector<double> joined(std::vector<std::unique_ptr<Sums>>& sums, std::vector<double> Sums::* array) {
  std::vector<double> all = std::move((*sums[0]).*array);
  const int threads = all.size() < 1000 ? 1 : static_cast<int>(sums.size());
  run_threads(threads, [&](int t) {
    const size_t begin = all.size() * t / threads, end = all.size() * (t + 1) / threads;
    for (size_t other = 1; other < sums.size(); ++other) {
      const double* from = ((*sums[other]).*array).data();
      for (size_t i = begin; i < end; ++i) all[i] += from[i];
    }
  });
  return all;
}

/// The local atom that every atom is a ghost of. Raises Error where nothing tells.
std::vector<int> owners(const Frame& frame) {
  std::vector<int> owner(frame.natoms, -1);
  for (int i = 0; i < frame.nlocal(); ++i) owner[i] = i;
  const DP_Nlist* list = frame.nlist;
  if (!frame.nghost) return owner;
  if (list->mapping) {
    for (int i = frame.nlocal(); i < frame.natoms; ++i) owner[i] = list->mapping[i];
  } else if (list->nprocs == 1 && list->sendlist) {
    if (list->nswap > 0 && (!list->sendnum || !list->firstrecv)) throw Error("The neighbour list has swaps without their numbers of atoms.");
    for (int k = 0; k < list->nswap; ++k) {  // to this rank itself
      if (list->sendnum[k] > 0 && !list->sendlist[k]) throw Error("Swap " + std::to_string(k) + " of the neighbour list has no atoms.");
      for (int i = 0; i < list->sendnum[k]; ++i) {
        const int from = list->sendlist[k][i], to = list->firstrecv[k] + i;
        if (from < 0 || from >= frame.natoms || to < 0 || to >= frame.natoms) throw Error("The swaps name atoms that do not exist.");
        owner[to] = owner[from];
      }
    }
  } else {
    throw Error(list->nprocs > 1 ? "The model passes messages between atoms, which this library does not exchange between several ranks. "
                                   "Run it on one rank."
                                 : "The model passes messages between atoms, so that the owner of each ghost must be known: "
                                   "call DP_NlistSetMapping.");
  }
  return owner;
}

}  // namespace

Model::Model(const Source& source) : engine_(open_engine(source)) {
  check_record(record(), source.path);
  const Record& r = record();
  if (!r.long_range.empty() && r.long_range != "modifier") {
    throw Error(source.path + " adds the long-range energy of charges (ewald) to a sum of models. It is that of a whole cell, and this library, "
                "which LAMMPS and programs in C use, evaluates neighbours alone: use the model in dp, or train one with model/modifier "
                "(dipole_charge), whose charges LAMMPS adds with kspace_style pppm/dplr and fix dplr.");
  }
  if (static_cast<int>(r.sel.size()) < (r.by_type ? table_types(r) : 1)) {
    throw Error(source.path + " has no numbers of neighbours (sel) for its types.");
  }
  if (!r.spin_scale.empty() && static_cast<int>(r.spin_scale.size()) != ntypes()) {
    throw Error(source.path + " has no scale of spins for each of its types.");
  }
  if (!r.message_passing && !engine_->threaded()) threads_ = thread_count();
}

int Model::components() const {
  int64_t size = 1;
  for (const int64_t s : output().shape) size *= s;
  return static_cast<int>(size);
}

int Model::spin_types() const {
  const auto& scale = record().spin_scale;
  return static_cast<int>(std::count_if(scale.begin(), scale.end(), [](double s) { return s > 0; }));
}

double Model::list_cutoff(double max_spin) const {
  const auto& scale = record().spin_scale;
  return record().rcut + (scale.empty() ? 0.0 : 2 * max_spin * *std::max_element(scale.begin(), scale.end()));
}

std::string Model::type_map() const {
  std::string names;
  for (const std::string& name : record().type_map) names += (names.empty() ? "" : " ") + name;
  return names;
}

std::vector<int> Model::selected_types() const {
  const Json tree = read_document(engine_->document()).tree;
  std::vector<int> excluded;
  if (tree.contains("model") && tree["model"].is_object() && tree["model"].contains("atom_exclude_types")) {
    excluded = tree["model"]["atom_exclude_types"].get<std::vector<int>>();
  }
  std::vector<int> selected;
  for (int t = 0; t < ntypes(); ++t) {
    if (std::find(excluded.begin(), excluded.end(), t) == excluded.end()) selected.push_back(t);
  }
  return selected;
}

void Model::set_charge_spin(const double* values, int size) {
  if (size != record().dim_chg_spin) {
    throw Error(std::to_string(size) + " numbers of charge and spin were given; the model takes " +
                std::to_string(record().dim_chg_spin) + ".");
  }
  if (size && !values) throw Error("There are no numbers of charge and spin.");
  charge_spin_.assign(values, values + size);
}

/// The frame parameters of the table: those of the frame, of the object, or of the model.
std::vector<double> Model::frame_parameters(const Frame& frame) const {
  const int plain = dim_fparam(), charge = static_cast<int>(record().dim_chg_spin);
  std::vector<double> values(plain + charge);
  const double* given[2] = {frame.fparam, frame.charge_spin};
  if (!given[1] && !charge_spin_.empty()) given[1] = charge_spin_.data();
  const int begin[2] = {0, plain}, count[2] = {plain, charge};
  const char* names[2] = {"frame parameters (fparam)", "numbers of charge and multiplicity (charge_spin)"};
  for (int k = 0; k < 2; ++k) {
    if (!count[k]) continue;
    const double* from = given[k];
    if (!from && record().has_default_fparam) from = record().default_fparam.data() + begin[k];
    if (!from) throw Error("The model needs " + std::to_string(count[k]) + " " + names[k] + "; none were given.");
    std::copy_n(from, count[k], values.data() + begin[k]);
  }
  if (charge) {
    const double q = values[plain], spin = values[plain + 1];
    if (!(q > -101 && q < 100)) throw Error("The total charge is " + std::to_string(q) + "; known: -100 to 99.");
    if (!(spin > -1 && spin < 100)) throw Error("The multiplicity is " + std::to_string(spin) + "; known: 0 to 99.");
  }
  return values;
}

const Search& Model::search(const Frame& frame, std::unique_ptr<Search>& own) {
  if (!frame.nlist) {
    own = std::make_unique<GridSearch>(frame, record().rcut, table_types(record()));
    return *own;
  }
  check_finite(frame, table_types(record()));
  if (frame.ago <= 0) {
    list_ = nullptr;
    if (record().message_passing) owners_ = owners(frame);
    list_ = std::make_unique<ListSearch>(frame, table_types(record()));
  }
  if (!list_) throw Error("There is no neighbour list from an earlier call. Give ago = 0 in the first call.");
  list_->move(frame, record().rcut);
  return *list_;
}

/// The atoms that have a row, sorted by type.
std::vector<int> Model::centers(const Frame& frame) const {
  std::vector<int> atoms;
  if (frame.nlist) {
    atoms = list_->centers();
  } else {
    for (int i = 0; i < frame.natoms; ++i) {
      if (is_real(frame.types[i], table_types(record()))) atoms.push_back(i);
    }
  }
  if (!record().message_passing) {  // virtual atoms have no energy
    const auto is_virtual = [&](int i) { return frame.types[i] >= ntypes(); };
    atoms.erase(std::remove_if(atoms.begin(), atoms.end(), is_virtual), atoms.end());
  }
  std::stable_sort(atoms.begin(), atoms.end(), [&](int a, int b) { return frame.types[a] < frame.types[b]; });
  return atoms;
}

/// (natoms,) the row of each atom, or of the atom that it is a ghost of, in the table of all rows.
std::vector<int64_t> Model::rows_of_atoms(const Frame& frame, const std::vector<int>& centers) const {
  const std::vector<int64_t> blocks = row_blocks(*engine_, frame, centers.data(), static_cast<int64_t>(centers.size()));
  std::vector<int64_t> next(blocks.size(), 0), row(frame.natoms, -1);
  for (size_t b = 1; b < next.size(); ++b) next[b] = next[b - 1] + blocks[b - 1];
  for (const int atom : centers) row[atom] = next[next.size() > 1 ? frame.types[atom] : 0]++;
  if (!frame.part.all) fill_stand_ins(frame, centers, row);
  for (int i = frame.nlocal(); i < frame.natoms; ++i) {
    if (!is_real(frame.types[i], table_types(record()))) continue;
    const int owner = owners_[i];
    if (owner < 0 || owner >= frame.nlocal()) {
      throw Error("Ghost atom " + std::to_string(i) + " has no owner among the local atoms. Check the mapping of the neighbour list.");
    }
    row[i] = row[owner];
  }
  return row;
}

void Model::warn_crowd(const std::vector<int64_t>& crowd) {
  const Record& r = record();
  if (warned_ || r.types_alone) return;
  const int64_t total = std::accumulate(r.sel.begin(), r.sel.end(), int64_t{0});
  bool crowded = crowd.back() > total;
  for (size_t t = 0; r.by_type && t + 1 < crowd.size(); ++t) crowded |= crowd[t] > r.sel[t];
  if (!crowded) return;
  warned_ = true;
  std::ostringstream text;
  text << "WARNING: an atom has more neighbours within " << r.rcut << " Å than the model was made for; only the nearest count, "
       << "so energies jump when a neighbour enters. Largest numbers found: ";
  for (size_t t = 0; r.by_type && t + 1 < crowd.size(); ++t) {
    const size_t types = r.type_map.size();  // virtual atoms come behind
    text << crowd[t] << " " << r.type_map[t % types] << (t < types ? "" : " (spins)") << ", ";
  }
  text << crowd.back() << " in all. Numbers of the model (sel):";
  for (const int64_t s : r.sel) text << " " << s;
  text << ". Train with sel of at least the numbers found.\n";
  std::fputs(text.str().c_str(), stderr);
}

Result Model::evaluate(const Frame& frame, const Wanted& wanted) {
  check(frame, wanted);
  if (record().spin_scale.empty()) return evaluate_table(frame, wanted);
  const bool mapped = record().message_passing && frame.nlist && frame.ago <= 0;
  const SpinFrame all(frame, record(), mapped ? owners(frame) : std::vector<int>());
  return all.folded(evaluate_table(all.frame(), wanted));
}

void Model::check(const Frame& frame, const Wanted& wanted) const {
  const Record& r = record();
  if (frame.nghost < 0 || frame.nghost > frame.natoms) {
    throw Error(std::to_string(frame.nghost) + " of " + std::to_string(frame.natoms) + " atoms cannot be ghosts.");
  }
  if ((wanted.derivatives || wanted.atomic_virial) && output_index(r, "gradient") < 0) {
    throw Error("The file gives no derivatives of " + output().name + ", so there are no forces and virials.");
  }
  const Part part = frame.part;
  const bool inside =
      part.first >= 0 && part.first <= frame.natoms && part.count >= 0 && part.count <= frame.natoms - part.first;
  if (!part.all && !inside) {
    throw Error(std::to_string(part.count) + " atoms from " + std::to_string(part.first) + " on were asked for, of " +
                std::to_string(frame.natoms) + ".");
  }
  if (!part.all && r.message_passing && !r.weighted) {
    throw Error("The file is of version " + std::to_string(r.version) + " of the frozen format, whose graphs evaluate all atoms at once: "
                "freeze it again, `dp convert-backend OLD NEW`, to evaluate a part of them on each rank.");
  }
  if (r.numb_aparam && !frame.aparam && frame.natoms) {
    throw Error("The model needs " + std::to_string(r.numb_aparam) + " atomic parameters (aparam); none were given.");
  }
}

Result Model::evaluate_table(const Frame& frame, const Wanted& wanted) {
  const Record& r = record();
  const std::vector<double> fparam = frame_parameters(frame);
  std::unique_ptr<Search> own;
  const Search& neighbors = search(frame, own);
  std::vector<int> atoms = centers(frame);
  if (!frame.part.all) atoms = rows_of_part(r, frame, neighbors, atoms);
  const int64_t n = static_cast<int64_t>(atoms.size());

  const std::vector<int64_t> row_of = r.message_passing ? rows_of_atoms(frame, atoms) : std::vector<int64_t>();
  int64_t chunk = std::max<int64_t>(n, 1);
  if (!r.message_passing) {
    chunk = std::min(chunk, std::max<int64_t>(1, engine_->rows_at_once()));
    if (!engine_->threaded()) {  // as many chunks of as many rows for each thread
      const int64_t rounds = std::max<int64_t>(1, ceil_of(n, threads_ * chunk));
      chunk = std::max<int64_t>(1, ceil_of(n, threads_ * rounds));
    }
  }
  const int64_t chunks = ceil_of(n, chunk);
  const int threads = static_cast<int>(std::max<int64_t>(1, std::min<int64_t>(threads_, chunks)));

  Result result;
  result.atomic.assign(static_cast<size_t>(frame.natoms) * components(), 0.0);
  result.mask.assign(frame.natoms, 0.0);
  std::vector<std::unique_ptr<Sums>> sums(threads);
  std::vector<Crowd> crowds(threads);
  run_threads(threads, [&](int t) {
    sums[t] = std::make_unique<Sums>(r, frame, components(), wanted, result);
    TableBuilder builder(*engine_, frame, neighbors);
    Values values;
    for (int64_t c = t; c < chunks; c += threads) {  // always the same chunks, so that sums are always the same
      const int64_t begin = c * chunk;
      Table& table = builder.build(atoms.data() + begin, std::min(chunk, n - begin), r.message_passing ? row_of.data() : nullptr);
      table.fparam = fparam.data();
      engine_->evaluate(table, values);
      check_values(r, table, values);
      sums[t]->add(table, builder, values);
    }
    crowds[t] = builder.crowd();
  });
  Crowd crowd = crowds[0];
  for (const Crowd& other : crowds)
    for (size_t b = 0; b < crowd.size(); ++b) crowd[b] = std::max(crowd[b], other[b]);
  warn_crowd(crowd);

  result.total = joined(sums, &Sums::total);
  result.force = joined(sums, &Sums::force);
  result.virial = joined(sums, &Sums::virial);
  result.atomic_virial = joined(sums, &Sums::atomic_virial);
  if (output().intensive) {
    const double count = std::max(1.0, std::accumulate(result.mask.begin(), result.mask.end(), 0.0));
    for (double& value : result.total) value /= count;
  }
  for (const auto* values : {&result.total, &result.atomic, &result.force, &result.virial, &result.atomic_virial}) {
    if (!std::all_of(values->begin(), values->end(), [](double x) { return std::isfinite(x); })) {
      throw Error("The result is not finite. Are atoms too close to each other, or is the model damaged?");
    }
  }
  return result;
}

}  // namespace dp
