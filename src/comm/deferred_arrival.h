#pragma once

#include "base/result.h"

namespace tandem {

// What a StageLink may be besides: one whose receive() may return when the message is on its way,
// so that the receiver enqueues its work before it has arrived. Ask with dynamic_cast.
class DeferredArrival {
 public:
  virtual ~DeferredArrival() = default;
  // Blocks until the message that `receiver` last received is there, with the link's deadline: how
  // long the stage before takes is no matter of how long the receiver's own work may take.
  virtual Status wait_for_arrival(int receiver) = 0;
};

}  // namespace tandem
