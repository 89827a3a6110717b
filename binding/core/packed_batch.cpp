#include "core/packed_batch.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/error.h"

namespace steadytune {
namespace {

[[noreturn]] void refuse(const std::string& message) { throw Error("ERR_DATA", message); }

void check_ids(const char* what, const std::vector<int32_t>& ids, int64_t limit) {
  for (int32_t id : ids) {
    if (id < 0 || id >= limit) {
      refuse(std::string("a batch holds ") + what + " " + std::to_string(id) + ", but the model knows 0 to " +
             std::to_string(limit - 1));
    }
  }
}

void check_rows(const BatchRows& rows, const EncoderShape& shape) {
  const size_t tokens = rows.token_ids.size();
  if (rows.row_numbers.empty()) refuse("a batch holds no rows");
  if (rows.segment_ids.size() != tokens) refuse("a batch has another number of segment ids than of token ids");
  if (rows.row_offsets.size() != rows.row_numbers.size() + 1 || rows.row_offsets.front() != 0 ||
      static_cast<size_t>(rows.row_offsets.back()) != tokens) {
    refuse("a batch's row offsets do not span its tokens");
  }
  for (size_t row = 0; row + 1 < rows.row_offsets.size(); ++row) {
    const int64_t length = int64_t{rows.row_offsets[row + 1]} - rows.row_offsets[row];
    if (length < 1) refuse("row " + std::to_string(rows.row_numbers[row]) + " of a batch has no tokens");
    if (length > shape.max_positions) {
      refuse("row " + std::to_string(rows.row_numbers[row]) + " has " + std::to_string(length) +
             " tokens, but the model has " + std::to_string(shape.max_positions) + " positions");
    }
  }
  check_ids("token id", rows.token_ids, shape.vocabulary_size);
  // Without a table of segments they are ignored, or only compared with each other.
  if (shape.segment_types > 0) check_ids("segment id", rows.segment_ids, shape.segment_types);
}

at::Tensor int_tensor(const std::vector<int32_t>& values) { return at::tensor(values, at::kInt); }

/// One value per token, then 0 for each of the filler: a word, segment and position that every model has.
at::Tensor token_tensor(const std::vector<int32_t>& values, int64_t tokens) {
  at::Tensor padded = at::zeros({std::max(tokens, static_cast<int64_t>(values.size()))}, at::kInt);
  std::copy(values.begin(), values.end(), padded.mutable_data_ptr<int32_t>());
  return padded;
}

/// What a decoder reads: each row's tokens behind the start token, without the last one.
std::vector<int32_t> moved_ids(const BatchRows& rows, int64_t start_id) {
  std::vector<int32_t> moved(rows.token_ids.size());
  std::copy(rows.token_ids.begin(), rows.token_ids.end() - 1, moved.begin() + 1);
  for (size_t row = 0; row + 1 < rows.row_offsets.size(); ++row) {
    moved[rows.row_offsets[row]] = static_cast<int32_t>(start_id);
  }
  return moved;
}

at::Tensor label_tensor(const BatchRows& rows, const EncoderShape& shape) {
  if (const auto* classes = std::get_if<std::vector<int32_t>>(&rows.labels)) {
    if (shape.problem != Problem::classification) refuse("a batch brings class labels to a regression model");
    if (classes->size() != rows.row_numbers.size()) refuse("a batch has another number of labels than of rows");
    check_ids("label", *classes, shape.outputs);
    return int_tensor(*classes).to(at::kLong);
  }
  if (const auto* targets = std::get_if<std::vector<float>>(&rows.labels)) {
    if (shape.problem != Problem::regression) refuse("a batch brings scores to a classification model");
    if (targets->size() != rows.row_numbers.size()) refuse("a batch has another number of labels than of rows");
    for (float target : *targets) {
      if (!std::isfinite(target)) refuse("a batch holds a label that is not a finite number");
    }
    return at::tensor(*targets, at::kFloat);
  }
  return {};
}

/// `tokens` counts the filler.
void add_distances(PackedBatch& batch, const BatchRows& rows, int64_t tokens) {
  std::vector<int32_t> distances;
  std::vector<int32_t> distance_rows;
  std::vector<int32_t> places;
  std::vector<int32_t> of_summary;
  for (size_t row = 0; row + 1 < rows.row_offsets.size(); ++row) {
    const int32_t length = rows.row_offsets[row + 1] - rows.row_offsets[row];
    // The last token's distance to the one at place j is length - 1 - j.
    const auto first = static_cast<int32_t>(distances.size());
    for (int32_t place = 0; place <= length; ++place) of_summary.push_back(first + place);
    for (int32_t place = 0; place < 2 * length; ++place) {
      distances.push_back(length - place);
      distance_rows.push_back(rows.row_numbers[row]);
      places.push_back(place);
    }
  }
  const auto count = static_cast<int64_t>(rows.row_numbers.size());
  batch.distances = token_tensor(distances, 2 * tokens);
  batch.distance_rows = token_tensor(distance_rows, 2 * tokens);
  batch.distance_places = token_tensor(places, 2 * tokens);
  batch.summary_distances = token_tensor(of_summary, tokens + count);
  batch.summary_offsets = at::arange(count + 1, at::kInt);
}

}  // namespace

std::vector<at::Tensor*> PackedBatch::movable() {
  return {&token_ids,         &segment_ids, &decoder_ids,   &positions,       &position_ids,
          &token_rows,        &row_offsets, &row_numbers,   &row_zeros,       &summary_tokens,
          &summary_positions, &distances,   &distance_rows, &distance_places, &summary_distances,
          &summary_offsets,   &labels};
}

PackedBatch pack(const BatchRows& rows, const EncoderShape& shape, int64_t tokens) {
  check_rows(rows, shape);
  const auto count = static_cast<int64_t>(rows.row_numbers.size());
  std::vector<int32_t> positions(rows.token_ids.size());
  std::vector<int32_t> token_rows(rows.token_ids.size());
  for (int64_t row = 0; row < count; ++row) {
    for (int32_t token = rows.row_offsets[row]; token < rows.row_offsets[row + 1]; ++token) {
      positions[token] = token - rows.row_offsets[row];
      token_rows[token] = rows.row_numbers[row];
    }
  }
  PackedBatch batch;
  batch.token_ids = token_tensor(rows.token_ids, tokens);
  batch.segment_ids = token_tensor(rows.segment_ids, tokens);
  if (shape.decoder) batch.decoder_ids = token_tensor(moved_ids(rows, shape.decoder->start_id), tokens);
  batch.positions = token_tensor(positions, tokens);
  batch.position_ids = shape.position_offset == 0 ? batch.positions : batch.positions + shape.position_offset;
  batch.token_rows = token_tensor(token_rows, tokens);
  batch.row_offsets = int_tensor(rows.row_offsets);
  batch.host_row_offsets = batch.row_offsets;
  batch.row_numbers = int_tensor(rows.row_numbers);
  batch.row_zeros = at::zeros({count}, at::kInt);
  const at::Tensor first_tokens = batch.row_offsets.narrow(0, 0, count);
  batch.summary_tokens =
      shape.switches().summary_last ? batch.row_offsets.narrow(0, 1, count) - 1 : first_tokens.contiguous();
  batch.summary_positions = batch.summary_tokens - first_tokens;
  if (shape.family == Family::xlnet) add_distances(batch, rows, batch.tokens());
  batch.labels = label_tensor(rows, shape);
  return batch;
}

}  // namespace steadytune
