#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fleet/worker_process.h"

namespace tandem {

// What exit codes of a worker program mean. Other programs than ours have none that are known.
struct WorkerExitCodes {
  std::vector<int> fatal;  // of a process that will end like this every time
  int device_failed = 0;   // one of its devices is lost to the process; 0: there is no such code
};

// The end of a process that nobody had asked for.
struct WorkerEnd {
  std::string reason;     // for people: what was lost, how it ended, and its last line
  bool is_fatal = false;  // the next one would end alike
  // A device failed under it, and the model is not to blame: its name where the last line has it,
  // else "a device". Empty: nothing of the kind.
  std::string failed_device;
};

// last_words: the end of what the process has said. devices: those that it was given ("cuda:1").
WorkerEnd judge_end(const WorkerExit& exit, std::string_view last_words,
                    const WorkerExitCodes& codes, const std::vector<std::string>& devices);

}  // namespace tandem
