#pragma once

#include <cstdint>

namespace steadytune {

/// The number of tokens that a step over `tokens` is computed with on a device that replays recordings: rounded up by
/// filler of at most 6 %, so that few numbers of tokens occur and each needs to be recorded once.
inline int64_t bucket_of(int64_t tokens) {
  int64_t grain = 1;
  while ((2 * grain - 1) * 100 <= 6 * tokens) grain *= 2;
  return (tokens + grain - 1) / grain * grain;
}

}  // namespace steadytune
