#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>

namespace tandem {

void set_up_logging(spdlog::level::level_enum level) {
  auto logger = spdlog::stderr_color_mt("tandem");
  logger->set_pattern("%^%l%$: %v");
  logger->set_level(level);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace tandem
