#include <ATen/core/Tensor.h>
#include <torch/library.h>

/// The operators of steadytune. Each stands here once; every device implements all of them, and autograd.cpp joins the
/// differentiable ones to their backward. Nothing is drawn from a generator: randomness is a function of the arguments
/// (philox.h).
///
/// Shapes: N tokens, C columns, T tokens of a packed batch, B rows, h hidden size, S segments of the arena.
///
/// `counter`, int64 [3] on the device of the tokens, is added to what a mask is drawn by: its numbers to `step`,
/// `micro_batch` and `seed`. A captured CUDA graph gets its steps that way: arguments are those of the capture, while
/// memory is read anew at each replay. No operator reads a CUDA tensor on the host or waits for the device.
TORCH_LIBRARY(steadytune, m) {
  // Inverted dropout on x [N, C], float32 or bfloat16. `rows` [N] and `positions` [N], int32: the data set's row of
  // each token and the token's place in it. With p = 0 the answer is x itself. The backward is the same operator on the
  // gradient.
  m.def(
      "dropout(Tensor x, Tensor rows, Tensor positions, float p, int seed, int layer, int site, int step, "
      "Tensor? counter=None) -> Tensor");

  // softmax(Q K^T / sqrt(d)) V for every row and head by itself, with dropout on the probabilities.
  // `qkv` [T, 3h], float32 or bfloat16: query, key, value of a token side by side, each [heads, d]. `row_offsets` int32
  // [B + 1] on the device of qkv, from 0 to T; empty rows are allowed. `row_numbers` int32 [B]. `causal`: the query at
  // position i of its row sees the keys at 0 .. i alone. On CUDA heads have at most 128 columns and the offsets may end
  // before T: the tokens behind them are filler, with output, logarithm and gradient 0.
  // Returns the output [T, h] and the logarithm of each softmax's denominator, float32 [heads, T], for the backward.
  m.def(
      "packed_attention(Tensor qkv, Tensor row_offsets, Tensor row_numbers, int heads, bool causal, float p, int seed, "
      "int layer, int site, int step, Tensor? counter=None) -> (Tensor output, Tensor logsumexp)");
  m.def(
      "packed_attention_backward(Tensor grad_output, Tensor qkv, Tensor output, Tensor logsumexp, Tensor row_offsets, "
      "Tensor row_numbers, int heads, bool causal, float p, int seed, int layer, int site, int step, "
      "Tensor? counter=None) -> Tensor");

  // The same with the queries of one sequence of tokens, `query` [T, h], and the keys and values of another with rows
  // of the same lengths, `key_value` [T, 2h].
  m.def(
      "cross_attention(Tensor query, Tensor key_value, Tensor row_offsets, Tensor row_numbers, int heads, float p, "
      "int seed, int layer, int site, int step, Tensor? counter=None) -> (Tensor output, Tensor logsumexp)");
  m.def(
      "cross_attention_backward(Tensor grad_output, Tensor query, Tensor key_value, Tensor logsumexp, "
      "Tensor row_offsets, Tensor row_numbers, int heads, float p, int seed, int layer, int site, int step, "
      "Tensor? counter=None) -> (Tensor grad_query, Tensor grad_key_value)");

  // The same with one query for each row, `query` [B, h] at `positions` of its row, int32 [B]; `key_value` [T, 2h].
  // Masks are those that packed_attention draws for that query. Empty rows leave what they would return undefined;
  // filler tokens have gradients of 0.
  // Returns the output [B, h] and the logarithm of each softmax's denominator, float32 [heads, B].
  m.def(
      "summary_attention(Tensor query, Tensor key_value, Tensor row_offsets, Tensor row_numbers, Tensor positions, "
      "int heads, float p, int seed, int layer, int site, int step, Tensor? counter=None) "
      "-> (Tensor output, Tensor logsumexp)");
  m.def(
      "summary_attention_backward(Tensor grad_output, Tensor query, Tensor key_value, Tensor logsumexp, "
      "Tensor row_offsets, Tensor row_numbers, Tensor positions, int heads, float p, int seed, int layer, int site, "
      "int step, Tensor? counter=None) -> (Tensor grad_query, Tensor grad_key_value)");

  // XLNet's: the score of query i and key j of a row is (q_i + u) k_j + (q_i + v) r_(i - j) + (q_i + w) s, over
  // sqrt(d), for every head; r_(i - j) is the relative key of their distance, s one of two vectors, for keys of the
  // query's own segment and of another. Some of the row's tokens ask, one behind the other: all of them or one. `query`
  // [Q, h], and `key`, `value` [T, h]. `relative` [T + Q, h]: n + c of a row of n tokens of which c ask; query i of
  // these and key j have number c - i + j (the first is no pair's). `vectors` float32 [5, h]: u, v, w, s of the own and
  // of another segment. `segment_ids` int32 [T]. `query_offsets` int32 [B + 1], from 0 to Q, and `query_positions`
  // int32 [B], the place in its row of the first token that asks. The rest, masks and results as in packed_attention;
  // the gradient of `vectors` is float32.
  m.def(
      "relative_attention(Tensor query, Tensor key, Tensor value, Tensor relative, Tensor vectors, Tensor segment_ids, "
      "Tensor query_offsets, Tensor query_positions, Tensor row_offsets, Tensor row_numbers, int heads, float p, "
      "int seed, int layer, int site, int step, Tensor? counter=None) -> (Tensor output, Tensor logsumexp)");
  m.def(
      "relative_attention_backward(Tensor grad_output, Tensor query, Tensor key, Tensor value, Tensor relative, "
      "Tensor vectors, Tensor logsumexp, Tensor segment_ids, Tensor query_offsets, Tensor query_positions, "
      "Tensor row_offsets, Tensor row_numbers, int heads, float p, int seed, int layer, int site, int step, "
      "Tensor? counter=None) -> (Tensor grad_query, Tensor grad_key, Tensor grad_value, Tensor grad_relative, "
      "Tensor grad_vectors)");

  // dropout(act(x + bias)) on a matrix product x [T, C] that was made without its bias. float32 or bfloat16, the bias
  // float32 [C], all arithmetic float32. `activation`: Activation (activation.h). Masks and `rows`, `positions` as in
  // dropout. The backward takes x again, and gives `grad_bias` in float32: the sum over tokens of grad_x before it is
  // rounded.
  m.def(
      "bias_activation(Tensor x, Tensor bias, int activation, Tensor rows, Tensor positions, float p, int seed, "
      "int layer, int site, int step, Tensor? counter=None) -> Tensor");
  m.def(
      "bias_activation_backward(Tensor grad_y, Tensor x, Tensor bias, int activation, Tensor rows, Tensor positions, "
      "float p, int seed, int layer, int site, int step, Tensor? counter=None) -> (Tensor grad_x, Tensor grad_bias)");

  // With h = residual + dropout(x + bias), all [T, C] in one dtype: y = LayerNorm(h) weight + norm_bias, the three
  // vectors float32 [C]. Returns for the backward also normalized = (h - mean) rstd in the dtype of x, and rstd float32
  // [T]. The backward's last three results are float32 [C]. With p = 0 its grad_x and grad_residual are one tensor: who
  // writes into one of them must be done with the other.
  m.def(
      "dropout_add_norm(Tensor x, Tensor bias, Tensor residual, Tensor weight, Tensor norm_bias, float eps, "
      "Tensor rows, Tensor positions, float p, int seed, int layer, int site, int step, Tensor? counter=None) "
      "-> (Tensor y, Tensor normalized, Tensor rstd)");
  m.def(
      "dropout_add_norm_backward(Tensor grad_y, Tensor normalized, Tensor rstd, Tensor weight, Tensor rows, "
      "Tensor positions, float p, int seed, int layer, int site, int step, Tensor? counter=None) "
      "-> (Tensor grad_x, Tensor grad_residual, Tensor grad_bias, Tensor grad_weight, Tensor grad_norm_bias)");

  // dropout(LayerNorm(word_scale word[word_ids] + segment[segment_ids] + position[position_ids]) weight + norm_bias),
  // [T, C] in `dtype` (float32 or bfloat16); tables float32 [.., C], ids int32 [T], the two vectors float32 [C].
  // Returns for the backward also normalized, float32 [T, C], and rstd, float32 [T]. The backward adds the gradients of
  // the tables' rows to those tables' gradients that are given, each row's tokens in their order, and returns those of
  // the two vectors, float32 [C].
  m.def(
      "embed(Tensor word, Tensor position, Tensor? segment, Tensor word_ids, Tensor position_ids, Tensor? segment_ids, "
      "float word_scale, Tensor weight, Tensor norm_bias, float eps, ScalarType dtype, Tensor rows, Tensor positions, "
      "float p, int seed, int layer, int site, int step, Tensor? counter=None) "
      "-> (Tensor y, Tensor normalized, Tensor rstd)");
  m.def(
      "embed_backward(Tensor grad_y, Tensor normalized, Tensor rstd, Tensor weight, Tensor word_ids, "
      "Tensor position_ids, Tensor? segment_ids, float word_scale, Tensor(a!)? grad_word, Tensor(b!)? grad_position, "
      "Tensor(c!)? grad_segment, Tensor rows, Tensor positions, float p, int seed, int layer, int site, int step, "
      "Tensor? counter=None) -> (Tensor grad_weight, Tensor grad_norm_bias)");

  // A head with its loss: pooled = dropout(act(x dense^T + dense_bias)), logits = pooled output^T + output_bias, of
  // summary tokens x [B, h] with matrices [C, h] and [outputs, C]; all float32. `activation`, masks, `rows` and
  // `positions` as in bias_activation. `labels` [B]: classes, int64, whose loss is the cross entropy, or scores,
  // float32, for a single output, whose loss is the squared error. `loss` [] is the sum over rows, and `grad_logits`
  // [B, outputs] its gradient; without labels both are 0. `widened` = x dense^T [B, C] is for the backward.
  // The backward takes the gradient of the loss, float32 [], and multiplies `grad_logits` by it. Products with x and
  // pooled are left to the caller: dense has the gradient grad_widened^T x, output scaled^T pooled, and x
  // grad_widened dense.
  m.def(
      "head_loss(Tensor x, Tensor dense, Tensor dense_bias, Tensor output, Tensor output_bias, Tensor? labels, "
      "int activation, Tensor rows, Tensor positions, float p, int seed, int layer, int site, int step, "
      "Tensor? counter=None) -> (Tensor widened, Tensor pooled, Tensor logits, Tensor loss, Tensor grad_logits)");
  m.def(
      "head_loss_backward(Tensor grad_loss, Tensor grad_logits, Tensor widened, Tensor dense_bias, Tensor output, "
      "int activation, Tensor rows, Tensor positions, float p, int seed, int layer, int site, int step, "
      "Tensor? counter=None) "
      "-> (Tensor scaled, Tensor grad_widened, Tensor grad_dense_bias, Tensor grad_output_bias)");

  // Sums over all tokens of x [T, C], float32 or bfloat16: float32 [C].
  m.def("column_sums(Tensor x) -> Tensor");

  // Mixout of a weight [out, in], float32, with its target, in `dtype` (float32 or bfloat16). The matrix may be several
  // parameters of equal size stacked: `p` has one probability for each, and the i-th draws under `site` + i. `column`:
  // one mask over the columns, repeated for every row, instead of one per element. `micro_batch`: the part of the step
  // that the forward pass is for. `mask`, bool or float32 and in the place of the drawn one, has a value that is not 0
  // where the target stands in: [out, in], or [1, in] per column, for a single parameter, whose p is then not rounded.
  // The gradient of the weight is that of the output times the mask's factor, or without `exact_gradient` without the
  // factor's 1 / (1 - p), as in the paper's released code.
  m.def(
      "mixout(Tensor values, Tensor target, Tensor? mask, float[] p, bool column, bool exact_gradient, "
      "ScalarType dtype, int seed, int layer, int site, int step, int micro_batch, Tensor? counter=None) -> Tensor");
  m.def(
      "mixout_backward(Tensor grad_output, Tensor? mask, float[] p, bool column, bool exact_gradient, int seed, "
      "int layer, int site, int step, int micro_batch, Tensor? counter=None) -> Tensor");

  // One AdamW step over the arena's flat float32 buffers, in place. `bounds` int64 [S, 2], as `settings` and `flags` on
  // the device of the buffers: begin and end of each segment, of which none overlap and some may be empty; elements
  // outside all segments do not change. `settings` float32 [S, 2]: lr_scale, weight_decay. `flags`
  // int32 [S]: bits of SegmentFlag (adamw.h). `squared_norm` float64 []: of all gradients, from the operator below;
  // when it is not finite nothing changes. `step` counts from 1. Without bias correction this is BertAdam.
  // `max_grad_norm` = 0 turns clipping off. `compute`, bfloat16 and as long as `values`, takes the new values rounded;
  // where a value does not change its copy is not written.
  m.def(
      "adamw_(Tensor(a!) values, Tensor gradients, Tensor(b!) moment1, Tensor(c!) moment2, Tensor? start, "
      "Tensor bounds, Tensor settings, Tensor flags, Tensor squared_norm, float lr, float beta1, float beta2, "
      "float eps, bool bias_correction, int step, float max_grad_norm, Tensor(d!)? compute=None) -> ()");

  // The same with what changes from step to step read from the device: `lr` float64 [], the step number from `counter`,
  // and `loss` float32 or float64 []. `diverged_at` int64 [] is 0 until a step's loss or squared norm is not finite,
  // which makes it that step's number; from then on no step changes anything.
  m.def(
      "adamw_scheduled_(Tensor(a!) values, Tensor gradients, Tensor(b!) moment1, Tensor(c!) moment2, Tensor? start, "
      "Tensor bounds, Tensor settings, Tensor flags, Tensor squared_norm, Tensor loss, Tensor lr, Tensor counter, "
      "Tensor(d!) diverged_at, float beta1, float beta2, float eps, bool bias_correction, float max_grad_norm, "
      "Tensor(e!)? compute=None) -> ()");

  // Sum of squares over all segments that are not frozen, float64 [].
  m.def("squared_norm(Tensor gradients, Tensor bounds, Tensor flags) -> Tensor");

  // Squared L2 distance between two buffers by segment, float64 [S].
  m.def("segment_squared_distance(Tensor values, Tensor start, Tensor bounds) -> Tensor");

  // Fills x, float32 and contiguous, with N(0, std^2); element i depends on i and the key alone. `stream`: Stream of
  // philox.h.
  m.def("normal_(Tensor(a!) x, float std, int seed, int stream, int layer, int site) -> ()");
}

// ATen's own sum is as good as any on a GPU; on the CPU its sum of bfloat16 over rows runs on one thread.
TORCH_LIBRARY_IMPL(steadytune, CUDA, m) {
  m.impl("column_sums", [](const at::Tensor& x) { return x.sum(0, false, at::kFloat); });
}
