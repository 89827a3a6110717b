#include "core/segments.h"

#include <algorithm>
#include <utility>

#include "kernels/adamw.h"

namespace steadytune {

bool untouched_stand_still(const ParameterPlan& words) {
  return !words.frozen && (words.weight_decay == 0 || words.decay_towards_start);
}

Segments cut_segments(const Arena& arena, const std::vector<ParameterPlan>& plan, const TouchedRows& words,
                      std::vector<size_t> half_spans) {
  const bool by_word = untouched_stand_still(plan[words.table()]);
  const auto parameters = static_cast<int64_t>(plan.size());
  int64_t count = by_word ? parameters - 1 + words.count() : parameters;
  for (const size_t span : half_spans) count -= span == 0 ? 0 : static_cast<int64_t>(span) - 1;
  Segments segments{at::empty({count, 2}, at::kLong), at::empty({count, 2}, at::kFloat), at::empty({count}, at::kInt),
                    words.count(), std::move(half_spans)};
  int64_t* bounds = segments.bounds.mutable_data_ptr<int64_t>();
  float* settings = segments.settings.mutable_data_ptr<float>();
  int32_t* flags = segments.flags.mutable_data_ptr<int32_t>();
  const auto add = [&](const ParameterPlan& entry, int64_t begin, int64_t end, int32_t more_flags) {
    *bounds++ = begin;
    *bounds++ = end;
    *settings++ = static_cast<float>(entry.lr_scale);
    *settings++ = static_cast<float>(entry.weight_decay);
    *flags++ = (entry.frozen ? segment_frozen : 0) | (entry.decay_towards_start ? segment_decay_towards_start : 0) |
               (entry.decay_scaled_by_lr ? 0 : segment_decay_unscaled) | more_flags;
  };
  for (size_t i = 0; i < plan.size(); ++i) {
    if (by_word && i == words.table()) {
      words.for_each([&](int64_t begin, int64_t end) { add(plan[i], begin, end, 0); });
      continue;
    }
    const size_t span = i < segments.half_spans.size() ? segments.half_spans[i] : 0;
    const size_t last = i + std::max<size_t>(span, 1) - 1;
    add(plan[i], arena.begin_of(i), arena.begin_of(last) + arena.parameters()[last].elements(),
        span > 0 ? segment_gradient_bfloat16 : 0);
    i = last;
  }
  return segments;
}

int64_t most_segments(const std::vector<ParameterPlan>& plan, const TouchedRows& words) {
  const auto parameters = static_cast<int64_t>(plan.size());
  return untouched_stand_still(plan[words.table()]) ? parameters - 1 + words.rows() : parameters;
}

}  // namespace steadytune
