#pragma once

#include <c10/util/BFloat16.h>

#include <cstdint>
#include <type_traits>

#include "kernels/activation.h"
#include "kernels/adamw.h"
#include "kernels/dropout.h"
#include "kernels/mixout.h"

/// The inner loops of the CPU operators. They are compiled once per instruction set (vector_<set>.cpp)
/// and reached through a table, so that the code around them (checks, threads, dispatch) is built only once and no
/// inline function of libtorch or of the standard library is ever compiled for instructions that the machine may lack.
namespace steadytune::kernels::cpu {

struct Range {
  int64_t begin;
  int64_t end;
};

/// One row of packed attention, as both directions see it. Scalar is float or c10::BFloat16.
template <typename Scalar>
struct AttentionRow {
  /// [length, heads * head_size], tokens `query_stride` elements apart.
  const Scalar* query;
  int64_t query_stride;
  /// [length, 2 * heads * head_size], keys in front of values, tokens `key_value_stride` elements apart.
  const Scalar* key_value;
  int64_t key_value_stride;
  int64_t length;
  int64_t heads;
  int64_t head_size;
  /// Number of the row in the data set.
  uint32_t row;
  /// Query i sees keys 0 .. i alone.
  bool causal;
};

template <typename Scalar>
struct AttentionForward {
  AttentionRow<Scalar> row;
  /// [length, heads * head_size]
  Scalar* output;
  /// [heads, logsumexp_stride], at the row's first token.
  float* logsumexp;
  int64_t logsumexp_stride;
};

template <typename Scalar>
struct AttentionBackward {
  AttentionRow<Scalar> row;
  /// [length, heads * head_size]
  const Scalar* grad_output;
  /// [heads, logsumexp_stride], at the row's first token.
  const float* logsumexp;
  int64_t logsumexp_stride;
  /// They lie as what they are the gradients of.
  Scalar* grad_query;
  Scalar* grad_key_value;
};

/// A row of which one query alone asks.
template <typename Scalar>
struct SummaryRow {
  /// [heads * head_size]
  const Scalar* query;
  /// [length, 2 * heads * head_size]: key and value of the row's first token.
  const Scalar* key_value;
  int64_t length;
  int64_t heads;
  int64_t head_size;
  /// Number of the row in the data set.
  uint32_t row;
  /// The query's place in the row.
  uint32_t position;
};

template <typename Scalar>
struct SummaryForward {
  SummaryRow<Scalar> row;
  /// [heads * head_size]
  Scalar* output;
  /// [heads, logsumexp_stride], at this row.
  float* logsumexp;
  int64_t logsumexp_stride;
};

template <typename Scalar>
struct SummaryBackward {
  SummaryRow<Scalar> row;
  const Scalar* grad_output;
  const float* logsumexp;
  int64_t logsumexp_stride;
  Scalar* grad_query;
  Scalar* grad_key_value;
};

/// One row of XLNet's attention, of which some tokens ask; [.., heads * head_size] everything but the segments.
template <typename Scalar>
struct RelativeRow {
  const Scalar* query;
  const Scalar* key;
  const Scalar* value;
  /// Query i and key j have number queries - i + j.
  const Scalar* relative;
  /// Of content, position and segment; then the two segments.
  const float* vectors;
  /// [length]
  const int32_t* segments;
  int64_t queries;
  int64_t length;
  int64_t heads;
  int64_t head_size;
  /// Number of the row in the data set.
  uint32_t row;
  /// The first query's place in the row.
  int64_t position;
};

template <typename Scalar>
struct RelativeForward {
  RelativeRow<Scalar> row;
  Scalar* output;
  /// [heads, logsumexp_stride], at the row's first query.
  float* logsumexp;
  int64_t logsumexp_stride;
};

template <typename Scalar>
struct RelativeBackward {
  RelativeRow<Scalar> row;
  const Scalar* grad_output;
  const float* logsumexp;
  int64_t logsumexp_stride;
  Scalar* grad_query;
  Scalar* grad_key;
  Scalar* grad_value;
  Scalar* grad_relative;
  /// Of this row alone.
  float* grad_vectors;
};

/// Where a token-wise mask is drawn: row and position of each token.
struct TokenMask {
  const int32_t* rows;
  const int32_t* positions;
  const DropoutDraw& draw;
};

/// Some tokens of dropout_add_norm, [tokens, columns].
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

template <typename Scalar>
struct AddNormBackward {
  const Scalar* grad_y;
  const Scalar* normalized;
  const float* rstd;
  const float* weight;
  /// Null without dropout: then it would equal grad_residual.
  Scalar* grad_x;
  Scalar* grad_residual;
  /// Sums over these tokens alone, [columns] each.
  float* grad_bias;
  float* grad_weight;
  float* grad_norm_bias;
};

/// One pointer for each table of embeddings; segment may be null.
template <typename Pointer>
struct EmbeddingTables {
  Pointer word;
  Pointer position;
  Pointer segment;
};

/// The tables' rows of some tokens.
struct EmbeddingRows : EmbeddingTables<const int32_t*> {
  EmbeddingRows from(int64_t token) const {
    return {{word + token, position + token, segment == nullptr ? nullptr : segment + token}};
  }
};

/// Some tokens of embed, [tokens, columns].
template <typename Scalar>
struct Embed {
  EmbeddingTables<const float*> tables;
  EmbeddingRows rows;
  float word_scale;
  const float* weight;
  const float* norm_bias;
  float eps;
  Scalar* y;
  float* normalized;
  float* rstd;
};

template <typename Scalar>
struct EmbedBackward {
  const Scalar* grad_y;
  const float* normalized;
  const float* rstd;
  const float* weight;
  /// Of the sum of the tables' rows.
  float* grad_sum;
  /// Sums over these tokens alone, [columns] each.
  float* grad_weight;
  float* grad_norm_bias;
};

/// `draw` with threshold 0 means no dropout.
template <typename Scalar>
struct ScalarKernels {
  /// Floats of scratch, 64-byte aligned, that attention over rows of at most `length` tokens needs.
  int64_t (*attention_forward_scratch)(int64_t length, int64_t head_size);
  int64_t (*attention_backward_scratch)(int64_t length, int64_t head_size);
  /// Tokens [0, count) of x [count, columns].
  void (*dropout)(const Scalar* x, Scalar* y, const int32_t* rows, const int32_t* positions, int64_t count,
                  int64_t columns, const DropoutDraw& draw);
  /// Some heads of one row, and some queries of them.
  void (*attention_forward)(const AttentionForward<Scalar>& row, Range heads, Range queries, const DropoutDraw& draw,
                            float* scratch);
  /// Some heads of one row.
  void (*attention_backward)(const AttentionBackward<Scalar>& row, Range heads, const DropoutDraw& draw,
                             float* scratch);
  /// Some heads of one row.
  void (*summary_attention)(const SummaryForward<Scalar>& row, Range heads, const DropoutDraw& draw, float* scratch);
  void (*summary_attention_backward)(const SummaryBackward<Scalar>& row, Range heads, const DropoutDraw& draw,
                                     float* scratch);
  /// Some heads of one row, and some queries of them, counted from the first that asks.
  void (*relative_attention)(const RelativeForward<Scalar>& row, Range heads, Range queries, const DropoutDraw& draw,
                             float* scratch);
  void (*relative_attention_backward)(const RelativeBackward<Scalar>& row, Range heads, const DropoutDraw& draw,
                                      float* scratch);
  /// The following take `count` tokens of `columns`. `grad_bias` [columns] becomes the sum over these tokens alone.
  void (*bias_activation)(Activation activation, const Scalar* x, const float* bias, Scalar* y, const TokenMask& mask,
                          int64_t count, int64_t columns);
  void (*bias_activation_backward)(Activation activation, const Scalar* grad_y, const Scalar* x, const float* bias,
                                   Scalar* grad_x, float* grad_bias, const TokenMask& mask, int64_t count,
                                   int64_t columns);
  /// `scratch` has room for `columns`.
  void (*add_norm)(const AddNorm<Scalar>& tokens, const TokenMask& mask, int64_t count, int64_t columns,
                   float* scratch);
  void (*add_norm_backward)(const AddNormBackward<Scalar>& tokens, const TokenMask& mask, int64_t count,
                            int64_t columns);
  void (*embed)(const Embed<Scalar>& tokens, const TokenMask& mask, int64_t count, int64_t columns);
  void (*embed_backward)(const EmbedBackward<Scalar>& tokens, const TokenMask& mask, int64_t count, int64_t columns);
  /// Sums over `count` tokens of x for each column.
  void (*column_sums)(const Scalar* x, int64_t count, int64_t columns, float* sums);
  /// With gradients in this dtype. `start` may be null: decay towards zero. So may `compute`, the copy of the new
  /// values in bfloat16.
  void (*adamw)(const AdamwCoefficients& coefficients, float* values, const Scalar* gradients, float* moment1,
                float* moment2, const float* start, c10::BFloat16* compute, int64_t count);
  /// Sum of squares, in double.
  double (*squared_sum)(const Scalar* values, int64_t count);
  /// `count` elements of a weight, by the factors of their mask.
  void (*mixout)(const float* values, const float* target, const float* factors, Scalar* output, int64_t count);
  void (*mixout_backward)(const Scalar* grad_output, const float* factors, float* grad_values, int64_t count);
};

struct VectorKernels {
  const char* name;
  ScalarKernels<float> float32;
  ScalarKernels<c10::BFloat16> bfloat16;
  /// Likewise for the attention of summary tokens and for XLNet's.
  int64_t (*summary_attention_scratch)(int64_t length, int64_t head_size);
  int64_t (*relative_attention_scratch)(int64_t length, int64_t head_size);
  int64_t (*relative_attention_backward_scratch)(int64_t length, int64_t head_size);
  /// Factors of the elements [first, first + count) of one parameter; `first` is a multiple of 8.
  void (*mixout_factors)(const MixoutDraw& draw, int64_t first, int64_t count, float* factors);
  /// Sum of squared differences, in double.
  double (*squared_distance)(const float* values, const float* start, int64_t count);

  template <typename Scalar>
  const ScalarKernels<Scalar>& of() const {
    if constexpr (std::is_same_v<Scalar, float>) {
      return float32;
    } else {
      return bfloat16;
    }
  }
};

extern const VectorKernels default_kernels;
extern const VectorKernels avx2_kernels;
extern const VectorKernels avx512_kernels;
extern const VectorKernels avx512_bf16_kernels;

/// The table of this process, chosen at the first call.
const VectorKernels& vector_kernels();

/// Queries that attention handles at a time: their scores against all keys are the only [queries, length] buffers, and
/// stay within the second-level cache.
inline constexpr int64_t max_attention_tile = 64;

inline int64_t attention_tile(int64_t length) {
  constexpr int64_t smallest = 8;
  constexpr int64_t scores = max_attention_tile * 512;
  const int64_t fitting = scores / (length > 0 ? length : 1);
  return fitting < smallest ? smallest : (fitting > max_attention_tile ? max_attention_tile : fitting);
}

}  // namespace steadytune::kernels::cpu
