#pragma once

#include <c10/util/BFloat16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/activation.h"
#include "kernels/adamw.h"
#include "kernels/dropout.h"
#include "kernels/mixout.h"

/// The kernels as the operators (*.cpp) start them: plain pointers into the device's memory and a stream. Scalar is
/// float or c10::BFloat16. The files that define them (*.cu) know nothing of libtorch, whose headers a GPU compiler
/// would read anew for every GPU. All return at once; the error is that of the launch.
namespace steadytune::kernels::cuda {

/// A draw whose step and seed may be added to on the device.
struct DeviceDraw {
  DropoutDraw draw;
  /// {step, micro-batch, seed} or null.
  const int64_t* counter;
};

/// Where a token-wise mask is drawn: row and position of each token.
struct TokenMask {
  const int32_t* rows;
  const int32_t* positions;
  DeviceDraw draw;
};

/// [tokens, columns]
struct Shape {
  int64_t tokens;
  int64_t columns;
};

template <typename Scalar>
cudaError_t dropout(cudaStream_t stream, const Scalar* x, Scalar* y, const TokenMask& mask, const Shape& shape);

template <typename Scalar>
cudaError_t bias_activation(cudaStream_t stream, Activation activation, const Scalar* x, const float* bias, Scalar* y,
                            const TokenMask& mask, const Shape& shape);

/// Tokens that one block sums; sums of a kernel over tokens need [token_chunks(tokens), sums * columns] floats.
inline constexpr int64_t chunk_tokens = 16;
inline int64_t token_chunks(int64_t tokens) { return (tokens + chunk_tokens - 1) / chunk_tokens; }

/// `parts` is scratch for one sum per column, which `grad_bias` [columns] gets.
template <typename Scalar>
cudaError_t bias_activation_backward(cudaStream_t stream, Activation activation, const Scalar* grad_y, const Scalar* x,
                                     const float* bias, Scalar* grad_x, float* parts, float* grad_bias,
                                     const TokenMask& mask, const Shape& shape);

template <typename Scalar>
struct AddNorm {
  const Scalar* x;
  const float* bias;
  const Scalar* residual;
  const float* weight;
  const float* norm_bias;
  float eps;
  Scalar* y;
  Scalar* normalized;
  float* rstd;
};

/// A block holds a token's columns in shared memory.
inline constexpr int64_t most_norm_columns = 8192;

template <typename Scalar>
cudaError_t add_norm(cudaStream_t stream, const AddNorm<Scalar>& tensors, const TokenMask& mask, const Shape& shape);

template <typename Scalar>
struct AddNormBackward {
  const Scalar* grad_y;
  const Scalar* normalized;
  const float* rstd;
  const float* weight;
  /// Null without dropout: then it would equal grad_residual.
  Scalar* grad_x;
  Scalar* grad_residual;
  /// Scratch: [tokens, 2].
  float2* means;
  /// Scratch for three sums per column.
  float* parts;
  /// [3, columns]: of bias, weight and norm_bias.
  float* grad_vectors;
};

template <typename Scalar>
cudaError_t add_norm_backward(cudaStream_t stream, const AddNormBackward<Scalar>& tensors, const TokenMask& mask,
                              const Shape& shape);

/// Tables float32 [.., columns] and the row of each that a token takes; those of segments may be null.
struct Embedding {
  const float* word;
  const float* position;
  const float* segment;
  const int32_t* word_ids;
  const int32_t* position_ids;
  const int32_t* segment_ids;
  float word_scale;
};

template <typename Scalar>
struct Embed {
  Embedding embedding;
  const float* weight;
  const float* norm_bias;
  float eps;
  Scalar* y;
  float* normalized;
  float* rstd;
};

template <typename Scalar>
cudaError_t embed(cudaStream_t stream, const Embed<Scalar>& tensors, const TokenMask& mask, const Shape& shape);

template <typename Scalar>
struct EmbedBackward {
  const Scalar* grad_y;
  const float* normalized;
  const float* rstd;
  const float* weight;
  /// Scratch: [tokens, 2], [tokens, columns], and two sums per column.
  float2* means;
  float* grad_sum;
  float* parts;
  /// [2, columns]: of weight and norm_bias.
  float* grad_vectors;
};

template <typename Scalar>
cudaError_t embed_backward(cudaStream_t stream, const EmbedBackward<Scalar>& tensors, const TokenMask& mask,
                           const Shape& shape);

/// table[ids[t]] += scale grads[t] for every token in order.
cudaError_t scatter(cudaStream_t stream, float* table, const int32_t* ids, const float* grads, float scale,
                    const Shape& shape);

/// A packed batch as attention reads it.
struct AttentionBatch {
  /// [rows + 1], from 0; tokens behind the last one belong to no row.
  const int32_t* offsets;
  const int32_t* numbers;
  int64_t rows;
  int64_t tokens;
  int64_t heads;
  int64_t head_size;
  bool causal;
};

inline constexpr int64_t most_head_size = 128;

/// Queries [tokens, heads * head_size], and keys with the values behind them, [tokens, 2 * heads * head_size]: elements
/// from token to token each. Or the gradients of these.
template <typename Scalar>
struct AttentionTokens {
  Scalar* query;
  int64_t query_stride;
  Scalar* key_value;
  int64_t key_value_stride;
};

/// `output` [tokens, heads * head_size], `logsumexp` [heads, tokens].
template <typename Scalar>
cudaError_t attention(cudaStream_t stream, const AttentionBatch& batch, const DeviceDraw& draw,
                      const AttentionTokens<const Scalar>& tokens, Scalar* output, float* logsumexp);

/// `means` is scratch in the shape of `logsumexp`.
template <typename Scalar>
cudaError_t attention_backward(cudaStream_t stream, const AttentionBatch& batch, const DeviceDraw& draw,
                               const Scalar* grad_output, const AttentionTokens<const Scalar>& tokens,
                               const float* logsumexp, float* means, const AttentionTokens<Scalar>& grads);

/// Attention of one query per row: `query` and `output` [rows, heads * head_size], `key_value`
/// [tokens, 2 * heads * head_size], `logsumexp` [heads, rows].
template <typename Scalar>
struct SummaryAttention {
  AttentionBatch batch;
  /// [rows], the query's place in its row.
  const int32_t* positions;
  const Scalar* query;
  const Scalar* key_value;
};

template <typename Scalar>
cudaError_t summary_attention(cudaStream_t stream, const SummaryAttention<Scalar>& tensors, const DeviceDraw& draw,
                              Scalar* output, float* logsumexp);
template <typename Scalar>
cudaError_t summary_attention_backward(cudaStream_t stream, const SummaryAttention<Scalar>& tensors,
                                       const DeviceDraw& draw, const Scalar* grad_output, const float* logsumexp,
                                       Scalar* grad_query, Scalar* grad_key_value);

/// XLNet's attention: `query` [queries, h], `key` and `value` [tokens, h], `relative` [tokens + queries, h], `vectors`
/// [5, h]; h = heads * head_size.
template <typename Scalar>
struct RelativeAttention {
  /// By its keys.
  AttentionBatch batch;
  /// [rows + 1], from 0, of the tokens that ask; those behind the last one belong to no row.
  const int32_t* query_offsets;
  int64_t queries;
  /// [rows], the place in its row of the first token that asks.
  const int32_t* query_positions;
  /// [tokens]
  const int32_t* segments;
  const Scalar* query;
  const Scalar* key;
  const Scalar* value;
  const Scalar* relative;
  const float* vectors;
};

/// `output` [queries, h], `logsumexp` [heads, queries].
template <typename Scalar>
cudaError_t relative_attention(cudaStream_t stream, const RelativeAttention<Scalar>& tensors, const DeviceDraw& draw,
                               Scalar* output, float* logsumexp);

template <typename Scalar>
struct RelativeGradients {
  Scalar* query;
  Scalar* key;
  Scalar* value;
  Scalar* relative;
  /// [relative_query_tiles, 5, h]: parts to be added up.
  float* vectors;
  /// Scratch in the shape of `logsumexp`.
  float* means;
};

/// Tiles of queries that there are at most.
int64_t relative_query_tiles(int64_t queries, int64_t rows);

template <typename Scalar>
cudaError_t relative_attention_backward(cudaStream_t stream, const RelativeAttention<Scalar>& tensors,
                                        const DeviceDraw& draw, const Scalar* grad_output, const float* logsumexp,
                                        const RelativeGradients<Scalar>& grads);

/// `logits` and their gradients [rows, outputs]. One of `classes` and `scores` [rows] is null.
struct HeadLosses {
  const float* logits;
  const int64_t* classes;
  const float* scores;
  int64_t rows;
  int64_t outputs;
  float* loss;
  float* grad_logits;
};

cudaError_t head_losses(cudaStream_t stream, const HeadLosses& tensors);
/// scaled [rows, outputs] = grad_loss [] grad_logits, and `sums` [outputs] over its rows.
cudaError_t head_scale(cudaStream_t stream, const float* grad_loss, const float* grad_logits, int64_t rows,
                       int64_t outputs, float* scaled, float* sums);

/// How the parameters that are stacked in one matrix draw their masks.
inline constexpr int most_mixout_parts = 8;
struct MixoutMask {
  MixoutDraw draws[most_mixout_parts];
  int64_t parts;
  /// Rows of all parts together, and columns.
  int64_t rows;
  int64_t columns;
  /// One mask over the columns for all rows of a part.
  bool column;
  const int64_t* counter;
  /// In the place of the drawn mask: [rows, columns], or [columns] per column. Factors are then 0 and `given_scale`.
  const bool* given;
  float given_scale;
};

template <typename Scalar>
cudaError_t mixout(cudaStream_t stream, const MixoutMask& mask, const float* values, const float* target,
                   Scalar* output);
template <typename Scalar>
cudaError_t mixout_backward(cudaStream_t stream, const MixoutMask& mask, const Scalar* grad_output, float* grad_values);

/// Some elements of one segment.
struct alignas(16) Chunk {
  int64_t begin;
  int32_t count;
  int32_t segment;
};

/// Most elements of a chunk. Chunks count from the begin of their segment, so that sums do not depend on the grid.
inline constexpr int64_t chunk_elements = 4096;

/// The arena's segments and scratch to cut them into chunks on the device, where alone the bounds are known.
struct SegmentTable {
  /// [segments, 2]
  const int64_t* bounds;
  /// [segments] or null: no segment is frozen.
  const int32_t* flags;
  int64_t segments;
  /// [segments + 1]: the first chunk of each segment, and the number of all.
  int32_t* first_chunk;
  /// [most_chunks]
  Chunk* chunks;
  /// Segments do not overlap, so there are no more than these.
  int64_t most_chunks;
};

inline int64_t most_chunks(int64_t elements, int64_t segments) { return elements / chunk_elements + segments; }

/// Numbers of a step: those of the schedule are read from memory where there is a pointer.
struct AdamwSchedule {
  double lr;
  double beta1;
  double beta2;
  double eps;
  double max_grad_norm;
  int64_t step;
  bool bias_correction;
  const double* squared_norm;
  const double* device_lr;
  const int64_t* counter;
  const float* loss;
  const double* double_loss;
  int64_t* diverged_at;
};

struct AdamwBuffers {
  float* values;
  const float* gradients;
  float* moment1;
  float* moment2;
  /// These two may be null.
  const float* start;
  c10::BFloat16* compute;
  /// [segments, 2]
  const float* settings;
  /// Scratch: [segments], and one number.
  AdamwCoefficients* coefficients;
  int32_t* stopped;
};

cudaError_t adamw(cudaStream_t stream, const AdamwBuffers& buffers, const AdamwSchedule& schedule,
                  const SegmentTable& table);

/// `parts` [most_chunks] is scratch.
cudaError_t squared_norm(cudaStream_t stream, const float* gradients, const SegmentTable& table, double* parts,
                         double* result);
/// `result` [segments]
cudaError_t segment_squared_distance(cudaStream_t stream, const float* values, const float* start,
                                     const SegmentTable& table, double* parts, double* result);

cudaError_t normal(cudaStream_t stream, float* x, int64_t count, double std, PhiloxKey key);

}  // namespace steadytune::kernels::cuda
