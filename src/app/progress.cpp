#include "app/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/clock.h"
#include "base/units.h"

namespace tandem {
namespace {

constexpr std::int64_t kRedrawUs = 100'000;
constexpr int kWidth = 32;

}  // namespace

ProgressBar::ProgressBar(std::string label)
    : label_(std::move(label)), is_terminal_(isatty(STDERR_FILENO) == 1) {}

ProgressBar::~ProgressBar() {
  if (drawn_) fmt::print(stderr, "\r\033[K");
}

void ProgressBar::update(std::int64_t done_bytes, std::int64_t total_bytes) {
  if (!is_terminal_ || total_bytes <= 0) return;
  const std::int64_t now = monotonic_us();
  std::int64_t next = next_draw_us_.load();
  if (now < next || !next_draw_us_.compare_exchange_strong(next, now + kRedrawUs)) return;
  const double fraction =
      std::min(1.0, static_cast<double>(done_bytes) / static_cast<double>(total_bytes));
  const int filled = static_cast<int>(fraction * kWidth);
  const std::lock_guard lock(mutex_);
  drawn_ = true;
  fmt::print(stderr, "\r{} [{}{}] {:3.0f} % of {}\033[K", label_, std::string(filled, '#'),
             std::string(kWidth - filled, '.'), 100 * fraction, format_bytes(total_bytes));
  std::fflush(stderr);
}

}  // namespace tandem
