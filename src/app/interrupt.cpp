#include "app/interrupt.h"

#include <csignal>

namespace tandem {
namespace {

// The one thing that a signal handler may touch.
volatile std::sig_atomic_t interrupted = 0;
struct sigaction former_action;

void on_interrupt(int) {
  interrupted = 1;
}

}  // namespace

InterruptWatch::InterruptWatch() {
  interrupted = 0;
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &former_action);
}

InterruptWatch::~InterruptWatch() {
  sigaction(SIGINT, &former_action, nullptr);
}

bool InterruptWatch::take() {
  const bool was = interrupted != 0;
  interrupted = 0;
  return was;
}

}  // namespace tandem
