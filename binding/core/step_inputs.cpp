#include "core/step_inputs.h"

#include <cstring>

namespace steadytune {
namespace {

/// Enough for any dtype and for wide loads.
constexpr int64_t input_alignment = 16;

/// Hands out places of one piece of memory, in order.
class Layout {
 public:
  int64_t place(int64_t bytes) {
    const int64_t begin = end_;
    end_ += (bytes + input_alignment - 1) / input_alignment * input_alignment;
    return begin;
  }
  int64_t bytes() const { return end_; }

 private:
  int64_t end_ = 0;
};

struct Numbers {
  int64_t counter[3];
  int64_t diverged_at;
  double learning_rate;
};

int64_t bytes_for(std::vector<PackedBatch> parts) {
  Layout layout;
  layout.place(sizeof(Numbers));
  for (PackedBatch& part : parts) {
    for (const at::Tensor* tensor : part.movable()) {
      if (tensor->defined()) layout.place(static_cast<int64_t>(tensor->nbytes()));
    }
  }
  return layout.bytes();
}

at::Tensor view_at(const at::Tensor& bytes, int64_t begin, at::IntArrayRef sizes, at::ScalarType dtype) {
  const int64_t count = c10::multiply_integers(sizes);
  return bytes.narrow(0, begin, count * static_cast<int64_t>(c10::elementSize(dtype))).view(dtype).view(sizes);
}

}  // namespace

StepInputs::StepInputs(Device& device, const std::vector<PackedBatch>& like)
    : device_(device),
      bytes_(at::empty({bytes_for(like)}, at::TensorOptions(at::kByte).device(device.place()))),
      parts_(like),
      // Whoever had the memory before may not be done with it.
      free_(device.mark()) {
  Layout layout;
  const int64_t numbers = layout.place(sizeof(Numbers));
  counter_ = view_at(bytes_, numbers + offsetof(Numbers, counter), {3}, at::kLong);
  diverged_at_ = view_at(bytes_, numbers + offsetof(Numbers, diverged_at), {}, at::kLong);
  learning_rate_ = view_at(bytes_, numbers + offsetof(Numbers, learning_rate), {}, at::kDouble);
  for (PackedBatch& part : parts_) {
    for (at::Tensor* tensor : part.movable()) {
      if (!tensor->defined()) continue;
      *tensor =
          view_at(bytes_, layout.place(static_cast<int64_t>(tensor->nbytes())), tensor->sizes(), tensor->scalar_type());
    }
  }
}

void StepInputs::write(const std::vector<PackedBatch>& parts, int64_t step, int64_t seed, double learning_rate) {
  const at::Tensor staged = device_.host_tensor({bytes_.numel()}, at::kByte);
  auto* bytes = staged.mutable_data_ptr<uint8_t>();
  Layout layout;
  const Numbers numbers{.counter = {step, 0, seed}, .diverged_at = 0, .learning_rate = learning_rate};
  std::memcpy(bytes + layout.place(sizeof(numbers)), &numbers, sizeof(numbers));
  for (PackedBatch part : parts) {
    for (const at::Tensor* tensor : part.movable()) {
      if (!tensor->defined()) continue;
      const at::Tensor values = tensor->contiguous();
      std::memcpy(bytes + layout.place(static_cast<int64_t>(values.nbytes())), values.const_data_ptr(),
                  values.nbytes());
    }
  }
  for (size_t i = 0; i < parts.size(); ++i) parts_[i].host_row_offsets = parts[i].host_row_offsets;
  device_.upload(bytes_, staged, *free_);
}

}  // namespace steadytune
