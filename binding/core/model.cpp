#include "core/model.h"

#include "core/bart.h"
#include "core/encoder.h"
#include "core/parameter_list.h"
#include "core/xlnet.h"

namespace steadytune {

std::vector<ParameterInfo> Model::parameters(const EncoderShape& shape) {
  ParameterList list;
  switch (shape.family) {
    case Family::xlnet:
      Xlnet::list(list, shape);
      break;
    case Family::bart:
      Bart::list(list, shape);
      break;
    default:
      Encoder::list(list, shape);
  }
  return list.take();
}

std::unique_ptr<Model> Model::make(const EncoderShape& shape, Arena& arena, at::ScalarType compute, Form form) {
  switch (shape.family) {
    case Family::xlnet:
      return std::make_unique<Xlnet>(shape, arena, compute, form);
    case Family::bart:
      return std::make_unique<Bart>(shape, arena, compute, form);
    default:
      return std::make_unique<Encoder>(shape, arena, compute, form);
  }
}

}  // namespace steadytune
