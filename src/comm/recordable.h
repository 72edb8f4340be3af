#pragma once

namespace tandem {

// What a Communicator may be besides: one whose collectives may stand between begin_step() and
// end_step() of a StepRecorder, because they are work of the stream alone. Where the host takes
// part in them nobody may wait in between. Ask with dynamic_cast.
class Recordable {
 public:
  virtual ~Recordable() = default;
  virtual bool can_be_recorded() const = 0;
};

}  // namespace tandem
