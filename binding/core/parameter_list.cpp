#include "core/parameter_list.h"

#include <utility>

namespace steadytune {

void ParameterList::add(std::string name, std::vector<int64_t> shape, Role role, Kind kind, Block block, bool joined) {
  list_.push_back({std::move(name), std::move(shape), role, kind, block, joined});
}

void ParameterList::embedding(const std::string& name, int64_t rows, int64_t width) {
  add(name + ".weight", {rows, width}, Role::embedding, Kind::weight);
}

void ParameterList::linear(const std::string& name, int64_t out, int64_t in, Role role, Block block) {
  add(name + ".weight", {out, in}, role, Kind::weight, block);
  add(name + ".bias", {out}, role, Kind::bias, block);
}

void ParameterList::norm(const std::string& name, int64_t width, Block block) {
  add(name + ".weight", {width}, Role::layer_norm, Kind::weight, block);
  add(name + ".bias", {width}, Role::layer_norm, Kind::bias, block);
}

void ParameterList::joined_linears(const std::string& prefix, std::initializer_list<const char*> parts, int64_t out,
                                   int64_t in, Role role, Block block) {
  for (const Kind kind : {Kind::weight, Kind::bias}) {
    bool joined = false;
    for (const char* part : parts) {
      if (kind == Kind::weight) {
        add(prefix + part + ".weight", {out, in}, role, kind, block, joined);
      } else {
        add(prefix + part + ".bias", {out}, role, kind, block, joined);
      }
      joined = true;
    }
  }
}

}  // namespace steadytune
