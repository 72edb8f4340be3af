#pragma once

// Internal to the source files that are compiled with Boost's headers.

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include "server/http/event_loop.h"

namespace tandem {

struct EventLoop::Impl {
  explicit Impl(Threads threads)
      : io(threads == Threads::kOne ? 1 : BOOST_ASIO_CONCURRENCY_HINT_DEFAULT) {}
  boost::asio::io_context io;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work =
      boost::asio::make_work_guard(io);
};

}  // namespace tandem
