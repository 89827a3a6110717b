#include "core/family.h"

#include <array>

#include "core/error.h"

namespace steadytune {
namespace {

/// In the order of the enum.
constexpr std::array<FamilySwitches, 6> families = {{
    {.name = "bert",
     .pooler = true,
     .head_activation = Activation::tanh,
     .head_input_dropout = false,
     .attention_output_dropout = true,
     .summary_last = false},
    {.name = "roberta",
     .pooler = false,
     .head_activation = Activation::tanh,
     .head_input_dropout = true,
     .attention_output_dropout = true,
     .summary_last = false},
    {.name = "electra",
     .pooler = false,
     .head_activation = Activation::gelu,
     .head_input_dropout = true,
     .attention_output_dropout = true,
     .summary_last = false},
    {.name = "distilbert",
     .pooler = false,
     .head_activation = Activation::relu,
     .head_input_dropout = false,
     .attention_output_dropout = false,
     .summary_last = false},
    {.name = "xlnet",
     .pooler = false,
     .head_activation = Activation::tanh,
     .head_input_dropout = false,
     .attention_output_dropout = true,
     .summary_last = true},
    {.name = "bart",
     .pooler = false,
     .head_activation = Activation::tanh,
     .head_input_dropout = true,
     .attention_output_dropout = true,
     .summary_last = true},
}};

}  // namespace

const FamilySwitches& switches_of(Family family) { return families[static_cast<size_t>(family)]; }

Family family_of(const std::string& name) {
  for (size_t i = 0; i < families.size(); ++i) {
    if (name == families[i].name) return static_cast<Family>(i);
  }
  throw Error("ERR_CHECKPOINT", "the model family '" + name + "' is not supported");
}

}  // namespace steadytune
