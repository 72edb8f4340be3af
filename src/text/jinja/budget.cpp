#include "text/jinja/budget.h"

#include "base/checked.h"

namespace tandem::jinja {

Error render_error(std::string what) {
  return invalid_argument(std::move(what));
}

Status Budget::spend_steps(std::int64_t count) {
  steps_ += count;
  if (steps_ > limits_.max_steps) return render_error("the chat template runs too long");
  return {};
}

Status Budget::allocate(std::size_t bytes) {
  const auto room = static_cast<std::size_t>(limits_.max_allocated_bytes - allocated_bytes_);
  if (bytes > room) return render_error("the chat template uses too much memory");
  allocated_bytes_ += static_cast<std::int64_t>(bytes);
  return {};
}

Status Budget::allocate(std::size_t count, std::size_t bytes_each) {
  const auto bytes = checked_mul(count, bytes_each);
  if (!bytes) return render_error("the chat template uses too much memory");
  return allocate(*bytes);
}

Status Budget::check_value_depth(int depth) const {
  if (depth > limits_.max_value_depth) return render_error("values are nested too deeply");
  return {};
}

}  // namespace tandem::jinja
