#include "core/operator_profile.h"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "kernels/adamw.h"

namespace steadytune {
namespace {

thread_local OperatorProfile* observing = nullptr;

double seconds_between(std::chrono::steady_clock::time_point begin, std::chrono::steady_clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

std::string dtype_name(at::ScalarType dtype) {
  if (dtype == at::kFloat) return "float32";
  if (dtype == at::kBFloat16) return "bfloat16";
  return c10::toString(dtype);
}

/// The arguments of a call under their names in the operator's schema.
class Arguments {
 public:
  Arguments(const c10::FunctionSchema& schema, c10::ArrayRef<const c10::IValue> values)
      : schema_(schema), values_(values) {}

  size_t size() const { return std::min(values_.size(), schema_.arguments().size()); }
  const c10::IValue& value(size_t index) const { return values_[index]; }
  const std::string& name(size_t index) const { return schema_.arguments()[index].name(); }

  bool written(size_t index) const {
    const c10::AliasInfo* alias = schema_.arguments()[index].alias_info();
    return alias != nullptr && alias->isWrite();
  }
  /// A place for the result, whose old content does not matter.
  bool overwritten(size_t index) const { return written(index) && schema_.arguments()[index].kwarg_only(); }

  bool has(const char* name) const { return find(name).has_value(); }
  const c10::IValue& get(const char* name) const { return values_[*find(name)]; }
  at::Tensor tensor(const char* name) const {
    const std::optional<size_t> index = find(name);
    return index && values_[*index].isTensor() ? values_[*index].toTensor() : at::Tensor();
  }

 private:
  std::optional<size_t> find(const char* name) const {
    for (size_t i = 0; i < size(); ++i) {
      if (schema_.arguments()[i].name() == name) return i;
    }
    return std::nullopt;
  }

  const c10::FunctionSchema& schema_;
  c10::ArrayRef<const c10::IValue> values_;
};

/// Schemas by name and overload: finding one takes a lock. Null for what is recorded but no operator, such as a step of
/// autograd.
const c10::FunctionSchema* schema_of(const at::RecordFunction& function) {
  thread_local std::unordered_map<std::string, const c10::FunctionSchema*> found;
  const std::optional<c10::OperatorName> name = function.operator_name();
  if (!name) return nullptr;
  const auto [entry, is_new] = found.try_emplace(name->name + "." + name->overload_name, nullptr);
  if (is_new) {
    const auto handle = c10::Dispatcher::singleton().findSchema(*name);
    if (handle) entry->second = &handle->schema();
  }
  return entry->second;
}

template <typename Body>
void for_each_tensor(const c10::IValue& value, const Body& body) {
  if (value.isTensor() && value.toTensor().defined()) body(value.toTensor());
  if (!value.isTensorList()) return;
  for (const at::Tensor& tensor : value.toTensorVector()) {
    if (tensor.defined()) body(tensor);
  }
}

const void* memory_of(const at::Tensor& tensor) {
  return tensor.has_storage() ? tensor.storage().data() : tensor.unsafeGetTensorImpl();
}

double bytes_of(const at::Tensor& tensor) { return static_cast<double>(tensor.nbytes()); }

/// Elements of the segments that are not frozen, and the bytes of their gradients.
struct TrainedElements {
  double count = 0;
  double gradient_bytes = 0;

  TrainedElements(const at::Tensor& bounds, const at::Tensor& flags) {
    const auto bound = bounds.accessor<int64_t, 2>();
    for (int64_t i = 0; i < bounds.size(0); ++i) {
      const int32_t flag = flags.defined() ? flags.const_data_ptr<int32_t>()[i] : 0;
      if ((flag & segment_frozen) != 0) continue;
      const auto elements = static_cast<double>(bound[i][1] - bound[i][0]);
      count += elements;
      gradient_bytes += elements * ((flag & segment_gradient_bfloat16) != 0 ? 2 : 4);
    }
  }
};

/// Pairs of a query with a key that it sees.
double attended_pairs(const at::Tensor& query_offsets, const at::Tensor& row_offsets, bool causal) {
  const int32_t* query = query_offsets.const_data_ptr<int32_t>();
  const int32_t* key = row_offsets.const_data_ptr<int32_t>();
  double pairs = 0;
  for (int64_t row = 0; row + 1 < row_offsets.numel(); ++row) {
    const double queries = query[row + 1] - query[row];
    const double keys = key[row + 1] - key[row];
    pairs += causal ? keys * (keys + 1) / 2 : queries * keys;
  }
  return pairs;
}

double product_flop(const at::Tensor& left, const at::Tensor& right) {
  const double batches = left.dim() == 3 ? static_cast<double>(left.size(0)) : 1;
  return 2 * batches * static_cast<double>(left.size(-2)) * static_cast<double>(left.size(-1)) *
         static_cast<double>(right.size(-1));
}

/// Empty for operators whose arithmetic is not counted.
std::optional<double> flop_of(std::string_view name, const Arguments& arguments) {
  if (name == "aten::mm" || name == "aten::bmm") {
    return product_flop(arguments.value(0).toTensor(), arguments.value(1).toTensor());
  }
  if (name == "aten::addmm" || name == "aten::addmm_" || name == "aten::baddbmm" || name == "aten::baddbmm_") {
    return product_flop(arguments.value(1).toTensor(), arguments.value(2).toTensor());
  }
  const bool attention = name == "steadytune::packed_attention";
  if (attention || name == "steadytune::packed_attention_backward") {
    const at::Tensor offsets = arguments.tensor("row_offsets");
    const double pairs = attended_pairs(offsets, offsets, arguments.get("causal").toBool());
    const auto hidden = static_cast<double>(arguments.tensor("qkv").size(1)) / 3;
    // Two products forward and four backward; the scores that the backward makes anew are not counted.
    return (attention ? 4 : 8) * pairs * hidden;
  }
  const bool cross = name == "steadytune::cross_attention";
  if (cross || name == "steadytune::cross_attention_backward") {
    const at::Tensor offsets = arguments.tensor("row_offsets");
    const auto hidden = static_cast<double>(arguments.tensor("query").size(1));
    return (cross ? 4 : 8) * attended_pairs(offsets, offsets, false) * hidden;
  }
  const bool relative = name == "steadytune::relative_attention";
  if (relative || name == "steadytune::relative_attention_backward") {
    const double pairs = attended_pairs(arguments.tensor("query_offsets"), arguments.tensor("row_offsets"), false);
    const auto hidden = static_cast<double>(arguments.tensor("query").size(1));
    // The product with the relative keys is a third one, with two of its own backward.
    return (relative ? 6 : 12) * pairs * hidden;
  }
  const bool summary = name == "steadytune::summary_attention";
  if (summary || name == "steadytune::summary_attention_backward") {
    // One query a row, which sees all of the row's tokens.
    return (summary ? 4 : 8) * static_cast<double>(arguments.tensor("key_value").numel()) / 2;
  }
  return std::nullopt;
}

/// Bytes that a call touches of one of its tensors: all, but of tables no more rows than there are ids.
double touched_bytes(std::string_view name, const Arguments& arguments, size_t index) {
  const at::Tensor& tensor = arguments.value(index).toTensor();
  const bool lookup = name == "steadytune::embed" || name == "steadytune::embed_backward";
  const std::string& argument = arguments.name(index);
  const bool table =
      lookup && (argument.ends_with("word") || argument.ends_with("position") || argument.ends_with("segment"));
  if (!table) return bytes_of(tensor);
  const auto rows = static_cast<double>(std::max<int64_t>(tensor.size(0), 1));
  return bytes_of(tensor) * std::min(1.0, static_cast<double>(arguments.tensor("word_ids").numel()) / rows);
}

/// Bytes of operators that touch less than their arguments hold; empty for the others.
std::optional<double> special_bytes(std::string_view name, const Arguments& arguments) {
  if (name == "aten::index_select") {
    const at::Tensor table = arguments.tensor("self");
    const double index = static_cast<double>(arguments.tensor("index").numel());
    const double row = bytes_of(table) / static_cast<double>(std::max<int64_t>(table.size(0), 1));
    return index * 2 * row + bytes_of(arguments.tensor("index"));
  }
  if (name == "aten::index_add_") {
    return 3 * bytes_of(arguments.tensor("source")) + bytes_of(arguments.tensor("index"));
  }
  if (name == "aten::zero_" || name == "aten::fill_") return bytes_of(arguments.tensor("self"));
  if (name == "aten::copy_") return bytes_of(arguments.tensor("self")) + bytes_of(arguments.tensor("src"));
  if (name.starts_with("aten::empty")) return 0;
  if (!arguments.has("bounds")) return std::nullopt;
  const TrainedElements trained(arguments.tensor("bounds"), arguments.tensor("flags"));
  if (name == "steadytune::squared_norm") return trained.gradient_bytes;
  if (name == "steadytune::segment_squared_distance") return 8 * trained.count;
  if (name.starts_with("steadytune::adamw")) {
    const at::Tensor compute = arguments.tensor("compute");
    const double copy = compute.defined() ? static_cast<double>(compute.element_size()) : 0;
    // Value and both moments, read and written.
    return trained.gradient_bytes + trained.count * (24 + copy + (arguments.tensor("start").defined() ? 4 : 0));
  }
  return std::nullopt;
}

}  // namespace

OperatorProfile::Scope::Scope(OperatorProfile& profile) : profile_(profile) {
  observing = &profile;
  const auto start = [](const at::RecordFunction& function) -> std::unique_ptr<at::ObserverContext> {
    if (observing != nullptr) observing->enter(function);
    return nullptr;
  };
  // libtorch hands a thread's callbacks on to threads that it starts for it; those are not observed.
  const auto end = [](const at::RecordFunction& function, at::ObserverContext*) {
    if (observing != nullptr) observing->leave(function);
  };
  callback_ = at::addThreadLocalCallback(
      at::RecordFunctionCallback(start, end).needsInputs(true).needsOutputs(true).scopes({at::RecordScope::FUNCTION}));
  begin_ = Clock::now();
}

OperatorProfile::Scope::~Scope() {
  profile_.seconds_ += seconds_between(begin_, Clock::now());
  at::removeCallback(callback_);
  observing = nullptr;
}

OperatorProfile::Result OperatorProfile::take() {
  Result result;
  for (auto& [key, operation] : operators_) result.operators.push_back(std::move(operation));
  result.seconds = seconds_ - own_seconds_;
  operators_.clear();
  seconds_ = own_seconds_ = 0;
  return result;
}

void OperatorProfile::enter(const at::RecordFunction& function) {
  const auto arrived = Clock::now();
  const c10::FunctionSchema* schema = schema_of(function);
  if (schema == nullptr) return;
  Call call;
  call.operation.name = function.name();
  const Arguments arguments(*schema, function.inputs());
  double moved = 0;
  for (size_t i = 0; i < arguments.size(); ++i) {
    for_each_tensor(arguments.value(i), [&](const at::Tensor& tensor) {
      if (call.operation.shapes.empty()) call.operation.dtype = dtype_name(tensor.scalar_type());
      call.operation.shapes.push_back(tensor.sizes().vec());
      const double bytes =
          arguments.value(i).isTensor() ? touched_bytes(call.operation.name, arguments, i) : bytes_of(tensor);
      if (!arguments.overwritten(i)) moved += bytes;
      if (arguments.written(i)) moved += bytes;
      (arguments.written(i) ? call.written : call.read).push_back(memory_of(tensor));
    });
  }
  const std::optional<double> flop = flop_of(call.operation.name, arguments);
  call.flop_known = flop.has_value();
  call.operation.flop = flop.value_or(0);
  const std::optional<double> special = special_bytes(call.operation.name, arguments);
  call.bytes_known = special.has_value();
  call.operation.bytes = special.value_or(moved);
  call.own_seconds_before = own_seconds_;
  calls_.push_back(std::move(call));
  calls_.back().begin = Clock::now();
  const double own = seconds_between(arrived, calls_.back().begin);
  own_seconds_ += own;
  calls_.back().own_seconds_before += own;
}

void OperatorProfile::leave(const at::RecordFunction& function) {
  const auto arrived = Clock::now();
  // Not an operator, or a call that began before the scope.
  if (schema_of(function) == nullptr || calls_.empty()) return;
  Call call = std::move(calls_.back());
  calls_.pop_back();
  OperatorTime& operation = call.operation;
  operation.seconds = seconds_between(call.begin, arrived) - (own_seconds_ - call.own_seconds_before);
  if (!call.flop_known) operation.flop = call.flop_inside;

  const auto among = [](const std::vector<const void*>& memories, const void* memory) {
    return std::find(memories.begin(), memories.end(), memory) != memories.end();
  };
  bool only_views = !function.outputs().empty() && !call.bytes_known;
  std::vector<const void*> seen;
  for (const c10::IValue& output : function.outputs()) {
    for_each_tensor(output, [&](const at::Tensor& tensor) {
      const void* memory = memory_of(tensor);
      if (among(call.read, memory)) return;
      only_views = false;
      if (call.bytes_known || among(call.written, memory) || among(seen, memory)) return;
      seen.push_back(memory);
      operation.bytes += bytes_of(tensor);
    });
  }
  // What a view was made of was not read, but an operator inside may have copied something.
  if (only_views) operation.bytes = call.bytes_inside;

  if (!calls_.empty()) {
    calls_.back().flop_inside += operation.flop;
    calls_.back().bytes_inside += operation.bytes;
  } else {
    OperatorTime& total = operators_[{operation.name, operation.shapes}];
    total.calls += 1;
    total.seconds += operation.seconds;
    total.flop += operation.flop;
    total.bytes += operation.bytes;
    if (total.name.empty()) {
      total.name = std::move(operation.name);
      total.shapes = std::move(operation.shapes);
      total.dtype = std::move(operation.dtype);
    }
  }
  own_seconds_ += seconds_between(arrived, Clock::now());
}

}  // namespace steadytune
