#pragma once

#include <string>

#include "kernels/activation.h"

namespace steadytune {

enum class Family { bert, roberta, electra, distilbert, xlnet, bart };

/// What sets the families apart beyond the sizes in their configs. Heads as transformers' ForSequenceClassification has
/// them: [dropout], dense, activation, dropout, output.
struct FamilySwitches {
  const char* name;
  /// The head's dense layer is the pre-trained pooler; elsewhere it is part of a classifier that pre-training lacks.
  bool pooler;
  Activation head_activation;
  /// Dropout before the head's dense layer.
  bool head_input_dropout;
  /// Dropout between attention and its residual; DistilBERT has none there.
  bool attention_output_dropout;
  /// The head reads the last token of a row (XLNet's <cls>, BART's last </s>), not the first.
  bool summary_last;
};

const FamilySwitches& switches_of(Family family);

/// Throws ERR_CHECKPOINT for a name that is none of them.
Family family_of(const std::string& name);

}  // namespace steadytune
