#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <variant>
#include <vector>

#include "core/encoder_shape.h"

namespace steadytune {

/// Class indices or regression targets, one per row; empty where only outputs are wanted.
using Labels = std::variant<std::monostate, std::vector<int32_t>, std::vector<float>>;

/// Rows as they cross the boundary: PackedBatch of src/native/types.ts.
struct BatchRows {
  std::vector<int32_t> token_ids;
  std::vector<int32_t> segment_ids;
  std::vector<int32_t> row_offsets;
  std::vector<int32_t> row_numbers;
  Labels labels;
};

/// B rows without padding, back to back, T tokens in all, with the index tensors that the model reads. On a device that
/// replays recordings filler may stand behind the last row: it counts in T, belongs to no row, and takes part in no
/// sum.
struct PackedBatch {
  at::Tensor token_ids;          // int32 [T]
  at::Tensor segment_ids;        // int32 [T]
  at::Tensor decoder_ids;        // int32 [T], token_ids moved by one place in each row; undefined without a decoder
  at::Tensor positions;          // int32 [T], from 0 in each row
  at::Tensor position_ids;       // int32 [T], rows of the table of positions
  at::Tensor token_rows;         // int32 [T], the data set's row number of each token's row
  at::Tensor row_offsets;        // int32 [B + 1]
  at::Tensor row_numbers;        // int32 [B]
  at::Tensor row_zeros;          // int32 [B], the position 0 of each row's first token
  at::Tensor summary_tokens;     // int32 [B], the token of each row that the head reads
  at::Tensor summary_positions;  // int32 [B], its place in the row
  // For XLNet, else undefined. A row of n tokens has the 2n distances n, n - 1, ..., -(n - 1) between two of them.
  at::Tensor distances;        // int32 [2T], those of all rows back to back
  at::Tensor distance_rows;    // int32 [2T], as token_rows
  at::Tensor distance_places;  // int32 [2T], from 0 in each row
  at::Tensor
      summary_distances;       // int32 [T + B], which of them are the row's summary token's, with one in front of them
  at::Tensor summary_offsets;  // int32 [B + 1], from 0 to B: summary tokens laid back to back

  at::Tensor labels;            // int64 [B], float32 [B] or undefined
  at::Tensor host_row_offsets;  // row_offsets on the CPU

  int64_t rows() const { return row_numbers.size(0); }
  int64_t tokens() const { return token_ids.size(0); }

  /// All but those on the CPU, to be moved; some may be undefined.
  std::vector<at::Tensor*> movable();
};

/// Checks every index against the model's shape (ERR_DATA) before any of them reaches memory. With `tokens` filler is
/// added up to that number.
PackedBatch pack(const BatchRows& rows, const EncoderShape& shape, int64_t tokens = 0);

}  // namespace steadytune
